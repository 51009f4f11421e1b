"""Which skill the next step of a conversation asks for: the kind of a task, of a dialog's step, of
an expanded sample."""
from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from looptool.records import Message, Tool
from looptool.simulation.world.catalogue import lore_of, siblings
from looptool.simulation.world.truth import Truth, reports_error, truth


def kind_of(tools: Sequence[Tool], messages: Sequence[Message]) -> str | None:
    """The kind of the next step, a key of tasks.KINDS; None where the simulated world cannot tell
    what is right.

    One call that a sentence asks for is "alike" where a sibling of its tool is at hand, else
    "nested" where an argument is an object, else "optional" where an argument could be left out,
    else "single".
    """
    now = truth(tools, messages)
    if now is None or now.kind != "call":
        return now and now.kind
    results = list(takewhile(lambda message: message.role == "tool", reversed(messages)))
    if results:
        return "retry" if any(reports_error(result.content)
                              for result in results) else "second_step"
    if truth(tools, messages[-1:]) is None:  # a sentence that is none without what was said before
        before = truth(tools, messages[:-1])
        return "answered" if before is not None and before.kind == "ask" else "again"
    return _kind_of_request(now, tools)


def _kind_of_request(now: Truth, tools: Sequence[Tool]) -> str:
    if len(now.requests) > 1:
        return "parallel" if len(now.calls) > 1 else "first_step"
    request = now.requests[0]
    if siblings(request.tool, tools):
        return "alike"
    if any(isinstance(value, dict) for value in request.arguments.values()):
        return "nested"
    return "optional" if set(request.arguments) - set(lore_of(request.tool).required) else "single"
