"""Probing with a real vLLM on a CPU, behind its server and inside Ray Data, against the weights in
transformers: the same replies, perplexities to 1e-3, in float32. The server's generation config
asks for sampling and penalties, in vain."""
from __future__ import annotations

import asyncio
import math
import subprocess
from pathlib import Path

import pytest
from tiny_policy import make_policy
from vllm_environment import ENVIRONMENT, PYTHON, needs_vllm, serve

from dataloop import greedy_capability_prob as script
from dataloop.probing.endpoint_policy import read_generation
from looptool.config import Config
from looptool.config_file import ROOT, load_config, student_path
from looptool.errors import InputError
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.models.client import Client
from looptool.models.sampling import Continuation
from looptool.records import Probe, Sample
from looptool.simulation.heldout import heldout_samples

pytestmark = [pytest.mark.slow, needs_vllm]
TASKS = 120


def laptop(folder: Path, *overrides: str) -> Config:
    return load_config(ROOT / "configs" / "laptop.yaml", [f"run_dir={folder}", *overrides])


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("tasks") / "samples.jsonl"
    write_jsonl(path, heldout_samples(TASKS))
    return path


@pytest.fixture(scope="module")
def url():
    manners = '{"temperature": 0.9, "repetition_penalty": 1.5}'
    with serve("grpotool/tiny_student/checkpoint", "--dtype", "float32", "--max-model-len", "896",
               "--override-generation-config", manners) as url:
        yield url


def probe(folder: Path, samples: Path, *overrides: str, model: str = "") -> list[Probe]:
    config = laptop(folder, *overrides)
    asyncio.run(script.probe_samples(config, samples, folder / "probes.jsonl",
                                     model or student_path(config)))
    return list(read_jsonl(folder / "probes.jsonl", Probe))


def behind(url: str) -> list[str]:
    return ["probe.engine=endpoint", f"probe.base_urls=[{url}]"]


def assert_same(probes: list[Probe], others: list[Probe]) -> None:
    assert [probe.sample.id for probe in probes] == [probe.sample.id for probe in others]
    for one, other in zip(probes, others, strict=True):
        assert (one.text, one.tokens, one.finish,
                one.reason) == (other.text, other.tokens, other.finish, other.reason)
        assert one.perplexity == pytest.approx(other.perplexity, rel=1e-3)


def test_all_three_engines_give_the_same_probes(url, samples, tmp_path):
    here = probe(tmp_path / "transformers", samples)
    served = probe(tmp_path / "endpoint", samples, *behind(url))
    inside = tmp_path / "ray.jsonl"
    subprocess.run([PYTHON, ROOT / "dataloop" / "greedy_capability_prob.py", "--round", "0",
                    "--samples", samples, "--output", inside, "--set", f"run_dir={tmp_path}",
                    "--set", "probe.engine=ray"], env=ENVIRONMENT, check=True)
    # the tags are special tokens there
    assert len(here) == TASKS and any("<tool_call>" in probe.text for probe in here)
    assert_same(here, served)
    assert_same(here, list(read_jsonl(inside, Probe)))


def test_replies_are_cut_at_the_same_token(url, samples, tmp_path):
    few = tmp_path / "few.jsonl"
    write_jsonl(few, list(read_jsonl(samples, Sample))[:20])
    here, served = (probe(tmp_path / name, few, "student.max_response_tokens=4", *how)
                    for name, how in (("here", []), ("served", behind(url))))
    assert {probe.finish for probe in here} >= {"length"}
    assert_same(here, served)


def test_any_of_several_end_tokens_ends_a_reply_and_counts(url, tmp_path):
    config = laptop(tmp_path, *behind(url))
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(student_path(config))
    prompt = tokenizer("<|im_start|>user\nHello there!<|im_end|>\n<|im_start|>assistant\n")[
        "input_ids"]

    async def ask(*ends: int):
        async with Client.from_config(config, tmp_path / "cache", [url]) as client:
            name = (await client.served_models())[0][0]["id"]
            how = Continuation(model=name, max_tokens=40, stop_token_ids=list(ends))
            return await client.complete("policy", prompt, how, 0)

    whole = asyncio.run(ask(tokenizer.eos_token_id))
    third = tokenizer(whole.text, add_special_tokens=False)["input_ids"][2]
    cut = asyncio.run(ask(tokenizer.eos_token_id, third))
    assert whole.text.startswith(cut.text) and cut.finish == "stop" and len(cut.logprobs) <= 3
    assert tokenizer.decode([third]) not in cut.text
    generation = read_generation(cut)
    assert generation.perplexity == pytest.approx(math.exp(-sum(cut.logprobs) / len(cut.logprobs)),
                                                  rel=1e-5)
    assert cut.logprobs == pytest.approx(whole.logprobs[:len(cut.logprobs)], abs=1e-4)


def test_another_checkpoint_or_a_wider_window_is_refused(url, samples, tmp_path):
    other = make_policy(tmp_path / "other")
    with pytest.raises(InputError,
                       match=r"the server has loaded .*tiny_student/checkpoint, not .*other; start "
                             r"it"):
        probe(tmp_path / "a", samples, *behind(url), model=str(other))
    with pytest.raises(InputError, match="takes 896 tokens, and prompt and reply may have 1128; "
                                         "start it with --max-model-len"):
        probe(tmp_path / "b", samples, *behind(url), "student.max_prompt_tokens=1000")
    assert not list(tmp_path.glob("[ab]/*"))
