"""Parameters as the field writes them -> JSON Schema.

In: parameters in xLAM or ToolRL style, {"city": {"description": ..., "type": "str, optional",
"default": "Paris"}}, or a JSON Schema. Out: a JSON Schema of type object, or a ValueError with the
reason; a meaning that is not certain is never guessed. Whole tools are read by
looptool.foreign.tool_objects.

What is decided here
- A parameter of xLAM style is required unless its type says optional ("str, optional",
  "Optional[int]") or it has a default. xLAM writes the default "" on most required parameters, so
  "" counts as none.
- A default of another type than its parameter is read as JSON ("10" for an int); if that does not
  help, it is left out, and the parameter stays optional.
- In a JSON Schema only the names of types change; without "required" nothing is required.
"""
from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from looptool.calling.type_names import Schema, is_of_type, quote, read_type, says_optional

SCHEMAS_BY_NAME = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
ONE_SCHEMA = ("items", "additionalItems", "additionalProperties", "not", "if", "then", "else",
              "contains", "propertyNames", "unevaluatedItems", "unevaluatedProperties")
SCHEMA_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems", "items")
"""The keywords of JSON Schema that hold further schemas, by what they hold; "items" held a list up
to draft 2019-09."""
# any other keyword that is null is one left out; a null type is no type
_MAY_BE_NULL = ("default", "const", "type")


def json_schema(parameters: Any) -> Schema:
    """A JSON Schema of type object, with properties and required, from xLAM-style parameters or a
    JSON Schema.

    Raises:
        ValueError: a meaning is not certain; names the parameter and quotes what cannot be read.
    """
    if not isinstance(parameters, dict):
        raise ValueError(f"parameters must be a JSON object, not {quote(parameters)}")
    if not is_json_schema(parameters):
        return schema_by_name(parameters, _is_required_in_xlam)
    try:
        schema = {"type": "object", "properties": {},
                  "required": []} | _normalized(parameters, "parameters")
    except RecursionError:
        raise ValueError("parameters are nested too deeply") from None
    if schema["type"] != "object":
        raise ValueError(f'parameters must be of type "object", not {quote(parameters["type"])}')
    undeclared = [name for name in schema["required"] if name not in schema["properties"]]
    if undeclared and not schema.keys() & {"allOf", "anyOf", "oneOf", "$ref",
                                           "additionalProperties"}:
        raise ValueError(f'"required" names {undeclared[0]!r}, which is not among the properties')
    return schema


def is_json_schema(parameters: Any) -> bool:
    """Whether a tool's parameters are a JSON Schema and not parameters of xLAM style by name.

    A schema may lack its type: its properties are schemas themselves then, not the keys of one
    parameter.
    """
    if not isinstance(parameters, dict):
        return False
    properties = parameters.get("properties")
    return isinstance(parameters.get("type"), str) or (
        isinstance(properties, dict)
        and all(isinstance(value, dict) for value in properties.values()))


def schema_by_name(parameters: Any, is_required: Callable[[str, Schema], bool]) -> Schema:
    """A JSON Schema of type object from {"city": {"type": "str", ...}, ...}.

    Args:
        is_required: of a parameter's name and what is written under it.

    Raises:
        ValueError: a parameter has no certain meaning; names it.
    """
    if not isinstance(parameters, dict):
        raise ValueError(f"parameters must be a JSON object, not {quote(parameters)}")
    properties, required = {}, []
    for name, spec in parameters.items():
        if not isinstance(spec, dict) or "type" not in spec:
            raise ValueError(f"parameter {name!r}: needs an object with a type, not {quote(spec)}")
        properties[name] = _normalized(
            # true is the parameter's own mark; a list of names is JSON Schema's
            {key: value for key, value in spec.items() if key != "default" and
             not (key == "required" and isinstance(value, bool))}, name)
        if _has_default(spec):
            _put_default(properties[name], spec["default"])
        if is_required(name, spec):
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def _is_required_in_xlam(name: str, spec: Schema) -> bool:
    marked = spec.get("required")
    return (marked is True or marked is not False and not _has_default(spec)
            and not says_optional(spec["type"]))


def _has_default(spec: Schema) -> bool:
    return spec.get("default") is not None and spec["default"] != ""


def _put_default(schema: Schema, default: Any) -> None:
    """Keep a default of the schema's type, as written or read as JSON."""
    if isinstance(default, str) and not is_of_type(default, schema.get("type")):
        try:
            default = json.loads(default)
        except (ValueError, RecursionError):
            return
    if is_of_type(default, schema.get("type")):
        schema["default"] = default


def _normalized(schema: Any, where: str) -> Schema | bool:
    """The same schema with the type names of JSON Schema, all the way down; `where` names it in
    errors."""
    if isinstance(schema, bool):
        return schema
    if not isinstance(schema, dict):
        raise ValueError(
            f"parameter {where!r}: its schema must be a JSON object, not {quote(schema)}")
    schema = {key: value for key, value in schema.items()
              if value is not None or key in _MAY_BE_NULL}
    result = dict(schema)
    for key in SCHEMAS_BY_NAME:
        if key in schema:
            if not isinstance(schema[key], dict):
                raise ValueError(
                    f'parameter {where!r}: "{key}" must be a JSON object, not {quote(schema[key])}')
            result[key] = {name: _normalized(child, name) for name, child in schema[key].items()}
    for key in ONE_SCHEMA:
        if isinstance(schema.get(key), dict):
            result[key] = _normalized(schema[key], where)
    for key in SCHEMA_LISTS:
        if isinstance(schema.get(key), list):
            result[key] = [_normalized(child, where) for child in schema[key]]
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise ValueError(
            f'parameter {where!r}: "required" must be a list of names, not {quote(required)}')
    if "type" in schema:
        del result["type"]
        try:
            return read_type(schema["type"]) | result
        except ValueError as error:
            raise ValueError(f"parameter {where!r}: {error}") from None
    return result
