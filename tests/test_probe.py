"""Probing: what is made of a reply, which samples share a batch, kill and resume with a scripted
policy; then the real decoding with a tiny random Qwen3, against separate forward passes."""
from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import sys
import time
from dataclasses import dataclass

import pytest
from golden_files import check_golden
from hypothesis import given
from hypothesis import strategies as st
from loop_world import loop_config, says, task, weather, world

from dataloop import greedy_capability_prob as script
from dataloop.probing.in_process import BatchPipeline, make_batches
from dataloop.probing.job import Drawing, count_cases, make_probe, reply_cases
from looptool.calling.reply import render_calls
from looptool.command import run_main
from looptool.config import Probing, Student
from looptool.errors import InputError
from looptool.json_lines import encode_line, read_jsonl, write_jsonl
from looptool.records import Probe, Sample
from looptool.run_files import RoundFiles, RunFiles
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import read_meta


@dataclass(frozen=True)
class Reply:
    """A Generation."""

    text: str
    perplexity: float = 1.25
    tokens: int = 9
    finish: str = "stop"


CALL = render_calls([weather("Rome")])
BARE = CALL.splitlines()[1]


# What is made of a reply


@pytest.mark.parametrize("reply, label, reason, faults", [
    (Reply(CALL), says("", weather("Rome")), "match", []),
    (Reply(f"<think>\nRome it is.\n</think>\n\n{CALL}"), says("", weather("Rome")), "match", []),
    (Reply(CALL), says("", weather("Oslo")), "wrong_value", []),
    (Reply("Rome is fine."), says("", weather("Rome")), "no_call", []),
    (Reply("Which city?"), says("For which city?"), "match", []),
    (Reply(CALL), says("For which city?"), "unexpected_call", []),
    (Reply(CALL[:-30], finish="length"), says("", weather("Rome")), "malformed", ["unclosed"]),
    (Reply(f"<think>\n{CALL}", finish="length"), says("", weather("Rome")), "malformed",
     ["unclosed_think"]),
    (Reply("", finish="empty"), says("", weather("Rome")), "no_call", []),
    (Reply("", finish="empty"), says("For which city?"), "empty", []),
    (Reply(BARE), says("For which city?"), "untagged_call", []),
    (Reply(f"```json\n{BARE}\n```"), says("", weather("Rome")), "untagged_call", []),
    (Reply(f"{CALL}</think>"), says("For which city?"), "malformed", ["erased_call"])])
def test_a_reply_is_read_and_compared(reply, label, reason, faults):
    sample = task("Rome", label=label)
    probe = make_probe(sample, reply)
    assert (probe.reason, probe.faults, probe.finish,
            probe.text) == (reason, faults, reply.finish, reply.text)
    assert probe.sample is sample and (probe.perplexity, probe.tokens) == (1.25, 9)


TEXT_LABEL = says("For which city?")


@pytest.mark.parametrize("label, replies, expected", [
    (TEXT_LABEL, ["...", "Fine.", "Good."], {("match", 2), ("empty", 1)}),
    (TEXT_LABEL, [BARE, "Fine.", BARE, "..."], {("untagged_call", 2), ("match", 1), ("empty", 1)}),
    (TEXT_LABEL, ["<tool_response>\n1\n</tool_response>", "Fine."],
     {("invented_turn", 1), ("match", 1)}),
    (TEXT_LABEL, [CALL, "Fine.", render_calls([weather("Oslo")])],
     {("unexpected_call", 1), ("match", 1)}),
    (says("", weather("Rome")), ["", "Fine.", CALL, BARE, CALL],
     {("no_call", 2), ("match", 2), ("untagged_call", 1)}),
    (says("", weather("Rome")), ["<tool_call>", CALL, "<tool_call>{"],
     {("malformed", 2), ("match", 1)})])
def test_draws_are_grouped_alike_in_any_order(label, replies, expected):
    sample = task("Rome", label=label)
    rates = set()
    for order in itertools.permutations(replies):
        probe = make_probe(sample, Reply(CALL), [Reply(text) for text in order])
        assert {(draw.reason, draw.count) for draw in probe.draws} == expected
        rates.add(probe.pass_rate)
    assert rates == {dict(expected)["match"] / len(replies)}


@pytest.mark.parametrize("text, finish, cases", [
    ("<think>\nHm.\n</think>\n\nHi", "stop", []), ("Hm.\n</think>\n\nHi", "stop", []),
    ("Hi", "stop", ["no_think"]), ("<think>\nHm", "length", ["length"]),
    ("Hi", "length", ["length", "no_think"]), ("", "empty", ["empty"])])
def test_what_is_out_of_the_ordinary_has_a_name(text, finish, cases):
    assert reply_cases(text, finish) == cases


def test_such_replies_are_counted_in_a_file_that_may_be_empty(tmp_path):
    replies = [Reply("Hi", finish="length"), Reply("", finish="empty"),
               Reply(f"<think>\n</think>\n{CALL}"), Reply(CALL)]
    (tmp_path / "probes.jsonl").write_bytes(
        b"".join(encode_line(make_probe(task("Rome"), reply)) for reply in replies))
    (tmp_path / "none.jsonl").touch()
    assert count_cases(tmp_path / "probes.jsonl") == {"no_think": 2, "length": 1, "empty": 1}
    assert not count_cases(tmp_path / "none.jsonl")


# Batches


@given(st.lists(st.integers(1, 60), min_size=1, max_size=40), st.integers(1, 400),
       st.integers(1, 20))
def test_every_prompt_is_in_one_batch_within_the_budget(lengths, batch_tokens, reply_tokens):
    prompts = {2 * place: [0] * length for place, length in enumerate(lengths)}
    batches = list(make_batches(prompts, batch_tokens, reply_tokens))
    assert sorted(place for batch in batches for place in batch) == sorted(prompts)
    widths = [len(prompts[place]) for batch in batches for place in batch]
    assert widths == sorted(widths, reverse=True)
    for batch in batches:
        rows, width = len(batch), len(prompts[batch[0]])
        assert rows == 1 or rows * (width + reply_tokens) <= batch_tokens


class Killed(Exception):
    """Stands for a process that ends."""


class Policy:
    """Replies depend on the whole batch, as rounding does; `batches` ends the process after so
    many."""

    def __init__(self, batches: int | None = None):
        self.left, self.prompts, self.is_busy = batches, [], False

    def encode(self, sample: Sample) -> list[int] | None:
        text = sample.messages[0].content
        return None if "long" in text else [ord(letter) for letter in text]

    def generate(self, prompts):
        if self.left is not None:
            if not self.left:
                raise Killed
            self.left -= 1
        assert not self.is_busy, "two batches at a time need twice the memory"
        self.is_busy = True
        time.sleep(0.001)
        self.is_busy = False
        self.prompts += [tuple(prompt) for prompt in prompts]
        mark = sum(map(sum, prompts)) % 9973
        return [Reply(f"{mark} {len(prompt)}", perplexity=1 + mark / 10_000) for prompt in prompts]


def probe_all(samples: list[Sample], folder, policy: Policy):
    """A probe of `samples` in windows of 10 and batches of at most three or four prompts."""
    write_jsonl(folder / "samples.jsonl", samples)

    def read():
        return read_jsonl(folder / "samples.jsonl", Sample)

    pipeline = BatchPipeline(read, lambda: policy, 140, 5, Drawing(0, 1.0, ""), 10)
    return asyncio.run(run_stage("probe", Inputs(lambda: ((one.id, None) for one in read())),
                                 pipeline, folder / "probes.jsonl", settings={},
                                 sources=[folder / "samples.jsonl"], usage=pipeline.usage))


CITIES = [task("x" * random.Random(index).randint(1, 20) + str(index)) for index in range(35)]


def test_the_output_is_in_the_order_of_the_input_and_what_does_not_fit_is_counted(tmp_path):
    samples = [*CITIES[:7], task("a long one"), *CITIES[7:]]
    policy = Policy()
    meta = probe_all(samples, tmp_path, policy)
    assert [probe.sample.id
            for probe in read_jsonl(tmp_path / "probes.jsonl", Probe)] == [one.id for one in CITIES]
    assert (meta.counts == {"no_call": 35, "too_long": 1}
            and meta.usage["policy"].completion_tokens == 35 * 9)
    assert (meta.usage["policy"].prompt_tokens == sum(map(len, policy.prompts))
            and len(policy.prompts) == 35)


@pytest.mark.parametrize("batches", range(12))
def test_a_run_that_is_killed_loses_one_batch_and_ends_with_the_same_bytes(tmp_path, batches):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    unbroken = Policy()
    probe_all(CITIES, whole, unbroken)
    first = Policy(batches)
    with pytest.raises(Killed):
        probe_all(CITIES, broken, first)
    second = Policy()
    probe_all(CITIES, broken, second)
    assert (broken / "probes.jsonl").read_bytes() == (whole / "probes.jsonl").read_bytes()
    assert sorted(first.prompts + second.prompts) == sorted(unbroken.prompts)


def test_memory_holds_a_window_and_not_the_file(tmp_path):
    read = []

    def samples():
        for sample in CITIES:
            read.append(sample)
            yield sample

    async def first():
        async def inputs():
            for sample in CITIES:
                yield sample.id, None

        pipeline = BatchPipeline(samples, Policy, 140, 5, Drawing(0, 1.0, ""), 10)
        return await anext(pipeline.outcomes(inputs()))

    assert asyncio.run(first())[0] in [sample.id for sample in CITIES[:10]] and len(read) == 10


# The script


@pytest.fixture
def run_script(tmp_path, monkeypatch, tiny_policy):
    """Runs the script with a config of its own, and gives its folder."""
    student = Student(model=str(tiny_policy), instructions="short", max_prompt_tokens=1500,
                      max_response_tokens=16)
    config = loop_config(tmp_path / "run", student=student,
                         probe=Probing(engine="transformers", batch_tokens=6000))

    def run(*flags: str):
        monkeypatch.setattr(script, "load_config", lambda *_: config)
        monkeypatch.setattr(sys, "argv", ["greedy_capability_prob.py", *flags])
        script.main()
        return config

    write_jsonl(RunFiles(config).heldout, [probe.sample for probe in world(24)])
    run.config = config
    return run


def test_held_out_tasks_are_probed_with_the_student_in_round_0(run_script, caplog, tiny_policy):
    caplog.set_level("INFO")
    files = RoundFiles(run_script("--heldout", "--round", "0").run_dir, 0)
    probes = list(read_jsonl(files.heldout_probes, Probe))
    assert sorted(probe.sample.id for probe in probes) == sorted(probe.sample.id
                                                                 for probe in world(24))
    assert ({probe.finish for probe in probes} >= {"length", "stop"}
            and all(probe.perplexity >= 1 for probe in probes))
    assert (caplog.messages[-1].startswith("probe held-out: round 0: 24 in -> ")
            and " tokens/reply; " in caplog.messages[-1])
    cut = sum(probe.finish == "length" for probe in probes)
    assert f", {cut} cut at the limit" in caplog.messages[-1]
    meta = json.loads((files.folder / "heldout_probes.jsonl.meta.json").read_text())
    assert any(name.endswith("model.safetensors") for name in meta["sources"])


def test_nothing_is_drawn_for_held_out_tasks(run_script):
    run_script.config.probe.samples = 4
    held_out = RoundFiles(run_script("--heldout", "--round", "0").run_dir, 0).heldout_probes
    assert "samples" not in read_meta(held_out).settings
    assert not any(probe.draws for probe in read_jsonl(held_out, Probe))


def test_two_runs_write_the_same_bytes(run_script, tmp_path, tiny_policy):
    flags = ("--round", "0", "--samples", str(RunFiles(run_script.config).heldout), "--model",
             str(tiny_policy))
    for name in "ab":
        run_script(*flags, "--output", str(tmp_path / f"{name}.jsonl"))
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()


@pytest.mark.parametrize("flags, said", [
    (["--round", "1"], "run scripts/04_train.sh"),
    (["--model", "/absent", "--round", "0"], "/absent: there is no such"),
    (["--round", "0", "--set", "probe.engine=endpoint"], "names no server of the policy"),
    (["--round", "0", "--samples", "absent.jsonl", "--model", "."], "absent.jsonl")])
def test_a_wrong_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, caplog, flags, said):
    monkeypatch.setattr(sys, "argv",
                        ["greedy_capability_prob.py", "--set", f"run_dir={tmp_path}/run",
                         "--set", f"student.model={tmp_path}", *flags])
    with pytest.raises(SystemExit) as ended:
        run_main(script.main)
    assert ended.value.code == 2 and said in caplog.messages[-1] and not (tmp_path / "run").exists()


# Decoding


@pytest.fixture(scope="session")
def tiny_policy(tmp_path_factory):
    """A random Qwen3 of two layers; every seventh token ends its replies, so that rows end at
    different times."""
    import torch
    from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

    from grpotool.tiny_student.tokenizer import build_tokenizer
    from looptool.prompts.render import render_sample

    folder = tmp_path_factory.mktemp("policy")
    tokenizer = build_tokenizer(
        (message["content"] for probe in world(24) for message in render_sample(
        probe.sample, "short")), size=400)
    torch.set_num_threads(1)  # threads that wait for each other cost a loaded machine minutes
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=48, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, head_dim=16, max_position_embeddings=2048,
        tie_word_embeddings=True, initializer_range=0.3))
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    GenerationConfig(eos_token_id=[tokenizer.eos_token_id, *range(20, 400, 7)]).save_pretrained(
        folder)
    return folder


@pytest.fixture(scope="session")
def policy(tiny_policy):
    from dataloop.probing.transformers_policy import TransformersPolicy

    return TransformersPolicy(str(tiny_policy),
                              Student(model="", instructions="short", max_prompt_tokens=600,
                                      max_response_tokens=24), cores=2)


def teacher_forced(model, prompt: list[int], answer: list[int]) -> tuple[list[int], float]:
    """The most likely token at every place of the answer, and its perplexity, by one plain forward
    pass."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([prompt + answer])).logits[0,
                                                               len(prompt)
                                                               - 1:-1].log_softmax(dim=-1)
    chosen = logits[torch.arange(len(answer)), torch.tensor(answer)]
    return logits.argmax(dim=-1).tolist(), math.exp(-chosen.mean().item())


def test_tokens_and_perplexities_are_those_of_separate_forward_passes(policy, tiny_policy):
    import torch
    from transformers import AutoModelForCausalLM

    from looptool.models.decoding import decode

    plain, rng = AutoModelForCausalLM.from_pretrained(tiny_policy,
                                                      dtype=torch.float32), random.Random(0)
    prompts = [[rng.randrange(400) for _ in range(length)]
               for length in (3, 600, 40, 41, 1, 700, 39, 5, 38, 900, 40)]
    answers = [answer for answer, in decode(policy.model, prompts, 24, policy.ends)]
    assert (len({len(answer.tokens) for answer in answers}) > 3
            and {answer.ended for answer in answers} == {True, False})
    for prompt, answer in zip(prompts, answers, strict=True):
        likely, perplexity = teacher_forced(plain, prompt, answer.tokens)
        assert answer.tokens == likely
        assert math.exp(-sum(answer.log_probs) / len(answer.tokens)) == pytest.approx(
            perplexity, rel=1e-4)
        assert answer.ended == (answer.tokens[-1] in policy.ends) and len(answer.tokens) <= 24
        assert not set(answer.tokens[:-1]) & set(policy.ends)


def test_a_generation_is_what_was_decoded(policy):
    from looptool.models.decoding import decode

    prompts = [policy.encode(task(f"{city} " * length))
               for length, city in enumerate(("Rome", "Oslo", "Bern", "Ulm"), 1)]
    for prompt, generation in zip(prompts, policy.generate(prompts), strict=True):
        [[answer]] = decode(policy.model, [prompt], 24, policy.ends)
        assert generation.tokens == len(answer.tokens)
        assert generation.perplexity == pytest.approx(
            math.exp(-sum(answer.log_probs) / len(answer.tokens)), rel=1e-4)
        assert generation.finish == ("length" if not answer.ended else "stop"
                                     if generation.text.strip() else "empty")
        assert policy.tokenizer.decode(answer.tokens).startswith(generation.text)


def test_drawn_tokens_follow_their_chances_and_depend_on_a_prompts_own_seed(policy):
    from looptool.models.decoding import Dice, decode

    prompt, count = [5, 6, 7], 600
    drawn = decode(policy.model, [prompt] * count, 2, policy.ends, Dice(range(count), 0.7))
    chances = first_token_chances(policy, prompt, 0.7)
    for token in chances.topk(3).indices.tolist():
        share = sum(answer.tokens[0] == token for answer, in drawn) / count
        assert share == pytest.approx(chances[token].item(), abs=4 * (0.25 / count) ** 0.5)
    [[alone]] = decode(policy.model, [prompt], 2, policy.ends, Dice([17], 0.7))
    assert alone.tokens == drawn[17][0].tokens != drawn[18][0].tokens
    [[cold]] = decode(policy.model, [prompt], 8, policy.ends, Dice([17], 0.001))
    assert cold.tokens == decode(policy.model, [prompt], 8, policy.ends)[0][0].tokens


def first_token_chances(policy, prompt: list[int], temperature: float):
    import torch
    from transformers import AutoModelForCausalLM

    with torch.inference_mode():
        plain = AutoModelForCausalLM.from_pretrained(policy.path, dtype=torch.float32)
        return (plain(torch.tensor([prompt])).logits[0, -1] / temperature).softmax(dim=-1)


OSLO = CALL.replace("Rome", "Oslo")


@pytest.mark.parametrize("texts, found, rate", [
    ([CALL, OSLO, f"<think>Why?</think>{CALL}", "Which city?"],
     [(2, "match"), (1, "wrong_value"), (1, "no_call")], 0.5),
    ([OSLO, CALL[:-20], CALL[:-21], CALL], [(2, "malformed"), (1, "wrong_value"), (1, "match")],
     0.25),
    ([], [], None)])
def test_drawn_replies_are_counted_by_their_calls(texts, found, rate):
    probe = make_probe(task("Rome"), Reply(CALL), [Reply(text) for text in texts])
    assert [(draw.count, draw.reason) for draw in probe.draws] == found and probe.pass_rate == rate
    cut = make_probe(task("Rome"), Reply(CALL), [Reply(CALL, finish="length")])
    assert cut.pass_rate == 0 and cut.draws[0].reason == "malformed"


def test_a_reply_that_ends_at_once_is_empty(policy, monkeypatch):
    monkeypatch.setattr(policy, "ends", list(range(len(policy.tokenizer))))
    generation, = policy.generate([[5, 6, 7]])
    assert ((generation.text, generation.finish, generation.tokens) == ("", "empty", 1)
            and generation.perplexity > 1)


def test_a_prompt_that_is_too_long_loses_its_oldest_turns_and_never_its_tools(policy):
    sample = task("Rome", asked="How is the weather in Rome? " * 3)
    turn = [sample.messages[0], says("Which day?")]
    sample.messages = [*turn * 30, sample.messages[0]]
    text = policy.tokenizer.decode(policy.encode(sample))
    assert len(policy.encode(sample)) <= 600 and "get_weather" in text and "setAlarm" in text
    assert 0 < text.count("Which day?") < 7
    sample.messages = [task("Rome", asked="Rome? " * 999).messages[0]]
    assert policy.encode(sample) is None


def test_a_checkpoint_with_damaged_weights_is_named(policy, monkeypatch):
    import torch

    head = policy.model.get_output_embeddings()
    monkeypatch.setattr(head, "weight",
                        torch.nn.Parameter(torch.full_like(head.weight, float("nan"))))
    with pytest.raises(InputError, match="the checkpoint is damaged"):
        policy.generate([[5, 6, 7]])


def test_format(tmp_path):
    (tmp_path / "probes.jsonl").write_bytes(b"".join(map(encode_line, (
        make_probe(task("Rome"), Reply(f"<think>\nRome.\n</think>\n\n{CALL}")),
        make_probe(task("Oslo"), Reply(CALL[:-20], 3.5, 16, "length")),
        make_probe(task("Bern"), Reply("", 2.0, 1, "empty"))))))
    check_golden(tmp_path / "probes.jsonl", "loop/greedy_probes.jsonl")
