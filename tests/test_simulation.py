"""The simulated world: what is said is heard as it was meant, and everybody errs at the configured
rate."""
from __future__ import annotations

import json
import random
from collections import Counter
from functools import lru_cache

import msgspec
import pytest
from loop_world import is_right, says, task, weather, world

from looptool.calling.reply import parse_reply
from looptool.calling.schema_check import check_calls
from looptool.config import Simulation
from looptool.prompts.render import render_conversation, render_messages
from looptool.records import Message, Tool
from looptool.simulation.heldout import heldout_samples
from looptool.simulation.roles.prompt import NotUnderstood
from looptool.simulation.teacher import Teacher
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.language import Voice, phrases
from looptool.simulation.world.noise import KINDS as NOISE_KINDS, corrupt
from looptool.simulation.world.tasks import (
    KINDS, TEXT_KINDS, Author, Task, draw_task, draw_tools, foreign_tools)
from looptool.simulation.world.truth import truth

COUNT = 300
NO_ERRORS = Simulation(label_noise=0, draw_noise=0, judge_error=0, judge_first_bias=0,
                       generator_error=0, malformed=0, tool_error=0)


@lru_cache
def tasks(split: str, count: int = COUNT) -> list[tuple[list[Tool], Task]]:
    drawn = []
    for index in range(count):
        rng = random.Random(f"{split}:{index}")
        tools = draw_tools(rng, catalogue(split), rng.randint(2, 4))
        drawn.append((tools, draw_task(rng, tools, split)))
    return drawn


# Language and truth


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_hardly_anything_is_misheard(split):
    """Tasks are drawn until one is heard as meant; so few are misheard that this hides no kind of
    sentence."""
    pool, misheard, said = catalogue(split), 0, 0
    for index in range(3 * COUNT):
        rng = random.Random(f"hear:{split}:{index}")
        tools = draw_tools(rng, pool, 3)
        kind = rng.choice(list(KINDS))
        draft = Author(rng, tools, foreign_tools(tools, split),
                       lambda rng=rng: Voice(rng, phrases(split))).write(kind)
        if draft is None:
            continue
        messages, meant = draft
        heard = truth(tools, messages)
        said += 1
        misheard += heard is None or (heard.kind, heard.calls) != (meant.kind, meant.calls)
    assert said > COUNT and misheard <= said / 40


@pytest.mark.parametrize("split", ["train", "heldout"])
def test_every_kind_of_task_is_drawn_with_calls_that_keep_to_their_schemas(split):
    drawings = tasks(split, 2 * COUNT)  # rare: a tool must have a sibling, or an object
    assert {drawn.kind for _, drawn in drawings} == set(KINDS)
    for tools, drawn in drawings:
        assert bool(drawn.truth.calls) == (drawn.kind not in TEXT_KINDS)
        assert not check_calls(list(drawn.truth.calls), tools)
        assert (drawn.truth.accepts(says("I see.", *drawn.truth.calls))
                and not drawn.truth.accepts(says("", weather("Rome"))))


def test_what_this_world_did_not_say_has_no_truth():
    assert truth([weather_tool()], [Message(role="user", content="Qua qua qua.")]) is None


def weather_tool() -> Tool:
    return task().tools[0]


def test_held_out_tasks_share_no_tool_and_no_frame_with_the_training():
    train, held_out = ({tool.name for tool in catalogue(split)} for split in ("train", "heldout"))
    assert (not train & held_out
            and not set(phrases("train").frames) & set(phrases("heldout").frames))
    assert all({tool.name for tool in sample.tools} <= held_out for sample in heldout_samples(30))


def test_held_out_tasks_are_the_same_for_everybody():
    once, again, more = (list(heldout_samples(count)) for count in (5, 5, 8))
    assert once == again == more[:5] and len({sample.id for sample in more}) == 8


def test_held_out_tasks_over_a_list_of_tools():
    pool = [Tool(name=f"get_{name}", description=f"Look a {name} up.", parameters={
        "type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]})
            for name in ("tide", "train", "map")]
    samples = list(heldout_samples(20, pool))
    assert len({sample.id for sample in samples}) == 20
    assert {tool.name for sample in samples
            for tool in sample.tools} == {tool.name for tool in pool}
    assert {call.name for sample in samples
            for call in sample.label.calls} == {tool.name for tool in pool}


# Noise


def test_corrupted_calls_are_wrong_and_of_every_kind():
    kinds: Counter[str] = Counter()
    for index, (tools, drawn) in enumerate(tasks("train")):
        kind, wrong = corrupt(random.Random(index), list(drawn.truth.calls), tools)
        kinds[kind] += 1
        assert not drawn.truth.accepts(says("", *wrong)), (kind, wrong)
    assert set(kinds) == set(NOISE_KINDS)


# The roles and their rates


def ask(rates: Simulation, role: str, chat: list[dict[str, str]], draw: int = 0,
        model: str = "m") -> str:
    """A role's reply, by the request that a client would send."""
    system = {"role": "system", "content": f"# Role: {role}\n{chat[0]['content']}"}
    body = Teacher(rates).complete({"model": model, "messages": [system, *chat[1:]], "seed": draw})
    return body["choices"][0]["message"]["content"]


def blocks(**inner: str) -> list[dict[str, str]]:
    text = "\n\n".join(f"<{name}>\n{value}\n</{name}>" for name, value in inner.items())
    return [{"role": "system", "content": ""}, {"role": "user", "content": text}]


def line(message: Message) -> str:
    return msgspec.json.encode(message).decode()


def content(reply: str) -> dict:
    return json.loads(reply.partition("</think>")[2])


def verdicts(rates: Simulation, swapped: bool = False) -> Counter[str]:
    """What the judge says of the right and a wrong answer to many tasks, "1" standing for the right
    one."""
    said: Counter[str] = Counter()
    for index, (tools, drawn) in enumerate(tasks("train")):
        right = says("I see.", *drawn.truth.calls)
        wrong = says("", *corrupt(random.Random(index), right.calls, tools)[1])
        first, second = (wrong, right) if swapped else (right, wrong)
        chat = blocks(tools=lines(tools), conversation=render_conversation(drawn.messages),
                      candidate_1=line(first), candidate_2=line(second))
        choice = content(ask(rates, "judge", chat))["better"]
        said[{"1": "2", "2": "1"}.get(choice, choice) if swapped else choice] += 1
    return said


def lines(tools: list[Tool]) -> str:
    return "\n".join(msgspec.json.encode(tool).decode() for tool in tools)


def near(count: int, share: float, total: int = COUNT) -> bool:
    """Within four standard deviations."""
    return abs(count - share * total) <= 4 * (total * share * (1 - share)) ** 0.5


def test_a_judge_without_errors_is_right_in_both_orders():
    assert verdicts(NO_ERRORS) == verdicts(NO_ERRORS, swapped=True) == {"1": COUNT}


def test_a_judge_errs_at_its_rate_and_prefers_the_first_at_its_rate():
    errs = msgspec.structs.replace(NO_ERRORS, judge_error=0.3)
    assert (near(COUNT - verdicts(errs)["1"], 0.3)
            and set(verdicts(errs)) == {"1", "2", "both", "neither"})
    biased = msgspec.structs.replace(NO_ERRORS, judge_first_bias=0.3)
    assert verdicts(biased) == {"1": COUNT} and near(verdicts(biased, swapped=True)["2"], 0.3)


def test_replies_are_malformed_at_their_rate():
    broken = 0
    for probe in world(COUNT):
        chat = blocks(tools=lines(probe.sample.tools),
                      conversation=render_conversation(probe.sample.messages),
                      answer=line(probe.prediction))
        reply = ask(msgspec.structs.replace(NO_ERRORS, malformed=0.2), "checker", chat)
        try:
            assert content(reply)["correct"] == is_right(probe.sample, probe.prediction)
        except ValueError:
            broken += 1
    assert near(broken, 0.2, len(world(COUNT)))


def wrong_labels(rates: Simulation, draw: int) -> list[int]:
    """Which tasks the simulated assistant gets wrong."""
    wrong = []
    for index, (tools, drawn) in enumerate(tasks("train")):
        chat = [{"role": "system", "content": f"<tools>\n{lines(tools)}\n</tools>"},
                *render_messages(drawn.messages)]
        answer = parse_reply(ask(rates, "assistant", chat, draw)).message()
        wrong += [index] if not drawn.truth.accepts(answer) else []
    return wrong


def test_label_noise_is_the_same_in_every_draw_and_draw_noise_is_not():
    assert wrong_labels(NO_ERRORS, 0) == []
    steady = msgspec.structs.replace(NO_ERRORS, label_noise=0.2)
    open_tasks = sum(drawn.truth.kind != "done" for _, drawn in tasks("train"))
    assert (wrong_labels(steady, 0) == wrong_labels(steady, 1)
            and near(len(wrong_labels(steady, 0)), 0.2, open_tasks))
    moody = msgspec.structs.replace(NO_ERRORS, draw_noise=0.2)
    assert wrong_labels(moody, 0) != wrong_labels(moody,
                                                  1) and near(len(wrong_labels(moody, 1)), 0.2)


def test_a_tool_fails_at_its_rate_but_never_twice_in_a_row():
    rates = msgspec.structs.replace(NO_ERRORS, tool_error=1.0)
    tools, drawn = next((tools, drawn) for tools, drawn in tasks("train") if drawn.kind == "single")
    history = [*drawn.messages, says("", *drawn.truth.calls)]
    chat = blocks(tools=lines(tools), conversation=render_conversation(history),
                  call=msgspec.json.encode(
        drawn.truth.calls[0]).decode())
    failed = ask(rates, "tool", chat)
    assert "error" in json.loads(failed)
    again = [*history, Message(role="tool", content=failed, failed=True)]
    chat = blocks(tools=lines(tools), conversation=render_conversation(again),
                  call=msgspec.json.encode(
        drawn.truth.calls[0]).decode())
    assert json.loads(ask(rates, "tool", chat))["status"] == "ok"


def test_the_same_request_has_the_same_answer_and_another_draw_may_have_another():
    tools, _ = tasks("train")[0]
    chat = blocks(tools=lines(tools), turns="4")
    plans = [ask(Simulation(), "planner", chat, draw) for draw in range(5)]
    assert (plans == [ask(Simulation(), "planner", chat, draw) for draw in range(5)]
            and len(set(plans)) > 1)


@pytest.mark.parametrize("first_line", ["# Role: poet", "Hello", ""])
def test_a_request_of_another_project_is_refused(first_line):
    with pytest.raises(NotUnderstood):
        Teacher(NO_ERRORS).complete({"messages": [{"role": "system", "content": first_line}]})
    with pytest.raises(NotUnderstood):
        Teacher(NO_ERRORS).complete({"messages": []})
