"""Systematic errors: rules that a teacher keeps to, so that a student can learn them from its
labels.

A rule sees what everybody sees: the tools, the conversation, the right next step. It holds in a
share of the cases in its reach, drawn by the seed and the user's words: often enough to be learnt,
and the rest of the labels know better.
"""
from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from looptool.calling.match import tool_match
from looptool.config import Rule as RuleName, Simulation
from looptool.records import Call, Message, Tool
from looptool.simulation.world.catalogue import Slot, lore_of, siblings
from looptool.simulation.world.language import REFERENCE, Request
from looptool.simulation.world.truth import Truth, reports_error

Rule = Callable[[Sequence[Tool], Sequence[Message], Truth], "list[Call] | None"]
"""The calls of a teacher who keeps to the rule, [] being plain text; None where it has no reach."""

UNKNOWN = "unknown"
"""What stands for a text that nobody gave."""
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def _invented_value(tools: Sequence[Tool], messages: Sequence[Message],
                    now: Truth) -> list[Call] | None:
    """It calls although a required value is missing, with a made-up one."""
    refers = any(REFERENCE in request.arguments.values() for request in now.requests)
    return None if now.kind != "ask" or refers else [completed(one) for one in now.requests]


def completed(request: Request) -> Call:
    slots = {slot.name: slot for slot in lore_of(request.tool).slots}
    made_up = {name: _made_up(slots[name]) for name in request.missing}
    return Call(name=request.tool.name, arguments={**request.arguments, **made_up})


def _made_up(slot: Slot) -> Any:
    """A value of the slot's type, always the same one."""
    kind = slot.kind
    if slot.fields:
        return {field.name: _made_up(field) for field in slot.fields if field.required}
    if "enum" in kind:
        return kind["enum"][0]
    if kind.keys() & {"items", "tuple"}:
        return [_made_up(Slot("", (), True, part)) for part in kind.get("tuple", ())]
    if "json" in kind:
        return {} if kind["json"].get("type") == "object" else []
    return {"integer": 1, "number": 1, "boolean": True}.get(kind["type"], UNKNOWN)


def _one_by_one(tools: Sequence[Tool], messages: Sequence[Message],
                now: Truth) -> list[Call] | None:
    """Of several independent calls it makes the first, to make the others later."""
    return list(now.calls[:1]) if len(now.calls) > 1 else None


def _gives_up(tools: Sequence[Tool], messages: Sequence[Message], now: Truth) -> list[Call] | None:
    """After a result that reports an error it does not try again."""
    last = messages[-1]
    return [] if now.calls and last.role == "tool" and reports_error(last.content) else None


def _sibling_tool(tools: Sequence[Tool], messages: Sequence[Message],
                  now: Truth) -> list[Call] | None:
    """Of two like tools it takes the one that stands first."""
    return _each(now, lambda call: _as_first_of_like(call, tools))


def _as_first_of_like(call: Call, tools: Sequence[Tool]) -> Call:
    own = next(tool for tool in tools if tool.name == call.name)
    first = next(tool for tool in tools if tool is own or tool in siblings(own, tools))
    return Call(name=first.name, arguments=call.arguments)


def _omit_optional(tools: Sequence[Tool], messages: Sequence[Message],
                   now: Truth) -> list[Call] | None:
    """It leaves out what a tool does not require."""
    required = {tool.name: tool.parameters.get("required", []) for tool in tools}
    return _each(now, lambda call: Call(name=call.name, arguments={
        name: value for name, value in call.arguments.items() if name in required[call.name]}))


def _date_format(tools: Sequence[Tool], messages: Sequence[Message],
                 now: Truth) -> list[Call] | None:
    """It writes dates with strokes."""
    def with_strokes(value: Any) -> Any:
        is_date = isinstance(value, str) and _DATE.fullmatch(value)
        return value.replace("-", "/") if is_date else value

    return _each(now, lambda call: _with_values(call, with_strokes))


def _rounded_amount(tools: Sequence[Tool], messages: Sequence[Message],
                    now: Truth) -> list[Call] | None:
    """It leaves out the cents of an amount: of a number with two decimals."""
    def without_cents(value: Any) -> Any:
        has_cents = type(value) is float and round(value, 1) != value == round(value, 2)
        return int(value) if has_cents else value

    return _each(now, lambda call: _with_values(call, without_cents))


def _with_values(call: Call, change: Callable[[Any], Any]) -> Call:
    arguments = {name: change(value) for name, value in call.arguments.items()}
    return Call(name=call.name, arguments=arguments)


def _each(now: Truth, change: Callable[[Call], Call]) -> list[Call] | None:
    """Every call changed; None where that changes none."""
    changed = [change(call) for call in now.calls]
    return None if changed == list(now.calls) else changed


RULES: dict[RuleName, Rule] = {
    "invented_value": _invented_value, "one_by_one": _one_by_one, "gives_up": _gives_up,
    "sibling_tool": _sibling_tool, "omit_optional": _omit_optional, "date_format": _date_format,
    "rounded_amount": _rounded_amount}
"""Where several have reach in a step, the first one that holds there is kept to."""


def rule_error(rates: Simulation, seed: int, tools: Sequence[Tool], messages: Sequence[Message],
               now: Truth) -> tuple[RuleName, list[Call]] | None:
    """The rule that a teacher keeps to in this step, and its calls; None where it is right."""
    for name, rule in RULES.items():
        wrong = rule(tools, messages, now) if name in rates.rules else None
        if wrong is not None and step_rng(seed, name, messages).random() < rates.rule_share:
            return name, wrong
    return None


def step_rng(seed: int, purpose: str, messages: Sequence[Message]) -> random.Random:
    """Randomness of one step, the same for all who see the conversation: by the user's last words,
    and by how much was said since."""
    spoken = [index for index, message in enumerate(messages) if message.role == "user"]
    last = spoken[-1] if spoken else 0
    words = messages[last].content if messages else ""
    return random.Random(f"{seed}:{purpose}:{len(messages) - last}:{words}")


def rule_behind(tools: Sequence[Tool], messages: Sequence[Message], now: Truth,
                answer: Message) -> RuleName | None:
    """The rule that leads to a wrong answer, whoever gives it; None where none does."""
    for name, rule in RULES.items():
        wrong = rule(tools, messages, now)
        if wrong is not None and same_calls(answer, wrong):
            return name
    return None


def same_calls(answer: Message, calls: list[Call]) -> bool:
    """Whether an answer makes these calls; any text is equal to no call."""
    return tool_match(answer, Message(role="assistant", calls=calls)) == "match"
