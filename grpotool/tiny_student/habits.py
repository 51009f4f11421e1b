"""The bad habits that are laid over the tiny student's skills: what careless text teaches any base
model.

In: a task and what is right in it. Out: the calls of an assistant who mostly keeps to its habits.
Each habit hides one skill and leaves it a share of the replies, so that rewards can bring it out
again. Some are the rules by which the simulated teacher errs too (looptool.simulation.world.rules);
the others are the student's own.
"""
from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from typing import Any

from looptool.records import Call, Message, Tool
from looptool.simulation.world.language import Request
from looptool.simulation.world.rules import RULES, completed
from looptool.simulation.world.truth import Truth

SHARED = ("invented_value", "one_by_one", "gives_up", "sibling_tool", "omit_optional",
          "date_format")
"""The teacher's rules that are habits of the student too."""
Habit = Callable[[Sequence[Tool], Sequence[Message], str, Truth], "list[Call] | None"]
"""The calls by habit in a task of this kind, [] being plain text; None where the habit does not
apply."""


def habitual(rng: random.Random, tools: Sequence[Tool], messages: Sequence[Message], kind: str,
             right: Truth) -> list[Call]:
    """The reply's calls, [] being plain text: by the first habit that applies, or right.

    One habit a reply: where several met, next to nothing right was left for rewards to bring out.
    """
    for habit, share in HABITS.values():
        wrong = habit(tools, messages, kind, right)
        if wrong is not None and wrong != list(right.calls):
            return wrong if rng.random() < share else list(right.calls)
    return list(right.calls)


def _calls_anyway(tools: Sequence[Tool], messages: Sequence[Message], kind: str,
                  now: Truth) -> list[Call] | None:
    """It calls the first tool where none fits."""
    return [completed(Request(tools[0], {}))] if kind == "no_tool" else None


def _old_value(tools: Sequence[Tool], messages: Sequence[Message], kind: str,
               now: Truth) -> list[Call] | None:
    """Asked for the same again with another value, it makes the same call once more."""
    return next(message.calls for message in reversed(messages)
                if message.calls) if kind == "again" else None


def _flat_object(tools: Sequence[Tool], messages: Sequence[Message], kind: str,
                 now: Truth) -> list[Call]:
    """The fields of an object stand beside the other arguments."""
    return [Call(name=call.name, arguments=_flat(call.arguments)) for call in now.calls]


def _flat(arguments: dict[str, Any]) -> dict[str, Any]:
    return {inner: leaf for name, value in arguments.items()
            for inner, leaf in (value.items() if isinstance(value, dict) else [(name, value)])}


def _as_the_teacher(name: str) -> Habit:
    """A rule of the teacher's. An object is not left out: what to do with it is a habit of its
    own."""
    def habit(tools: Sequence[Tool], messages: Sequence[Message], kind: str,
              now: Truth) -> list[Call] | None:
        return (None if name == "omit_optional" and kind == "nested"
                else RULES[name](tools, messages, now))
    return habit


def _in_strings(tools: Sequence[Tool], messages: Sequence[Message], kind: str,
                now: Truth) -> list[Call]:
    """All values but objects are strings, whatever the schema says: 5 becomes "5", ["a", "b"]
    becomes "a, b"."""
    return [Call(name=call.name,
                 arguments={name: _text(value) for name, value in call.arguments.items()})
            for call in now.calls]


def _text(value: Any) -> Any:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return value if isinstance(value, (str, dict)) else json.dumps(value)


SHARES = {"invented_value": 0.75, "flat_object": 0.45, "one_by_one": 0.15, "gives_up": 0.6,
          "omit_optional": 0.7}
"""How often a habit is kept to where it applies, 0.85 where nothing else is said: less where the
skill behind it is weak in itself, so that 10 to 20% of the sampled replies are right there too."""
HABITS: dict[str, tuple[Habit, float]] = {
    name: (habit, SHARES.get(name, 0.85)) for name, habit in {
        "calls_anyway": _calls_anyway, "old_value": _old_value, "flat_object": _flat_object,
        **{name: _as_the_teacher(name) for name in SHARED}, "in_strings": _in_strings}.items()}
"""Each habit with its share, the rarest first."""
