"""The reward: total over any reply and any label, never 1 for a wrong call, and in the form that
verl collects."""
from __future__ import annotations

import importlib.util
import json
import random
import re
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from grpotool.reward import compute_score
from looptool.calling.reply import render_calls
from looptool.records import Call, Message

REWARD_FILE = Path(__file__).resolve().parents[1] / "grpotool" / "reward.py"


def encoded(*calls: Call, content: str = "") -> str:
    return msgspec.json.encode(
        Message(role="assistant", content=content, calls=list(calls))).decode()


WEATHER = Call(name="get_weather",
               arguments={"city": "Zürich", "days": [1, 2, 2], "units": None, "detail": True})
BOOK = Call(name="book.flight", arguments={"legs": [{"from": "ZRH", "price": 99.5}, {}], "n": 1,
                                            "note": 'say "hi" \\ {x}'})
LABELS = [[WEATHER], [BOOK], [WEATHER, BOOK], [BOOK, WEATHER, BOOK],
          [Call(name="now", arguments={})], []]


def score(reply, label, **options) -> tuple[float, str]:
    result = compute_score("looptool", reply, label, {"index": 0}, **options)
    assert (list(result) == ["score", "reason"]
            and result["score"] == (1.0 if result["reason"] == "match" else 0.0))
    return result["score"], result["reason"]


@pytest.mark.parametrize("label", LABELS)
def test_the_label_itself_scores_one(label: list[Call]):
    for reply in (render_calls(label) or "Hm.",
                  f"<think>\nhm\n</think>\n\n{render_calls(label[::-1]) or 'Hm.'}<|im_end|>"):
        assert score(reply, encoded(*label)) == (1.0, "match")
        assert score(reply, encoded(*label), mode="paper_compat") == (1.0, "match")


def test_modes_differ_where_the_released_code_is_loose():
    reply = render_calls([Call(name="f", arguments={"x": [1, 1]})])
    label = encoded(Call(name="f", arguments={"x": [True]}))
    assert score(reply, label) == (0.0, "wrong_value")
    assert score(reply, label, mode="paper_compat") == (1.0, "match")
    assert score("text", label) == (0.0, "no_call")
    spaced = "<tool_call> " + reply.removeprefix("<tool_call>\n")
    assert score(spaced, encoded(Call(name="f", arguments={"x": [1, 1]}))) == (1.0, "match")
    assert score(spaced, label, mode="paper_compat") == (0.0, "wrong_value")
    assert score(spaced, encoded(Call(name="f", arguments={"x": [1, 1]})),
                 mode="paper_compat") == (0.0, "mismatch")
    assert score("other text", encoded(content="text")) == (1.0, "match")
    with pytest.raises(ValueError, match="strict"):
        score("", label, mode="loose")


@pytest.mark.parametrize("mode", ["strict", "paper_compat"])
@pytest.mark.parametrize("reply, reason", [
    ("text", "no_call"), (render_calls([WEATHER, BOOK]), "extra_call"),
    (render_calls([BOOK]), "wrong_name"), (render_calls([WEATHER])[:-5], "unclosed"),
    (render_calls([WEATHER]).replace("}", ""), "bad_json"),
    ("<think>" + render_calls([WEATHER]), "unclosed_think"),
    ("</tool_call>" + render_calls([BOOK]), "unopened"),
    (render_calls([Call(name="get_weather", arguments={"city": "Zürich"})]), "missing_argument"),
    (render_calls([Call(name="get_weather", arguments=WEATHER.arguments | {"days": "2"})]),
     "wrong_type"),
    (render_calls([Call(name="get_weather", arguments=WEATHER.arguments | {"city": "Bern"})]),
     "wrong_value"),
    (render_calls([WEATHER, BOOK]).replace('"legs"', '"n"'), "duplicate_key")])
def test_a_zero_says_why(reply: str, reason: str, mode: str):
    if (reason, mode) == ("unclosed_think", "paper_compat"):
        # it reads calls inside <think>
        assert score(reply, encoded(WEATHER), mode=mode) == (1.0, "match")
    else:
        assert score(reply, encoded(WEATHER), mode=mode) == (0.0, reason)


@pytest.mark.parametrize("label", [
    "", "{", "null", "[]", '"text"', "{}", '{"role": "user", "content": "x"}',
    '{"role": "assistant", "x": 1}', '{"role": "assistant", "calls": [{"name": "f"}]}',
    '{"role": "assistant", "calls": [{"name": "f", "arguments": "{}"}]}',
    '{"role": "assistant", "calls": [{"name": "f", "arguments": {"x": 1e400}}]}',
    '{"role": "assistant", "calls": [{"name": "f", "arguments": {"x": ' + "[" * 100_000
    + "]" * 100_000 + "}}]}", '{"role": "assistant", "content": "\ud800"}', b"\xff", None, 1, {},
    [], encoded(WEATHER)[:-1]])
def test_a_broken_label_scores_zero_and_says_so(label):
    for mode in ("strict", "paper_compat"):
        assert score(render_calls([WEATHER]), label, mode=mode) == (0.0, "bad_label")


def test_a_reply_that_is_no_text_scores_zero():
    assert score(None, encoded(WEATHER)) == (0.0, "no_text")


def answers_by_other_readers(reply: str) -> list[str]:
    """What two plain readers take for the reply without its thinking; tags inside strings mislead
    one or the other."""
    return [reply.rpartition("</think>")[2],
            re.sub("<think>.*?</think>", "", reply, flags=re.DOTALL).rpartition("</think>")[2]]


def calls_by_another_reader(answer: str) -> list | None:
    """All calls of an answer, sorted; None where one cannot be read."""
    def pairs(items: list) -> list:
        return ["object", *sorted(items, key=repr)]

    try:
        return sorted((json.loads(part.split("</tool_call>")[0], object_pairs_hook=pairs)
                       for part in answer.split("<tool_call>")[1:]), key=repr)
    except ValueError:
        return None


INSERTS = ["<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_call>\n", "\n</tool_call>",
           *'"\\{}[],:1- \n\x00é', "null", "true", "e9", "1e999", "NaN", "\\u0000", "\\ud800",
           "\ud800", "<|im_end|>", '"x": 1, ', "[" * 2000, "9" * 5000, render_calls([WEATHER]),
           '{"name": "now", "arguments": {}}']


def mutated(reply: str, other: str, rng: random.Random) -> str:
    """One to three random edits: cut, delete, repeat, move, insert, replace, splice."""
    for _ in range(rng.choice([1, 1, 2, 3])):
        i, j = sorted(rng.randrange(len(reply) + 1) for _ in range(2))
        j = min(j, i + rng.choice([1, 3, 40]))
        reply = rng.choice([
            reply[:j], reply[i:], reply[:i] + reply[j:],
            reply[:j] + reply[i:j] * rng.choice([1, 2, 300]) + reply[j:],
            reply[:i] + reply[j:] + reply[i:j], reply[:i] + rng.choice(INSERTS) + reply[i:],
            reply[:i] + chr(rng.choice([34, 48, 49, 65, 92, 123, 125, 0x300])) + reply[i + 1:],
            reply[:i] + other[i:], reply[:i] + reply[i:j].swapcase() + reply[j:]])
    return reply


def test_ten_thousand_hostile_replies_raise_nothing_and_match_only_what_is_equal():
    rng = random.Random(0)
    thoughts = ("", "<think>\nCall it.\n</think>\n", f"<think>{render_calls([WEATHER])}</think>")
    good = ["\n".join(part for part in (thought, text, render_calls(label)) if part)
            for label in LABELS for thought in thoughts for text in ("", "One moment.")]
    matches, begin, slowest = 0, time.process_time(), 0.0
    for _ in range(10_000):
        index = rng.randrange(len(good))
        reply, label = mutated(good[index], rng.choice(good), rng), LABELS[index // 6]
        start = time.process_time()
        won, reason = score(reply, encoded(*label))
        score(reply, encoded(*label), mode="paper_compat")
        slowest = max(slowest, time.process_time() - start)
        if won and label:
            matches += 1
            expected = calls_by_another_reader(render_calls(label))
            assert expected in map(calls_by_another_reader, answers_by_other_readers(reply)), reply
        elif won or reason == "no_call":
            assert any(not re.search("</?tool_call>", answer)
                       for answer in answers_by_other_readers(reply)), reply
    assert 500 < matches < 5_000  # edits outside the calls leave a match, most others do not
    assert slowest < 0.5 and time.process_time() - begin < 30


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.characters())
       | st.lists(st.sampled_from(INSERTS), max_size=30).map("".join),
       st.sampled_from(LABELS), st.sampled_from(["strict", "paper_compat"]))
@example("<tool_call>" + "[" * 100_000, LABELS[0], "strict")
@example("<tool_call>\n" + "[" * 100_000 + "\n</tool_call>", LABELS[0], "paper_compat")
@example("<tool_call>\n" * 50_000, LABELS[0], "paper_compat")
@example("<think>" * 50_000, LABELS[0], "strict")
def test_any_reply_has_a_score(reply: str, label: list[Call], mode: str):
    score(reply, encoded(*label), mode=mode)


def test_the_file_loads_by_its_path_as_verl_loads_it():
    spec = importlib.util.spec_from_file_location("custom_module", REWARD_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    row = {"data_source": "looptool", "solution_str": render_calls([BOOK]),
           "ground_truth": encoded(BOOK), "extra_info": {"num_turns": 2},
           "reward_router_address": None, "reward_model_tokenizer": None}
    assert module.compute_score(**row, mode="strict") == {"score": 1.0, "reason": "match"}


@pytest.mark.slow
def test_verl_collects_the_rewards_of_a_batch():
    """verl's own loading, reward manager and validation metrics, over good, wrong and broken
    rows."""
    pytest.importorskip("verl")
    import asyncio

    import numpy as np
    import torch
    from omegaconf import OmegaConf
    from verl import DataProto
    from verl.experimental.reward_loop.reward_manager import get_reward_manager_cls
    from verl.trainer.ppo.metric_utils import process_validation_metrics
    from verl.trainer.ppo.reward import get_custom_reward_fn

    class Tokenizer:
        def decode(self, ids, skip_special_tokens):
            return bytes(ids.tolist()).decode()

    config = OmegaConf.create({"reward": {"custom_reward_function": {
        "path": str(REWARD_FILE), "name": "compute_score", "reward_kwargs": {"mode": "strict"}}}})

    async def collect() -> list[dict]:
        manager = get_reward_manager_cls("naive")(config, Tokenizer(), get_custom_reward_fn(config))
        results = []
        for reply, label in [(render_calls([BOOK]), encoded(BOOK)), ("text", encoded(BOOK)),
                             ("text", "broken")]:
            ids = torch.tensor([list(reply.encode())])
            data = DataProto.from_dict(
                tensors={"responses": ids, "attention_mask": torch.ones_like(ids)},
                non_tensors={"data_source": np.array(["looptool"], dtype=object),
                             "reward_model": np.array([{"ground_truth": label}], dtype=object),
                             "extra_info": np.array([{}], dtype=object)})
            results.append(await manager.run_single(data))
        return results

    results = asyncio.run(collect())
    assert [result["reward_score"] for result in results] == [1.0, 0.0, 0.0]
    infos = [result["reward_extra_info"] for result in results]
    columns = {key: np.array([info[key] for info in infos]) for key in infos[0]}
    assert columns["reason"].tolist() == ["match", "no_call", "bad_label"]
    lists = {key: column.tolist() for key, column in columns.items()}
    metrics = process_validation_metrics(["looptool"] * 3, ["a", "b", "c"], lists)
    assert (metrics["looptool"]["score"]["mean@1"] == pytest.approx(1 / 3)
            and "reason" not in metrics["looptool"])
