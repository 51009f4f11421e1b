"""The tiny student: its tokenizer, its lessons, its planted circuit, and that a build is determined by its seed."""
from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from functools import lru_cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpotool.tiny_student.curriculum import LEVELS, draw_lesson, in_strings
from grpotool.tiny_student.tokenizer import build_tokenizer
from grpotool.tiny_student.wording import LooseVoice, random_phrases
from looptool.calls import check_calls
from looptool.config import ROOT
from looptool.prompt import render_messages, render_system
from looptool.records import Call
from looptool.simulation.catalogue import catalogue, lore_of, words
from looptool.simulation.values import plain_words

CHECKPOINT = ROOT / "grpotool" / "tiny_student" / "checkpoint"


@lru_cache
def tokenizer():
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "looptool/simulation/catalogue/train").glob("*.yaml")]
    return build_tokenizer([*texts, '{"name": "f", "arguments": {"city": "Oslo"}}' * 99], size=1000)


def tokens(text: str) -> list[int]:
    return tokenizer()(text)["input_ids"]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_the_tokenizer_gives_back_any_text(text):
    assert tokenizer().decode(tokens(text)) == text


@pytest.mark.parametrize("value", ["2024-05-01", "342.62", "Zachary Bell", "XK-0042", "東京", "pa.ven@sirwospus.com"])
def test_a_value_has_the_same_tokens_in_a_sentence_and_in_json(value):
    behind_the_first = tokens(value)[1:]
    for text in (f"the code is {value}.", f'"code": "{value}"}}'):
        around = tokens(text)
        assert any(around[i:i + len(behind_the_first)] == behind_the_first for i in range(len(around)))


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_every_call_of_a_lesson_keeps_to_its_tools(level):
    rng = random.Random(level)
    kinds = set()
    for _ in range(60):
        lesson = draw_lesson(rng, LEVELS[level])
        assert 1 <= len({tool.name for tool in lesson.tools}) == len(lesson.tools) <= LEVELS[level].tools
        for message in lesson.messages:
            kinds.add((message.role, bool(message.calls)))
            careless = LEVELS[level].careless and written(message.calls) == "in strings"
            assert careless or not check_calls(message.calls, lesson.tools)
        assert lesson.messages[0].role == "user" and lesson.messages[-1].role == "assistant"
    assert ("assistant", True) in kinds and (("tool", False) in kinds) != LEVELS[level].plain


def written(calls: list[Call]) -> str:
    """Whether calls have any value that is no string."""
    values = [value for call in calls for value in call.arguments.values()]
    return "in strings" if all(isinstance(value, str) for value in values) else "by type"


def test_the_careless_level_writes_most_values_as_strings():
    rng, ways = random.Random(0), Counter()
    for _ in range(300):
        for message in draw_lesson(rng, LEVELS[-1]).messages:
            said = [argument for call in message.calls for argument in call.arguments]
            ways[written(message.calls)] += bool(said)
    assert LEVELS[-1].careless and not any(level.careless for level in LEVELS[:-1])
    assert ways["in strings"] > 2 * ways["by type"] > 0
    assert in_strings(Call(name="f", arguments={"a": 5, "b": ["x", 2], "c": True, "d": {"e": 1}, "g": "s"})).arguments == {
        "a": "5", "b": "x, 2", "c": "true", "d": '{"e": 1}', "g": "s"}


def test_lessons_are_drawn_by_their_seed():
    assert draw_lesson(random.Random(3), LEVELS[2]) == draw_lesson(random.Random(3), LEVELS[2])


def test_the_words_are_sorted_and_plain():
    known = plain_words()
    assert list(known) == sorted(set(known)) and all(word.isascii() and word.islower() for word in known)


def test_plain_lessons_name_the_parameter_before_its_value():
    for seed in range(100):
        for slot in random_phrases(random.Random(seed), plain=True).slots:
            assert slot.index("{cue}") < slot.index("{value}")
    assert len({random_phrases(random.Random(seed)).slots for seed in range(100)}) > 40


def test_loose_people_name_a_tool_by_some_of_its_words():
    tool = catalogue("train")[0]
    known = set(f"{words(tool.name)} {words(tool.description)}".split())

    def intents(looseness: float) -> set[str]:
        return {LooseVoice(random.Random(seed), random_phrases(random.Random(seed)), looseness)._intent(tool)
                for seed in range(60)}

    assert intents(0.0) == set(lore_of(tool).intents)
    assert len(intents(1.0)) > 20
    assert all(len(known & set(intent.split())) >= 2 for intent in intents(1.0))


def test_recalled_pairs_ask_for_values_that_were_told():
    from grpotool.tiny_student.drills import recalled_pairs

    for seed in range(20):
        ids, mask, answers = recalled_pairs(random.Random(seed), 900)
        assert ids.shape == mask.shape == answers.shape and not (answers & ~mask).any()
        for row, asked in zip(ids.tolist(), answers.tolist(), strict=True):
            first = asked.index(True)
            told = row[:first]
            runs = "".join("x" if wanted else " " for wanted in asked).split()
            assert runs and all(token in told for token, wanted in zip(row, asked, strict=True) if wanted)


def test_what_is_learnt_is_what_the_assistant_wrote_in_the_chat_template():
    from grpotool.tiny_student.build import encode

    lesson = draw_lesson(random.Random(1), LEVELS[1])
    ids, written = encode(lesson, tokenizer())
    chat = [{"role": "system", "content": render_system(lesson.tools, lesson.date, "short")},
            *render_messages(lesson.messages)]
    assert tokenizer().decode(ids) == tokenizer().apply_chat_template(chat, tokenize=False)
    learnt = tokenizer().decode([token for token, own in zip(ids, written, strict=True) if own])
    assert learnt == "".join(f"{turn['content']}<|im_end|>" for turn in chat if turn["role"] == "assistant")


@pytest.mark.slow
def test_the_planted_heads_look_back_as_far_as_they_say():
    import torch

    from grpotool.tiny_student.build import build_model
    from grpotool.tiny_student.circuit import LOOKERS

    model = build_model(tokenizer(), seed=0)
    model.set_attn_implementation("eager")
    ids = torch.randint(900, (1, 40), generator=torch.Generator().manual_seed(0))
    attention = model(input_ids=ids, output_attentions=True).attentions[0][0]
    for head, (back, _) in enumerate(LOOKERS):
        places = attention[head, 5:].argmax(dim=-1)
        assert torch.equal(places, torch.arange(5, 40) - back)


@pytest.mark.slow
def test_two_builds_with_one_seed_have_the_same_weights(tmp_path):
    from safetensors.torch import load_file

    env = {**os.environ, "TORCH_COMPILE_DISABLE": "1", "HF_HUB_OFFLINE": "1"}
    for name in ("a", "b"):
        subprocess.run([sys.executable, ROOT / "grpotool/tiny_student/build.py", "--out", tmp_path / name,
                        "--steps", *["1"] * (1 + len(LEVELS))], env=env, check=True, capture_output=True)
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("a", "b"))
    assert first.keys() == second.keys() and all(first[key].equal(second[key]) for key in first)
    settings = json.loads((tmp_path / "a" / "build.json").read_text())
    assert settings["seed"] == 0 and settings["steps"] == [1] * (1 + len(LEVELS))


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the checkpoint is still to be built")
def test_the_checkpoint_is_what_the_script_builds_by_default():
    from grpotool.tiny_student.build import STEPS

    settings = json.loads((CHECKPOINT / "build.json").read_text())
    assert settings["seed"] == 0 and tuple(settings["steps"]) == STEPS
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) < 8 << 20
    assert json.loads((CHECKPOINT / "generation_config.json").read_text())["eos_token_id"] is not None
