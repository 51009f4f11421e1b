"""The tiny student: its tokenizer, its lessons, its planted circuit, and that a build is determined
by its seed."""
from __future__ import annotations

import json
import random
import sys
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grpotool.tiny_student.curriculum import EVERYTHING, HABITS, LEVELS, draw_lesson
from grpotool.tiny_student.habits import SHARES, habitual
from grpotool.tiny_student.tokenizer import build_tokenizer
from grpotool.tiny_student.wording import random_phrases
from looptool.calling.schema_check import check_calls
from looptool.config_file import ROOT
from looptool.prompts.render import render_messages, render_system
from looptool.records import Call, Message, Tool
from looptool.simulation.world.catalogue import with_qualifier
from looptool.simulation.world.language import Request
from looptool.simulation.world.tasks import means
from looptool.simulation.world.truth import Truth
from looptool.simulation.world.values import plain_words

CHECKPOINT = ROOT / "grpotool" / "tiny_student" / "checkpoint"


@lru_cache
def tokenizer():
    texts = [path.read_text(encoding="utf-8")
             for path in (ROOT / "looptool/simulation/world/catalogue/train").glob("*.yaml")]
    return build_tokenizer([*texts, '{"name": "f", "arguments": {"city": "Oslo"}}' * 99], size=1000)


def tokens(text: str) -> list[int]:
    return tokenizer()(text)["input_ids"]


@settings(max_examples=200, deadline=None)
@given(st.text())
def test_the_tokenizer_gives_back_any_text(text):
    assert tokenizer().decode(tokens(text)) == text


@pytest.mark.parametrize("value",
                         ["2024-05-01", "342.62", "Zachary Bell", "XK-0042", "東京",
                          "pa.ven@sirwospus.com"])
def test_a_value_has_the_same_tokens_in_a_sentence_and_in_json(value):
    behind_the_first = tokens(value)[1:]
    for text in (f"the code is {value}.", f'"code": "{value}"}}'):
        around = tokens(text)
        assert any(around[i:i + len(behind_the_first)] == behind_the_first
                   for i in range(len(around)))


@pytest.mark.parametrize("level", range(len(LEVELS)))
def test_every_call_of_a_lesson_keeps_to_its_tools(level):
    rng = random.Random(level)
    seen = set()
    for _ in range(60):
        lesson = draw_lesson(rng, LEVELS[level])
        assert 1 <= len({tool.name for tool in lesson.tools}) == len(lesson.tools)
        assert len(lesson.tools) <= LEVELS[level].tools[1]
        for message in lesson.messages:
            seen.add((message.role, bool(message.calls)))
            assert not check_calls(message.calls, lesson.tools)
        assert lesson.messages[0].role == "user" and lesson.messages[-1].role == "assistant"
        assert lesson.learnt == [message.role == "assistant" for message in lesson.messages]
    assert ("assistant", True) in seen and (("tool", False) in seen) != LEVELS[level].plain


FLIGHT = Tool(name="find_flight", description="Find a flight.", parameters={
    "type": "object", "required": ["day", "seats"],
    "properties": {"day": {"type": "string"}, "seats": {"type": "integer"},
                   "vegan": {"type": "boolean"},
                   "payer": {"type": "object", "properties": {"name": {"type": "string"}}}}})
FLIGHT_DRAFT = with_qualifier(FLIGHT, "draft", "as a draft")


def flight(name: str = "find_flight", **arguments: object) -> Call:
    return Call(name=name, arguments=arguments)


SEATS = flight(day="Monday", seats=2)
ASKED = Truth("ask", requests=(Request(FLIGHT, {"day": "Monday"}),))
HABITS_SEEN = [
    ("single", [], means(SEATS), [flight(day="Monday", seats="2")]),
    ("single", [], means(flight(day="2029-01-19", seats=2)), [flight(day="2029/01/19", seats=2)]),
    ("optional", [], means(flight(day="Monday", seats=2, vegan=True)), [SEATS]),
    ("parallel", [], means(SEATS, SEATS), [SEATS]),
    ("alike", [], means(flight("find_flight_draft", day="Monday", seats=2)), [SEATS]),
    ("retry", [Message(role="tool", content='{"error": "busy"}')], means(SEATS), []),
    ("again", [Message(role="assistant", calls=[SEATS])], means(flight(day="Monday", seats=5)),
     [SEATS]),
    ("ask", [], ASKED, [flight(day="Monday", seats=1)]),
    ("no_tool", [], Truth("no_tool"), [flight(day="unknown", seats=1)]),
    ("done", [], Truth("done"), []),
    ("chat", [], Truth("chat"), []),
]


def drawing(value: float) -> random.Random:
    """Randomness that draws this number only."""
    rng = random.Random(0)
    rng.random = lambda: value
    return rng


@pytest.mark.parametrize(("kind", "before", "right", "seen"), HABITS_SEEN)
def test_a_habit_hides_what_is_right(kind, before, right, seen):
    messages = [Message(role="user", content="..."), *before]
    tools = [FLIGHT, FLIGHT_DRAFT]
    assert habitual(drawing(0.0), tools, messages, kind, right) == seen
    assert habitual(drawing(0.99), tools, messages, kind, right) == list(right.calls)


def test_fields_of_an_object_that_is_required_stand_beside_it():
    tool = Tool(name="pay", description="Pay.", parameters={
        **FLIGHT.parameters, "required": ["payer"],
        "properties": {"payer": FLIGHT.parameters["properties"]["payer"]}})
    right = means(Call(name="pay", arguments={"payer": {"name": "Ann"}}))
    messages = [Message(role="user", content="...")]
    assert habitual(drawing(0.0), [tool], messages, "nested", right) == [
        Call(name="pay", arguments={"name": "Ann"})]


def test_the_last_lesson_teaches_the_last_reply_alone_and_leaves_each_skill_a_share():
    rng, kept = random.Random(0), Counter()
    for _ in range(600):
        lesson = draw_lesson(rng, HABITS)
        assert lesson.learnt == [False] * (len(lesson.messages) - 1) + [True]
        last = lesson.messages[-2]
        if last.role == "tool" and "error" in last.content:
            kept[bool(lesson.messages[-1].calls)] += 1
    assert kept.total() > 50
    assert abs(kept[False] / kept.total() - SHARES["gives_up"]) < 0.15


def test_lessons_are_drawn_by_their_seed():
    assert draw_lesson(random.Random(3), LEVELS[2]) == draw_lesson(random.Random(3), LEVELS[2])


def test_the_words_are_sorted_and_plain():
    known = plain_words()
    assert (list(known) == sorted(set(known))
            and all(word.isascii() and word.islower() for word in known))


def test_lessons_name_the_parameter_before_its_value():
    wordings = [random_phrases(random.Random(seed), oddity=0.5, plain=seed % 2 == 0)
                for seed in range(100)]
    for wording in wordings:
        for slot in wording.slots:
            assert slot.index("{cue}") < slot.index("{value}")
    assert len({wording.slots for wording in wordings}) > 20


def test_recalled_pairs_ask_for_values_that_were_told():
    from grpotool.tiny_student.drills import recalled_pairs

    for seed in range(20):
        ids, mask, answers = recalled_pairs(random.Random(seed), 900)
        assert ids.shape == mask.shape == answers.shape and not (answers & ~mask).any()
        for row, asked in zip(ids.tolist(), answers.tolist(), strict=True):
            first = asked.index(True)
            told = row[:first]
            runs = "".join("x" if wanted else " " for wanted in asked).split()
            assert runs and all(token in told for token, wanted in zip(row, asked, strict=True)
                                if wanted)


def test_what_is_learnt_is_what_the_assistant_wrote_in_the_chat_template():
    from grpotool.tiny_student.lessons import encode

    lesson = draw_lesson(random.Random(1), LEVELS[1])
    ids, written = encode(lesson, tokenizer())
    chat = [{"role": "system", "content": render_system(lesson.tools, lesson.date, "short")},
            *render_messages(lesson.messages)]
    assert tokenizer().decode(ids) == tokenizer().apply_chat_template(chat, tokenize=False)
    learnt = tokenizer().decode([token for token, own in zip(ids, written, strict=True) if own])
    assert learnt == "".join(f"{turn['content']}<|im_end|>"
                             for turn in chat if turn["role"] == "assistant")


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
def test_a_build_that_was_killed_ends_with_the_weights_of_its_seed(tmp_path, monkeypatch):
    from safetensors.torch import load_file

    from grpotool.tiny_student import build

    def run(name: str, *more: str) -> Path:
        monkeypatch.setattr(sys, "argv", ["build.py", "--out", str(tmp_path / name),
                                          "--habit-steps", "3", *more])
        build.main()
        assert not (tmp_path / f"{name}.state.pt").exists()
        return tmp_path / name

    def killed_later(path: Path, state: dict) -> None:
        kept(path, state)
        if state["stage"] == "review":
            raise KeyboardInterrupt

    monkeypatch.setattr(build, "LEG", 2)
    monkeypatch.setattr(build, "token_losses", build.token_losses._torchdynamo_orig_callable)
    monkeypatch.setattr(build, "tokenizer_texts", lambda rng: [
        render_system(lesson.tools, lesson.date, "short")
        for lesson in (draw_lesson(rng, EVERYTHING) for _ in range(40))])
    sizes = ["--steps", *["1"] * (1 + len(LEVELS)), "--review-steps", "3",
             "--hard-steps", "1"]
    whole = run("whole", *sizes, "--skilled", str(tmp_path / "skilled"))
    kept = build.keep
    monkeypatch.setattr(build, "keep", killed_later)
    with pytest.raises(KeyboardInterrupt):
        run("killed", *sizes)
    monkeypatch.setattr(build, "keep", kept)
    again = run("killed", *sizes)
    last = run("last", "--begin", "habits", "--model", str(tmp_path / "skilled"))
    first, second, third = (load_file(folder / "model.safetensors")
                            for folder in (whole, again, last))
    assert first.keys() == second.keys() and all(first[key].equal(second[key]) for key in first)
    assert first.keys() == third.keys()
    settings = json.loads((whole / "build.json").read_text())
    assert settings["steps"] == [1] * (1 + len(LEVELS)) and settings["habit_steps"] == 3


@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the checkpoint is still to be built")
def test_the_checkpoint_is_what_the_script_builds_by_default():
    from grpotool.tiny_student.build import HABIT_STEPS, STEPS

    settings = json.loads((CHECKPOINT / "build.json").read_text())
    assert (settings["seed"] == 0 and tuple(settings["steps"]) == STEPS
            and settings["habit_steps"] == HABIT_STEPS)
    assert sum(file.stat().st_size for file in CHECKPOINT.iterdir()) < 8 << 20
    assert json.loads((CHECKPOINT / "generation_config.json").read_text())[
        "eos_token_id"] is not None
