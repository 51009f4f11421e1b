"""Systematic noise: what each rule makes of a step, how often, and who shares it."""
from __future__ import annotations

from collections import Counter

import msgspec
import pytest
from loop_world import says
from test_simulation import COUNT, NO_ERRORS, ask, blocks, content, line, lines, near, tasks

from looptool.calling.reply import parse_reply
from looptool.config import Simulation
from looptool.prompts.render import render_conversation, render_messages
from looptool.records import Call, Message, Tool
from looptool.simulation.world.rules import RULES, rule_behind, rule_error
from looptool.simulation.world.tasks import result_of, user
from looptool.simulation.world.truth import Truth, truth

SYSTEMATIC = msgspec.structs.replace(NO_ERRORS, noise="systematic")
SHARED = msgspec.structs.replace(SYSTEMATIC, judge_shares_blind_spots=True)


def tool(name: str, required: list[str], **types: str) -> Tool:
    return Tool(name=name, parameters={
        "type": "object", "required": required,
        "properties": {name: {"type": kind} for name, kind in types.items()}})


PAY = tool("pay", ["payee", "amount"], payee="string", amount="number", day="string")
ASKED, FAILED = [user("please")], [user("please"), result_of({}, error=True)]


def pay(**arguments) -> Call:
    return Call(name="pay", arguments=arguments)


@pytest.mark.parametrize("rule, messages, right, wrong", [
    ("one_by_one", ASKED, [pay(amount=1), pay(amount=2)], [pay(amount=1)]),
    ("one_by_one", ASKED, [pay(amount=1)], None),
    ("gives_up", FAILED, [pay(amount=1)], []),
    ("gives_up", [user("please"), result_of({})], [pay(amount=1)], None),
    ("omit_optional", ASKED, [pay(amount=1, day="today")], [pay(amount=1)]),
    ("omit_optional", ASKED, [pay(amount=1)], None),
    ("date_format", ASKED, [pay(day="2029-01-19")], [pay(day="2029/01/19")]),
    ("date_format", ASKED, [pay(day="on 2029-01-19")], None),
    ("rounded_amount", ASKED, [pay(amount=12.75)], [pay(amount=12)]),
    ("rounded_amount", ASKED, [pay(amount=12.5)], None)])
def test_what_a_rule_makes_of_a_step(rule, messages, right, wrong):
    now = Truth("call", tuple(right))
    assert RULES[rule]([PAY], messages, now) == wrong
    if wrong is not None:
        assert rule_behind([PAY], messages, now, says("Sorry.", *wrong)) == rule
        assert rule_behind([PAY], messages, now, says("", pay(payee="me"))) is None


def test_a_missing_value_is_made_up():
    opened = truth([PAY], [user("Please pay with amount 3.5.")])
    assert opened.kind == "ask"
    assert RULES["invented_value"]([PAY], ASKED, opened) == [pay(amount=3.5, payee="unknown")]
    assert RULES["invented_value"]([PAY], ASKED, Truth("call", (pay(amount=1),))) is None


def test_a_rule_holds_in_its_share_of_the_cases_in_reach_and_the_seed_draws_them():
    reach, held = Counter(), {0: set(), 1: set()}
    for index, (tools, drawn) in enumerate(tasks("train")):
        rule = next((name for name in RULES if RULES[name](tools, drawn.messages, drawn.truth)
                     is not None), None)
        reach[rule is not None] += 1
        for seed in held:
            error = rule_error(msgspec.structs.replace(SYSTEMATIC, rules=[rule] if rule else []),
                               seed, tools, drawn.messages, drawn.truth)
            if error is not None:
                held[seed].add(index)
                assert not drawn.truth.accepts(says("", *error[1])) and error[0] == rule
    assert all(near(len(cases), 0.6, reach[True]) for cases in held.values())
    assert held[0] != held[1]


def answers(rates: Simulation, draw: int = 0) -> list[Message]:
    """What the simulated assistant says to each task."""
    said = []
    for tools, drawn in tasks("train"):
        system = {"role": "system", "content": f"<tools>\n{lines(tools)}\n</tools>"}
        chat = [system, *render_messages(drawn.messages)]
        said.append(parse_reply(ask(rates, "assistant", chat, draw)).message())
    return said


def errors(rates: Simulation) -> Counter:
    """The rules behind the wrong answers of the simulated assistant; None for other errors."""
    return Counter(rule_behind(tools, drawn.messages, drawn.truth, answer)
                   for (tools, drawn), answer in zip(tasks("train"), answers(rates), strict=True)
                   if not drawn.truth.accepts(answer))


def test_the_assistant_keeps_to_its_rules_in_every_draw():
    assert answers(SYSTEMATIC) == answers(SYSTEMATIC, draw=1)
    found = errors(SYSTEMATIC)
    assert len(found) >= 5 and None not in found
    assert set(errors(msgspec.structs.replace(SYSTEMATIC, rules=["one_by_one"]))) == {"one_by_one"}
    assert set(errors(msgspec.structs.replace(SYSTEMATIC, rule_share=0.0))) == set()


def test_random_noise_keeps_to_no_rule():
    random_only = errors(msgspec.structs.replace(NO_ERRORS, label_noise=0.2))
    assert random_only[None] > 0.8 * sum(random_only.values())


@pytest.mark.parametrize("noise", ["systematic", "random"])
def test_a_judge_of_the_teachers_kind_holds_its_errors_to_be_right(noise):
    """Judge, checker and teacher agree on every step; a judge of another kind sees the errors."""
    shared = msgspec.structs.replace(SHARED, noise=noise, label_noise=0.2)
    own = msgspec.structs.replace(shared, judge_shares_blind_spots=False)
    wrong = 0
    for (tools, drawn), label in zip(tasks("train"), answers(shared), strict=True):
        if drawn.truth.accepts(label):
            continue
        wrong += 1
        seen = {"tools": lines(tools), "conversation": render_conversation(drawn.messages)}
        right = line(says("ok", *drawn.truth.calls))
        for order, rates in ((("1", "2"), shared), (("2", "1"), own)):
            first = blocks(**seen, candidate_1=line(label), candidate_2=right)
            second = blocks(**seen, candidate_1=right, candidate_2=line(label))
            judged = [content(ask(rates, "judge", chat))["better"] for chat in (first, second)]
            assert judged == list(order)
            accepted = content(ask(rates, "checker", blocks(**seen, answer=line(label))))["correct"]
            assert accepted == (rates is shared)
    assert wrong > COUNT / 10
