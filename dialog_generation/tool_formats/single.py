"""Tools that looptool.schema.read_tool knows as they are: OpenAI's function form, plain JSON Schema, xLAM style.

In: one tool, as {"type": "function", "function": {...}} or {"name", "description", "parameters"}. Out: itself.
"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dialog_generation.tool_formats.entry import Entry
from looptool.schema import is_json_schema


def claims_openai(value: Any) -> bool:
    """Whether this is a function of OpenAI's API, with or without the "function" object around it."""
    return isinstance(value, dict) and isinstance(value.get("function"), dict) or claims_json_schema(value)


def claims_json_schema(value: Any) -> bool:
    """Whether the parameters are a JSON Schema; a tool without parameters has this form and xLAM's."""
    return _is_named(value) and (not value.get("parameters") or is_json_schema(value["parameters"]))


def claims_xlam(value: Any) -> bool:
    return _is_named(value) and not (value.get("parameters") and is_json_schema(value["parameters"]))


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("name"), str)


def entries(place: str, value: Any) -> Iterator[Entry]:
    yield Entry(place, value)
