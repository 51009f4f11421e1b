"""The numbered scripts from tools to report, with the tiny student and real verl: the built-in
world, and real data."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from looptool.config_file import ROOT
from looptool.json_lines import read_jsonl
from looptool.records import Probe, Sample
from looptool.run_files import RoundFiles
from looptool.stages.meta import read_meta

CHECKPOINT = ROOT / "grpotool" / "tiny_student" / "checkpoint"
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(not CHECKPOINT.exists(),
                                 reason="the tiny student is still to be built")]
SHARED = ROOT.parent / "shared" / "data"
real_data = pytest.mark.skipif(not SHARED.exists(), reason="the shared data folder is not here")
SIZES = ("rounds=1", "dialogs.count=60", "simulation.heldout_tasks=12", "mix.size=36",
         "mix.seed_new=8", "mix.high_ppl=6", "train.rollouts=4")


def flags(run_dir: Path, *more: str) -> list[str]:
    return [word for value in (f"run_dir={run_dir}", *SIZES, *more) for word in ("--set", value)]


def run(*command: str | Path, cwd: Path = Path("/")) -> str:
    """Standard output and error of a command that must succeed."""
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "CI": "1"}
    done = subprocess.run(list(map(str, command)), cwd=cwd, env=env, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_one_round_of_the_built_in_world_and_nothing_is_done_twice(tmp_path):
    loop = ("bash", ROOT / "scripts" / "run_loop.sh", *flags(tmp_path))
    said = run(*loop)
    assert "train: round 1: 35 rows -> 2 steps" in said
    report = json.loads((tmp_path / "report.json").read_text())
    assert 0 < report["before"]["heldout"]["accuracy"]["share"] < 1
    assert sum(1 for _ in read_jsonl(RoundFiles(tmp_path, 2).dataset, Sample)) == 36
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    again = run(*loop, "--same-config")
    assert "already trained" in again and again.count("nothing to do") >= 5
    assert all(path.stat().st_mtime_ns == files[path] for path in (
        RoundFiles(tmp_path, 1).probes, RoundFiles(tmp_path, 1).verdicts,
        RoundFiles(tmp_path, 1).expanded))
    folder = {path: path.stat().st_mtime_ns for path in RoundFiles(tmp_path, 1).folder.rglob("*")}
    assert "round 1 is complete; left as it is" in run(
        sys.executable, ROOT / "dataloop" / "running" / "steps_left.py", *flags(tmp_path))
    edits = {"expand.per_seed": "4 -> 2", "mix.high_ppl": "6 -> 5",
             "train.learning_rate": "0.00015 -> 0.0002", "train.test_share": "0.02 -> 0.1",
             "verify.votes_per_order": "1 -> 3"}
    edited = [word for key, change in edits.items()
              for word in ("--set", f"{key}={change.split()[-1]}")]
    changes = "; ".join(f"{key}: {change}" for key, change in edits.items())
    assert f"round 1 is complete, made with other settings ({changes}); left as it is" in run(
        *loop, *edited)
    assert {path: path.stat().st_mtime_ns
            for path in RoundFiles(tmp_path, 1).folder.rglob("*")} == folder


@real_data
def test_a_round_of_real_tools_behind_its_training(tmp_path):
    """Tools that nobody here wrote: the simulated teacher makes tasks of their schemas.

    Round 1's policy is the student, as rows that nobody here wrote are trained on below.
    """
    shutil.copytree(CHECKPOINT, RoundFiles(tmp_path, 1).policy)
    said = run("bash", ROOT / "scripts" / "run_loop.sh", "--tools",
               SHARED / "xlam_style_tools.jsonl", *flags(tmp_path))
    assert "train: round 1: already trained" in said
    tools = read_meta(tmp_path / "tools.jsonl")
    assert tools.counts == {"imported": 775, "unreadable": 1}
    assert sum(1 for _ in read_jsonl(RoundFiles(tmp_path, 2).dataset, Sample)) == 36


@real_data
def test_real_samples_go_through_the_loop(tmp_path):
    """280 labeled tasks that nobody here wrote; 64 are trained on, each is probed, judged,
    expanded, or counted with its reason."""
    files, data = RoundFiles(tmp_path, 1), ROOT / "grpotool" / "dataset" / "utils"
    given = flags(tmp_path, "student.max_prompt_tokens=4000", "train.batch_size=30",
                  "train.mini_batch_size=30", "train.rollouts=2", "student.max_response_tokens=48",
                  "mix.size=300", "mix.seed_new=0")
    source = SHARED / "xlam_style_samples.jsonl"
    run(sys.executable, data / "conversation_transform_grpo_qwen.py", "--input", source, *given)
    samples = read_meta(tmp_path / "samples.jsonl")
    assert sum(samples.counts.values()) == 280 and samples.counts["unreadable"] == 1
    run(sys.executable, data / "filter_grpo_sample.py", *given)
    seed = read_meta(tmp_path / "seed.jsonl")
    assert (seed.inputs == samples.records and sum(seed.counts.values()) == seed.inputs
            and seed.records > 200)
    run(sys.executable, ROOT / "dataloop" / "next_round.py", "--round", "0", *given)
    # all are rendered and answered below; two steps need not take minutes
    some = tmp_path / "some.jsonl"
    some.write_bytes(b"".join(files.dataset.read_bytes().splitlines(keepends=True)[:64]))
    run(sys.executable, data / "json2parquet.py", "--round", "1", "--input", some, *given)
    assert pq.read_metadata(files.train_parquet).num_rows >= 60
    assert "-> 2 steps" in run(sys.executable, ROOT / "grpotool" / "train.py", "--round", "1",
                               *given)
    for script in ("05_probe", "06_verify", "07_expand", "08_next_round"):
        run("bash", ROOT / "scripts" / f"{script}.sh", "--round", "1", *given)
    probes = list(read_jsonl(files.probes, Probe))
    assert len(probes) == seed.records
    verdicts, expanded = read_meta(files.verdicts), read_meta(files.expanded)
    assert sum(verdicts.counts.values()) == verdicts.inputs == sum(not probe.matches
                                                                   for probe in probes)
    seeds = files.error_seeds.read_bytes().count(b"\n")
    assert (sum(expanded.counts.values()) == expanded.inputs == 4 * seeds
            and expanded.counts["accepted"] > 2 * seeds > 40)
    said = run(sys.executable, ROOT / "dataloop" / "filter_grpo_sample.py", "--judge", "--round",
               "1", *given)
    assert f"filter: {expanded.records} in -> " in said
    # as much as there is, up to 300
    assert sum(1 for _ in read_jsonl(files.next().dataset, Sample)) > 250
