"""status.py: what is done, running, stopped and next, from the files and locks of a run."""
from __future__ import annotations

import asyncio
import fcntl
import os
import sys
import time
from pathlib import Path

import pytest
from loop_world import loop_config, probed, says, task, weather

from dataloop.running import status
from looptool.config import Config, Dialogs
from looptool.json_lines import write_jsonl
from looptool.models.completion import CallFailed
from looptool.run_files import RoundFiles, RunFiles
from looptool.stages.journal import Entry, Journal
from looptool.stages.llm_stage import run_stage
from looptool.stages.meta import Header
from looptool.stages.workers import Outcome

CITIES = ("Rome", "Oslo", "Bern")


def shown(config: Config) -> list[list[str]]:
    """The table's lines in words."""
    return [line.split() for line in status.table(config, "")]


def write_stage(output: Path, inputs: int, failing: int = 0) -> None:
    """A stage's output, some inputs of which got no answer."""
    async def work(number: int) -> Outcome:
        if number < failing:
            raise CallFailed("no answer")
        return Outcome([{"n": number}], "match" if number % 2 else "wrong_value")

    asyncio.run(run_stage("stage", [(str(number), number) for number in range(inputs)], work,
                          output, settings={}, sources=[], in_flight=1))


def begin_journal(output: Path, count: int) -> Journal:
    journal = Journal(output.with_name(f"{output.name}.journal"))
    journal.start(Header(stage="stage", settings={}, sources={}))
    for number in range(count):
        journal.append(Entry(id=str(number), reason="r", records=[]))
    return journal


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    lines = shown(loop_config(tmp_path, rounds=2))
    assert ["once", "tools", "-"] in lines and ["checks",
                                                "-"] in lines and ["round", "1", "-"] in lines
    assert lines[-2] == "next: bash scripts/01_synthesize_tools.sh".split()


def test_each_state_of_a_round(tmp_path: Path) -> None:
    config = loop_config(tmp_path, rounds=3, dialogs=Dialogs(verify="none"))
    run, files = RunFiles(config), RoundFiles(tmp_path, 1)
    for path in (run.tools, run.dialogs, run.samples, run.seed, run.heldout,
                 RoundFiles(tmp_path, 0).heldout_probes):
        write_stage(path, 4)
    write_jsonl(files.dataset, [task(city) for city in CITIES])
    files.training.mkdir()
    (files.training / "metrics.jsonl").write_text('{"step": 1}\n{"step": 2}\n')
    files.policy.mkdir()
    write_stage(files.probes, 3, failing=1)
    begin_journal(files.verdicts, 1).close()
    held = begin_journal(files.expanded, 5)
    lines = shown(config)
    held.close()
    by_step = {words[0]: words
               for words in (line[2:] if line[0] == "round" else line for line in lines)}
    assert by_step["train"][:4] == ["train", "done", "2", "steps"]
    assert by_step["probe"][:5] == ["probe", "done,", "1", "failed", "2"]
    assert by_step["verify"][:7] == ["verify", "stopped", "1", "of", "1", "last", "one"]
    assert by_step["expand"][:6] == ["expand", "running", "5", "so", "far", "since"]
    assert by_step["expand"][-2:] == ["process", str(os.getpid())]
    assert by_step["mix"] == ["mix", "-"] and ["round", "2", "-"] in lines
    assert lines[-1] == "next: wait, 1 step is running".split()
    assert shown(config)[-2] == "next: bash scripts/06_verify.sh --round 1".split()


def test_matches_that_are_judged_and_samples_by_rules_count(tmp_path: Path) -> None:
    config, files = loop_config(tmp_path, rounds=1), RoundFiles(tmp_path, 1)
    config.verify.audit_mastered, config.expand.distractors = 0.5, 2
    files.folder.mkdir(parents=True)
    write_stage(files.probes, 3)
    write_jsonl(files.error_seeds, [task(city) for city in CITIES])
    begin_journal(files.verdicts, 4).close()
    begin_journal(files.expanded, 5).close()
    lines = {words[0]: words for words in shown(config)}
    tries = 3 * (config.expand.per_seed + 2)
    assert lines["verify"][2:5] == ["4", "so", "far"]
    assert lines["expand"][2:5] == ["5", "of", f"{tries}"]


def test_a_training_that_runs(tmp_path: Path) -> None:
    config, files = loop_config(tmp_path, rounds=1), RoundFiles(tmp_path, 1)
    files.training.mkdir(parents=True)
    (files.training / "metrics.jsonl").write_text('{"step": 1}\n')
    with (files.training / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert next(line for line in shown(config)
                    if "train" in line)[2:8] == ["train", "running", "1", "steps", "so", "far"]
    assert next(line for line in shown(config) if "train" in line)[3] == "stopped"


def test_a_cold_start_that_was_stopped(tmp_path: Path) -> None:
    config, files = loop_config(tmp_path, rounds=1), RoundFiles(tmp_path, 0)
    files.training.mkdir(parents=True)
    (files.training / "metrics.jsonl").write_text('{"step": 1}\n')
    (files.training / ".lock").touch()
    assert not any("cold" in line for line in shown(config))
    config.train.cold_start.steps = 24
    assert next(line for line in shown(config)
                if "cold" in line)[:7] == ["cold", "start", "stopped", "1", "of", "24", "steps"]


def test_all_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                     capsys: pytest.CaptureFixture[str]) -> None:
    config = loop_config(tmp_path, rounds=1, dialogs=Dialogs(verify="none"))
    for step in [*status.first_steps(config), *status.round_steps(config, 1)]:
        write_jsonl(step.output, [probed(task("Rome"), says("", weather("Rome")))])
    assert shown(config)[-1] == "next: bash scripts/11_report.sh".split()
    RunFiles(config).report.write_text("<html>")
    assert shown(config)[-1][:2] == ["next:", "nothing,"]
    monkeypatch.setattr(sys, "argv",
                        ["status.py", "--set", f"run_dir={tmp_path}", "--set", "rounds=2"])
    status.main()
    out = capsys.readouterr().out.splitlines()
    assert (out[0] == str(tmp_path)
            and out[-2].endswith(f"04_train.sh --round 2 --set run_dir={tmp_path} --set rounds=2"))


def real(config: Config) -> Config:
    """The same with a teacher that is none of ours."""
    config.teacher.base_urls = ["http://teacher:8000/v1"]
    return config


def test_a_real_run_without_heldout_tasks_is_done_without_them(tmp_path: Path) -> None:
    config = real(loop_config(tmp_path, rounds=1, dialogs=Dialogs(verify="none")))
    for step in [*status.first_steps(config), *status.round_steps(config, 1)]:
        write_jsonl(step.output, [])
    assert ("held-out" not in str(shown(config))
            and shown(config)[-1] == "next: bash scripts/11_report.sh".split())
    write_jsonl(RunFiles(config).heldout, [task("Rome")])
    assert shown(config)[-2] == "next: bash scripts/evaluate_heldout.sh --round 0".split()


def test_imported_tasks_need_no_tools_and_no_dialogs_of_ours(tmp_path: Path) -> None:
    config, files = real(loop_config(tmp_path, rounds=1)), RoundFiles(tmp_path, 1)
    for path in (RunFiles(config).samples, RunFiles(config).seed):
        write_stage(path, 4)
    assert shown(config)[-2] == "next: bash scripts/01_synthesize_tools.sh".split()
    write_jsonl(files.dataset, [task(city) for city in CITIES])
    lines = shown(config)
    assert [words[words.index("done") - 1] for words in lines
            if "done" in words] == ["samples", "seed", "D_1"]
    assert (lines[-1] == "next: bash scripts/04_train.sh --round 1".split()
            and "run_loop.sh" not in str(lines))


def test_times() -> None:
    assert abs(status.begun(os.getpid()) - time.time()) < 3600 * 24
    assert status.begun(os.getpid()) <= time.time() and status.begun(1) <= status.begun(os.getpid())
    assert (status.clock(time.time()).count(":") == 2
            and status.clock(0).startswith(("1970-01-01", "1969-12-31")))
    assert [status.duration(seconds)
            for seconds in (0.34, 59.4, 61, 7322)] == ["0.3 s", "59.4 s", "1 min 1 s", "2 h 2 min"]
