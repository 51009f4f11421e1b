"""Tools of a Model Context Protocol server, as its answer to `tools/list` gives them.

In: {"name": "get_alerts", "description": "...", "inputSchema": {"type": "object", ...}}. Out: one tool.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dialog_generation.tool_formats.entry import Entry
from looptool.schema import is_json_schema
from looptool.type_names import quote


def claims(value: Any) -> bool:
    return isinstance(value, dict) and "inputSchema" in value


def entries(place: str, value: Any) -> Iterator[Entry]:
    yield Entry(place, value, _tool)


def _tool(record: dict[str, Any]) -> dict[str, Any]:
    schema = record["inputSchema"]
    if schema != {} and not is_json_schema(schema):
        raise ValueError(f'"inputSchema" must be a JSON Schema of type "object", not {quote(schema)}')
    return {"name": record.get("name"), "description": record.get("description"), "parameters": schema}
