"""Whether a need was served as the planner meant it (section 3: single-step, multi-step and
parallel needs).

In: a Need and the messages that served it. Out: "as_planned", or the first thing that is otherwise.
A dialog is not refused for it, as an assistant may rightly do other than planned; its `served` says
how far they agree.
"""
from __future__ import annotations

from collections.abc import Sequence

from looptool.records import Message, Need


def how_served(need: Need, messages: Sequence[Message]) -> str:
    """"as_planned", "tool_not_called", "other_tool", "not_one_step", "not_multi_step" or
    "not_parallel".

    A step whose results are all errors does not count; what is called again after it does.
    """
    steps = successful_steps(messages)
    called = {name for step in steps for name in step}
    widths = [len(step) for step in steps]
    if called != set(need.tools):
        return "other_tool" if called - set(need.tools) else "tool_not_called"
    if need.kind == "single-step" and widths != [1]:
        return "not_one_step"
    if need.kind == "multi-step" and len(widths) < 2:
        return "not_multi_step"
    if need.kind == "parallel" and max(widths, default=0) < 2:
        return "not_parallel"
    return "as_planned"


def successful_steps(messages: Sequence[Message]) -> list[list[str]]:
    """Names of the calls of each assistant turn that brought a result without an error."""
    steps, waiting = [], []
    for message in messages:
        if message.role == "assistant":
            waiting = [call.name for call in message.calls]
            steps.append([])
        elif message.role == "tool" and waiting:
            name = waiting.pop(0)
            if not message.failed:
                steps[-1].append(name)
    return [step for step in steps if step]
