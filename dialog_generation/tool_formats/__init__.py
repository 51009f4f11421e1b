"""The forms in which others describe tools: one module a form, each says what it claims and cuts a value into tools.

In: one JSON value of a file. Out: `Entry` records, whose `raw` is one tool in a form that looptool.schema.read_tool
knows. A value that holds a list of tools ({"tools": [...]}, {"functions": [...]}, a JSON-RPC answer, an xLAM sample
whose tools are JSON text) stands for the tools of its list.
"""
from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from dialog_generation.tool_formats import mcp, openapi, single, toolbench
from dialog_generation.tool_formats.entry import Entry

AUTO = "auto"


class ToolFormat(NamedTuple):
    """One form: which values have it, and what tools such a value holds."""

    claims: Callable[[Any], bool]
    entries: Callable[[str, Any], Iterator[Entry]]


FORMATS = {"openapi": ToolFormat(openapi.claims, openapi.entries),
           "toolbench": ToolFormat(toolbench.claims, toolbench.entries),
           "mcp": ToolFormat(mcp.claims, mcp.entries),
           "openai": ToolFormat(single.claims_openai, single.entries),
           "json": ToolFormat(single.claims_json_schema, single.entries),
           "xlam": ToolFormat(single.claims_xlam, single.entries)}
"""In the order in which they are tried; a value belongs to the first that claims it."""


def entries_of(place: str, value: Any, tool_format: str = AUTO) -> Iterator[Entry]:
    """The tools of a JSON value that stands at `place`; a value without the named form is an entry that says so."""
    label, inner = _listed(value)
    if inner is not None:
        for index, child in enumerate(inner):
            yield from entries_of(f"{place}{label}[{index}]", child, tool_format)
        return
    tried = FORMATS.values() if tool_format == AUTO else [FORMATS[tool_format]]
    form = next((form for form in tried if form.claims(value)), None)
    if form:
        yield from form.entries(place, value)
    else:
        yield Entry(place, value) if tool_format == AUTO else Entry(place, value, partial(_not_of, tool_format))


def _listed(value: Any) -> tuple[str, list[Any] | None]:
    """The list of tools that a value holds, and how to name it behind the value's place; None where there is none."""
    if isinstance(value, list):
        return "", value
    if not isinstance(value, dict) or "name" in value:
        return "", None
    if isinstance(value.get("result"), dict):
        label, inner = _listed(value["result"])
        return f".result{label}", inner
    for key in ("tools", "functions"):
        inner = _parsed(value[key]) if isinstance(value.get(key), str) else value.get(key)
        if isinstance(inner, list):
            return f".{key}", inner
    return "", None


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _not_of(tool_format: str, record: Any) -> Any:
    raise ValueError(f'not of the form "{tool_format}", which --tool-format names')
