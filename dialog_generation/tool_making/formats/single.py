"""Tools that looptool.foreign.tool_objects knows as they are, each form told by the key that holds
the parameters.

In: one tool, as {"type": "function", "function": {...}} or {"name", "description", "input_schema"}.
Out: itself.
"""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from dialog_generation.tool_making.formats.entry import Entry, Origin, PassedOver
from looptool.foreign.parameters import is_json_schema
from looptool.foreign.tool_objects import READERS


def claims_openai(value: Any) -> bool:
    """Whether this is a function of OpenAI's API, with or without the "function" object around
    it."""
    return isinstance(value, dict) and isinstance(value.get("function"),
                                                  dict) or claims_json_schema(value)


def claims_json_schema(value: Any) -> bool:
    """Whether the parameters are a JSON Schema; a tool without parameters has this form and
    xLAM's."""
    return (_holds_parameters(value)
            and (not value.get("parameters") or is_json_schema(value["parameters"])))


def claims_xlam(value: Any) -> bool:
    return (_holds_parameters(value)
            and not (value.get("parameters") and is_json_schema(value["parameters"])))


def claims_gemini(value: Any) -> bool:
    return has("parametersJsonSchema", "parameters_json_schema")(value) or claims_json_schema(value)


def has(*keys: str) -> Callable[[Any], bool]:
    """Whether a value is an object with one of these keys."""
    return lambda value: isinstance(value, dict) and any(key in value for key in keys)


def _holds_parameters(value: Any) -> bool:
    return (isinstance(value, dict) and isinstance(value.get("name"), str)
            and not any(key in value for key in READERS if key != "parameters"))


def entries(place: str, value: Any, origin: Origin | None,
            passed_over: PassedOver) -> Iterator[Entry]:
    yield Entry(place, value)
