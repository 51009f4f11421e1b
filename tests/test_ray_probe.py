"""Probing inside Ray Data: engines by the GPUs of nodes; then a real Ray, with the weights decoded
by transformers where vLLM would (tests/test_vllm_probe.py has vLLM): the same probes, and a run
that broke down goes on from what is done."""
from __future__ import annotations

import asyncio
import os
from functools import partial
from pathlib import Path

import msgspec
import pytest
import ray
from loop_world import loop_config, task, world
from tiny_policy import make_policy

from dataloop import greedy_capability_prob as script
from dataloop.probing import ray_policy
from looptool.config import Probing, Student, Train
from looptool.errors import InputError, StageFailed
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.machine import packages
from looptool.records import Probe

STUDENT = Student(model="", instructions="short", max_prompt_tokens=6000, max_response_tokens=24)
BROKEN = "broken"


@pytest.mark.parametrize("nodes, probing, expected", [
    ([8], {"tensor_parallel": 1}, (8, 1)), ([8] * 4, {"tensor_parallel": 2}, (16, 2)),
    ([8], {}, (2, 4)), ([8] * 4, {}, (8, 4)), ([8, 0, 6], {}, (3, 4)),
    ([8] * 4, {"replicas": 3}, (3, 4)), ([0], {}, (1, 0)), ([0, 0], {"replicas": 2}, (2, 0))])
def test_engines_fill_the_nodes(tmp_path, nodes, probing, expected):
    config = loop_config(tmp_path, probe=Probing(**probing), train=Train(tensor_parallel=4))
    assert ray_policy.engines_of(config, nodes) == expected


@pytest.mark.parametrize("nodes, probing, message", [
    ([2, 2], {}, "no node has 4 GPUs"),
    ([8], {"replicas": 3}, "the cluster holds 2 engines of 4 GPUs, not 3")])
def test_engines_that_do_not_fit_are_refused(tmp_path, nodes, probing, message):
    config = loop_config(tmp_path, probe=Probing(**probing), train=Train(tensor_parallel=4))
    with pytest.raises(InputError, match=message):
        ray_policy.engines_of(config, nodes)


def test_what_is_not_installed_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "vllm" else name)
    write_jsonl(tmp_path / "samples.jsonl", [task("Rome")])
    with pytest.raises(InputError, match="probe.engine=ray: vllm is not installed; pip install -r "
                                         "requirements-gpu.txt"):
        asyncio.run(script.probe_samples(loop_config(tmp_path, probe=Probing(engine="ray")),
                                         tmp_path / "samples.jsonl", tmp_path / "probes.jsonl",
                                         str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["samples.jsonl"]


def journal_lines(journal: Path) -> int:
    """Samples done according to it: its first line is about the stage."""
    return len(journal.read_bytes().splitlines()) - 1 if journal.exists() else 0


class Weights(ray_policy.Engine):
    """An engine whose weights transformers decodes; it notes each reply, and breaks down over one
    while a file is there."""

    def __init__(self, model: str, config, gpus: int, drawing):
        from dataloop.probing.transformers_policy import TransformersPolicy

        assert gpus == 1
        self._folder, self._policy = Path(model), TransformersPolicy(model, config.student, cores=1)
        self._drawing = drawing

    async def generate(self, prompt: list[int], seed: int | None = None):
        if BROKEN in self._policy.tokenizer.decode(prompt) and (self._folder / BROKEN).exists():
            # until other blocks are done and handed over; five minutes at most
            for _ in range(3000):
                if journal_lines(self._folder.with_name("ray.jsonl.journal")) > 0:
                    break
                await asyncio.sleep(0.1)
            raise RuntimeError("CUDA out of memory")
        with (self._folder / "noted").open("a") as file:
            file.write(".")
        return self._policy.generate([prompt])[0]


@pytest.mark.slow
def test_a_cluster_writes_the_probes_of_one_process_and_goes_on_after_a_breakdown(tmp_path,
                                                                                  monkeypatch):
    folder, samples = make_policy(tmp_path / "policy"), tmp_path / "samples.jsonl"
    write_jsonl(samples,
                [*(probe.sample for probe in world(20)), task(f"Rome, {BROKEN}"),
                 task("Rome " * 6000)])
    monkeypatch.setattr(ray_policy, "Engine", Weights)
    monkeypatch.setattr(ray_policy, "BLOCK", 4)
    monkeypatch.setattr(packages, "find_spec", lambda name: name)
    monkeypatch.setenv("RAY_ADDRESS", "local")
    monkeypatch.setattr(ray_policy, "own_token", dict)  # a process keeps the token of its first Ray
    # Ray Data treats GPUs otherwise
    monkeypatch.setattr(ray, "init", partial(ray.init, num_gpus=1))
    monkeypatch.setenv("PYTHONPATH",
                       os.pathsep.join(
                           [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]))

    def probe(engine: str):
        config = loop_config(tmp_path / "run", student=STUDENT, probe=Probing(engine=engine))
        return asyncio.run(script.probe_samples(config, samples, tmp_path / f"{engine}.jsonl",
                                                str(folder)))

    probe("transformers")
    (folder / BROKEN).touch()
    with pytest.raises(StageFailed,
                       match="RuntimeError: CUDA out of memory .* run again, it goes on from what "
                             "is done"):
        probe("ray")
    done = journal_lines(tmp_path / "ray.jsonl.journal")
    (folder / BROKEN).unlink()
    (folder / "noted").unlink()
    meta = probe("ray")
    assert 0 < done < 22 and len((folder / "noted").read_text()) <= 21 - done + 1
    assert meta.counts["too_long"] == 1 and meta.inputs == 22 and meta.usage["policy"].calls == 21
    here, there = (list(read_jsonl(tmp_path / f"{engine}.jsonl", Probe))
                   for engine in ("transformers", "ray"))
    assert [msgspec.structs.replace(probe, perplexity=0) for probe in here] == [
        msgspec.structs.replace(probe, perplexity=0) for probe in there]
    assert [probe.perplexity
            for probe in here] == pytest.approx([probe.perplexity for probe in there], rel=1e-4)
