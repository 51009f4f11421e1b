"""scripts/run_loop.sh with configs/qwen3_8b.yaml as it stands, whose teacher each step starts and
ends: the tiny student on a CPU, and for vLLM a stand-in in which the simulated teacher answers."""
from __future__ import annotations

import json

import pytest
from test_own_server import make_machine, running
from test_whole_loop import CHECKPOINT, flags, run

from looptool.config_file import ROOT
from looptool.json_lines import read_jsonl
from looptool.records import Sample
from looptool.run_files import RoundFiles

pytestmark = [pytest.mark.slow, pytest.mark.cluster,  # three servers and a training
              pytest.mark.skipif(not CHECKPOINT.exists(), reason="no tiny student yet")]
SERVER = """
import argparse, atexit, json, os, sys, time
from aiohttp import web
from looptool.config import Simulation
from looptool.simulation.server import make_app
from looptool.simulation.teacher import Teacher

parser = argparse.ArgumentParser()
for flag in ("--model", "--host", "--port", "--served-model-name", "--tensor-parallel-size",
             "--reasoning-parser"):
    parser.add_argument(flag)
parser.add_argument("--enable-prefix-caching", action="store_true")
args = parser.parse_args()

def note(what):
    with open(os.environ["NOTES"], "a") as notes:
        print(json.dumps([what, os.getpid(), time.time(), args.model]), file=notes)

atexit.register(note, "ended")
note("started")
time.sleep(1)
app = make_app(Teacher(Simulation(), 0), [args.served_model_name])
web.run_app(app, host=args.host, port=int(args.port), print=None)
"""
LAPTOP = ("student.model=grpotool/tiny_student/checkpoint", "student.instructions=short",
          "student.max_prompt_tokens=768", "student.max_response_tokens=128",
          "dialogs.tools_per_dialog=[2,3]", "dialogs.messages=[4,10]", "dialogs.verify=none",
          "train.profile=cpu", "train.gpus_per_node=1", "train.batch_size=16",
          "train.mini_batch_size=16", "train.epochs=1", "probe.engine=transformers")


def test_a_loop_of_one_node_starts_and_ends_its_teacher_step_by_step(tmp_path, monkeypatch):
    make_machine(tmp_path, monkeypatch, SERVER)
    loop = ("bash", ROOT / "scripts" / "run_loop.sh",
            "--config", ROOT / "configs" / "qwen3_8b.yaml",
            *flags(tmp_path / "run", *LAPTOP))
    assert "train: round 1: 35 rows -> 2 steps" in run(*loop)
    files = RoundFiles(tmp_path / "run", 1)
    assert sum(1 for _ in read_jsonl(files.next().dataset, Sample)) == 36
    notes = [json.loads(line) for line in (tmp_path / "notes").read_text().splitlines()]
    assert {model for *_, model in notes} == {"Qwen/Qwen3-32B"}
    assert [what for what, *_ in notes] == ["started", "ended"] * 3  # one at a time
    assert not running([pid for _, pid, *_ in notes])
    _, dialogs_end, verify, _, expand, _ = (seconds for _, _, seconds, _ in notes)
    trained, probed = (path.stat().st_mtime for path in (files.train_parquet, files.probes))
    assert dialogs_end < trained < probed < verify  # the GPUs were theirs
    judged, expanded = (path.stat().st_mtime for path in (files.verdicts, files.expanded))
    assert verify < judged < expand < expanded
    run(*loop)
    assert len((tmp_path / "notes").read_text().splitlines()) == len(notes)
