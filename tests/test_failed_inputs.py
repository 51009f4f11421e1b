"""Inputs that got no answer: tried again until a later step was run, then left out, so that a loop
can always go on."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from loop_world import world

from dataloop import (
    error_data_expansion, greedy_capability_prob, judgement_label_verification, next_round)
from dataloop.probing.job import Generation, Job, make_probe
from dialog_generation import run as dialogs, synthesize_tools, trans2conversation
from grpotool.dataset.utils import (
    conversation_transform_grpo_qwen as transform, filter_grpo_sample as seed_filter)
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.json_lines import write_jsonl
from looptool.models.client import Client
from looptool.models.completion import CallFailed
from looptool.records import Sample
from looptool.run_files import RoundFiles
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta, read_meta
from looptool.stages.workers import Outcome

SIZES = ("simulation.label_noise=0", "simulation.judge_error=0", "dialogs.count=12",
         "dialogs.synthesized_tools=4", "dialogs.verify=both", "mix.size=20", "mix.seed_new=6",
         "mix.high_ppl=4", "expand.per_seed=2", "student.max_prompt_tokens=4096")
ONCE = ((synthesize_tools,), (dialogs, "--func", "data_crawl"),
        (dialogs, "--func", "data_post_process"), (trans2conversation,), (transform,),
        (seed_filter,), (next_round, "--round", "0"))
ROUND = tuple((module, "--round", "1") for module in (
    greedy_capability_prob, judgement_label_verification, error_data_expansion, next_round))
PROBES = {probe.sample.id: probe for probe in world(30)}
Play = Callable[[tuple[ModuleType, ...]], list[str]]


@pytest.fixture
def down(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The roles whose next call gets no answer."""
    roles: set[str] = set()
    ask = Client.ask

    async def asked(self, role, *args, **kwargs):
        if role in roles:
            roles.remove(role)
            raise CallFailed("down")
        return await ask(self, role, *args, **kwargs)

    monkeypatch.setattr(Client, "ask", asked)

    async def probe(job: Job, _: object) -> StageMeta:
        """As by servers, one sample after the other, with the probes of the simulated world."""
        async def work(sample: Sample) -> Outcome:
            if "policy" in roles:
                roles.remove("policy")
                raise CallFailed("down")
            known = PROBES[sample.id]
            made = make_probe(sample, Generation(known.text, known.perplexity, known.tokens,
                                                 known.finish))
            return Outcome([made], made.reason)

        inputs = Inputs(lambda: ((sample.id, sample) for sample in job.read()))
        return await run_stage(inputs=inputs, work=work, **job.stage)

    monkeypatch.setattr(greedy_capability_prob, "probe_in_batches", probe)
    return roles


@pytest.fixture
def play(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Play:
    """Runs steps one after another; returns what they say."""
    monkeypatch.setenv("LOOPTOOL_CONFIG", str(ROOT / "configs" / "laptop.yaml"))
    caplog.set_level("INFO")
    given = [word for value in (f"run_dir={tmp_path}", *SIZES) for word in ("--set", value)]

    def steps(them) -> list[str]:
        caplog.clear()
        for module, *flags in them:
            monkeypatch.setattr(sys, "argv", [module.__name__, *flags, *given])
            module.main()
        return caplog.messages

    return steps


def outputs(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.jsonl")}


def stay_out(said: list[str]) -> list[str]:
    return [message.partition(":")[0] for message in said if "failed earlier stay out" in message]


def test_a_round_that_went_on_without_some_answers_is_complete(tmp_path: Path, play: Play,
                                                               down: set[str]) -> None:
    files = RoundFiles(tmp_path, 1)
    samples = [probe.sample for probe in PROBES.values()]
    write_jsonl(tmp_path / "seed.jsonl", samples)
    write_jsonl(files.dataset, samples[:24])
    files.policy.mkdir()
    down |= {"policy", "judge", "generator"}
    play(ROUND)
    assert not down
    assert all(read_meta(output).failed
               for output in (files.probes, files.verdicts, files.expanded))
    before = outputs(tmp_path)
    said = play(ROUND)
    assert stay_out(said) == ["probe", "verify", "expand"] and outputs(tmp_path) == before
    assert any(message.startswith("expand") and f"as {files.next().dataset} was" in message
               for message in said)
    play([(*ROUND[0], "--fresh")])
    assert not read_meta(files.probes).failed
    with pytest.raises(InputError,
                       match="verdicts.jsonl: was begun with other settings or sources"):
        play([ROUND[1]])


def test_what_comes_before_the_rounds_is_complete_once_there_is_a_first_dataset(tmp_path: Path,
                                                                                play: Play,
                                                                                down: set[
                                                                                    str]) -> None:
    down |= {"designer", "assistant", "checker"}
    play(ONCE)
    assert not down
    names = ("designed_tools.jsonl", "dialogs.jsonl", "dialog_checks.jsonl")
    assert [read_meta(tmp_path / name).failed for name in names] == [1, 1, 1]
    before = outputs(tmp_path)
    assert stay_out(play(ONCE)) == ["design", "dialogs",
                                    "check dialogs"] and outputs(tmp_path) == before


def test_a_step_without_any_answer_ends_in_one_line(tmp_path: Path) -> None:
    flags = [word for value in (f"run_dir={tmp_path}", "dialogs.count=3",
                                "teacher.base_urls=[http://127.0.0.1:9/v1]",
                                "teacher.tries=1") for word in ("--set", value)]
    for script, code in (("synthesize_tools.py", 0), ("run.py", 1)):
        done = subprocess.run([sys.executable, ROOT / "dialog_generation" / script, *flags],
                              capture_output=True, text=True, env={**os.environ, "CI": "1"})
        assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert re.match(r"every input failed \(3\), so nothing is written. The first: d00000\d: no "
                    r"answer in 1 tries", line)
