"""The forms in which others describe tools, told by the content of a value.

In: one JSON value of a file. Out: `Entry` records, each of which converts to one tool in a form
that looptool.foreign.tool_objects.read_tool knows. OpenAPI documents and ToolBench's lists are cut
into tools; any other object is one tool as it stands. A value that holds lists of tools ({"tools":
[...]}, {"functions": [...]}, Gemini's {"functionDeclarations": [...]}, a task of BFCL, a JSON-RPC
answer, an xLAM sample whose tools are JSON text) stands for the tools in them.
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from dialog_generation.tool_making.formats import openapi, toolbench
from dialog_generation.tool_making.formats.entry import Entry, Origin, PassedOver, beside
from looptool.foreign.tool_objects import READERS

# Gemini's; without parameters is one that takes none
_DECLARATIONS = ("functionDeclarations", "function_declarations")
_LISTS = ("tools", "functions", "function", *_DECLARATIONS)
_AROUND = ("result", "toolConfig", "tool_config")  # objects that hold an object with such a list
_COMPANIONS = ("answer", "answers", "conversation", "conversations", "error", "ground_truth",
               "initial_config", "instructions", "involved_classes", "messages", "metadata",
               "missed_function", "path", "possible_answer", "prompts", "query", "question",
               "resources", "response_format", "system", "tool_choice", "toolChoice")
"""What stands beside a list of tools and says nothing of them, whatever it holds."""


def entries_of(place: str, value: Any, origin: Origin | None = None,
               passed_over: PassedOver | None = None) -> Iterator[Entry]:
    """The tools of a JSON value that stands at `place`.

    Args:
        origin: the value's file, where references to other files may be followed.
        passed_over: counts the keys beside lists of tools that are not read.
    """
    counts = Counter() if passed_over is None else passed_over
    if isinstance(value, list):
        for index, child in enumerate(value):
            yield from entries_of(f"{place}[{index}]", child, origin, counts)
    elif inside := _inside(value):
        for key, child in inside.items():
            declared = entries_of(f"{place}.{key}", child, origin, counts)
            yield from map(_as_function, declared) if key in _DECLARATIONS else declared
        others = {key: other for key, other in value.items() if key not in inside}
        yield from beside(place, others, _COMPANIONS, counts)
    else:
        form = next((form for form in (openapi, toolbench) if form.claims(value)), None)
        yield from form.entries(place, value, origin, counts) if form else [Entry(place, value)]


def _inside(value: Any, levels: int = 3) -> dict[str, Any]:
    """The lists of tools that an object holds, and the objects that hold one, by key, down to so
    many levels."""
    # what has parameters is a tool itself, whatever else it holds
    if not isinstance(value, dict) or any(key in value for key in READERS):
        return {}
    lists = {key: _parsed(value[key]) for key in _LISTS if key in value}
    around = {key: value[key] for key in _AROUND if levels and _inside(value.get(key), levels - 1)}
    return {key: inner for key, inner in lists.items() if isinstance(inner, list)} | around


def _as_function(entry: Entry) -> Entry:
    def convert(record: Any, passed_over: PassedOver) -> Any:
        tool = entry.convert(record, passed_over)
        return {"type": "function", **tool} if isinstance(tool, dict) else tool
    return entry._replace(convert=convert)


def _parsed(value: Any) -> Any:
    """The value of JSON text; anything else, and text that is none, as it stands."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value
