"""How simulated models go wrong: labels corrupted by named kinds."""
from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from looptool.records import Call, Tool
from looptool.simulation.world.catalogue import Slot, lore_of
from looptool.simulation.world.tasks import call_of, draw_request
from looptool.simulation.world.values import draw_value

KINDS = ("wrong_value", "missing_argument", "wrong_tool", "wrong_type", "extra_call")


def corrupt(rng: random.Random, calls: Sequence[Call],
            tools: Sequence[Tool]) -> tuple[str, list[Call]]:
    """The kind of error and the wrong calls; where no call is right, a call too many."""
    for kind in (*rng.sample(KINDS, len(KINDS)), "extra_call"):
        wrong = _CORRUPTIONS[kind](rng, list(calls), tools)
        if wrong is not None and wrong != list(calls):
            return kind, wrong
    raise AssertionError("extra_call always changes the calls")


def _change(rng: random.Random, calls: list[Call], change) -> list[Call] | None:
    """Replace one random call by `change(call)`; None where there is none or it cannot be
    changed."""
    if not calls:
        return None
    index = rng.randrange(len(calls))
    changed = change(calls[index])
    return None if changed is None else [*calls[:index], changed, *calls[index + 1:]]


def _with_argument(call: Call, name: str, value: Any) -> Call:
    return Call(name=call.name, arguments={**call.arguments, name: value})


def _slots(call: Call, tools: Sequence[Tool]) -> dict[str, Slot]:
    return {slot.name: slot for tool in tools if tool.name == call.name
            for slot in lore_of(tool).slots}


def _wrong_value(rng, calls, tools):
    def change(call: Call) -> Call | None:
        slots = [slot for name, slot in _slots(call, tools).items() if name in call.arguments]
        if not slots:
            return None
        slot = rng.choice(slots)
        return _with_argument(call, slot.name, draw_value(rng, slot))

    return _change(rng, calls, change)


def _missing_argument(rng, calls, tools):
    def change(call: Call) -> Call | None:
        if not call.arguments:
            return None
        gone = rng.choice(list(call.arguments))
        return Call(name=call.name,
                    arguments={name: call.arguments[name]
                               for name in call.arguments if name != gone})

    return _change(rng, calls, change)


def _wrong_tool(rng, calls, tools):
    def change(call: Call) -> Call | None:
        others = [tool for tool in tools if tool.name != call.name]
        return call_of(draw_request(rng, rng.choice(others))) if others else None

    return _change(rng, calls, change)


def _wrong_type(rng, calls, tools):
    def change(call: Call) -> Call | None:
        names = [name for name, value in call.arguments.items() if not isinstance(value, str)]
        if not names:
            return None
        name = rng.choice(names)
        return _with_argument(call, name, str(call.arguments[name]))

    return _change(rng, calls, change)


def _extra_call(rng, calls, tools):
    return [*calls, call_of(draw_request(rng, rng.choice(list(tools))))]


_CORRUPTIONS = {"wrong_value": _wrong_value, "missing_argument": _missing_argument,
                "wrong_tool": _wrong_tool, "wrong_type": _wrong_type, "extra_call": _extra_call}
