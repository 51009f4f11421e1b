"""Single-turn tasks as xLAM, ToolACE and ToolRL write them -> samples.

In: {"id", "query", "answers": [{"name", "arguments"}], "tools": [...]}, the tools in any form that
looptool.foreign.tool_objects.read_tool knows; answers and tools may be JSON text, as xLAM has them.
Out: a Sample, or a ValueError. An empty list of answers is a plain-text label; its words are ours,
as the source has none.
"""
from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from grpotool.dataset.text_calls import read_call
from looptool.foreign.tool_objects import read_tool
from looptool.ids import sample_id
from looptool.records import Message, Sample

NO_CALL = "This request is answered without a function call."


def read_task(raw: Any, passed_over: Counter[str] | None = None) -> Sample:
    """One task.

    Args:
        passed_over: counts the keys of tools that are not read, by name.

    Raises:
        ValueError: a part is absent or has no certain meaning; names it.
    """
    if not isinstance(raw, dict) or not isinstance(raw.get("query"),
                                                   str) or not raw["query"].strip():
        raise ValueError('a task is a JSON object with a "query"')
    tools = [read_tool(tool, passed_over) for tool in _list(raw, "tools")]
    calls = [read_call(answer) for answer in _list(raw, "answers")]
    label = Message(role="assistant", content="" if calls else NO_CALL, calls=calls)
    messages = [Message(role="user", content=raw["query"])]
    return Sample(id=sample_id(tools, "unknown", messages, label), tools=tools, date="unknown",
                  messages=messages, label=label, source=str(raw.get("id", "")))


def _list(raw: dict[str, Any], name: str) -> list[Any]:
    value = raw.get(name)
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except msgspec.DecodeError as error:
            raise ValueError(f'"{name}" is no JSON list ({error})') from None
    if not isinstance(value, list):
        raise ValueError(f'"{name}" must be a list')
    return value
