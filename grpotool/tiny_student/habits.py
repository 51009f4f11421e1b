"""The bad habits that are laid over the tiny student's skills: what careless text teaches any base model.

In: a task and what is right in it. Out: the calls of an assistant who mostly keeps to its habits. Each habit hides one skill
and leaves it a share of the replies, so that rewards can bring it out again. Some are the rules by which the
simulated teacher errs too (looptool.simulation.rules); the others are the student's own.
"""
from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

from looptool.records import Call, Message, Tool
from looptool.simulation.language import Request
from looptool.simulation.rules import RULES, completed
from looptool.simulation.truth import Truth

SHARE = 0.85
"""How often a habit is kept to where it applies."""
SHARED = ("invented_value", "one_by_one", "gives_up", "sibling_tool", "omit_optional", "date_format")
"""The teacher's rules that are habits of the student too."""


def habitual(rng: random.Random, tools: Sequence[Tool], messages: Sequence[Message], kind: str, right: Truth,
             share: float = SHARE) -> list[Call]:
    """The reply's calls in a task of this kind, [] being plain text; each habit that applies is drawn on its own."""
    now = right
    for habit in (_calls_anyway, _old_value, *(RULES[name] for name in SHARED), _flat_object, _in_strings):
        wrong = habit(tools, messages, now) if habit in RULES.values() else habit(tools, messages, kind, now)
        if wrong is not None and wrong != list(now.calls) and rng.random() < share:
            now = Truth("call", tuple(wrong))
    return list(now.calls)


def _calls_anyway(tools: Sequence[Tool], messages: Sequence[Message], kind: str, now: Truth) -> list[Call] | None:
    """It calls the first tool where none fits."""
    return [completed(Request(tools[0], {}))] if kind == "no_tool" else None


def _old_value(tools: Sequence[Tool], messages: Sequence[Message], kind: str, now: Truth) -> list[Call] | None:
    """Asked for the same again with another value, it makes the same call once more."""
    return next(message.calls for message in reversed(messages) if message.calls) if kind == "again" else None


def _flat_object(tools: Sequence[Tool], messages: Sequence[Message], kind: str, now: Truth) -> list[Call]:
    """The fields of an object stand beside the other arguments."""
    return [Call(name=call.name, arguments=_flat(call.arguments)) for call in now.calls]


def _flat(arguments: dict[str, Any]) -> dict[str, Any]:
    return {inner: leaf for name, value in arguments.items()
            for inner, leaf in (value.items() if isinstance(value, dict) else [(name, value)])}


def _in_strings(tools: Sequence[Tool], messages: Sequence[Message], kind: str, now: Truth) -> list[Call]:
    """All values are strings, whatever the schema says: 5 becomes "5", ["a", "b"] becomes "a, b"."""
    return [Call(name=call.name, arguments={name: _text(value) for name, value in call.arguments.items()})
            for call in now.calls]


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
