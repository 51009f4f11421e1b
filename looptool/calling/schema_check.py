"""Does a call fit its tool? The first tier of verification (section 3.2): name, required, unknown,
types, enum, bounds.

In: calls and the tools they may use. Out: codes that name the argument, "missing_required:city" or
"wrong_type:stops[2].lat".

A tool's parameters are JSON Schema; type names as people write them are understood too, and a type
without a certain meaning forbids nothing. Departures from JSON Schema: an object with declared
properties takes no others unless it says so; `pattern` is not checked, as it can take for ever on a
value that a model chose, nor are `format`, `not`, `if`, `dependent...`, `multipleOf`,
`uniqueItems`, `contains`, and counts of properties; of a `oneOf` one match is enough. A reference
is a pointer into the tool's own parameters; any other forbids nothing.
"""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from looptool.calling.match import same_value
from looptool.calling.type_names import JSON_TYPES, Schema, is_of_type, read_type
from looptool.records import Call, Tool

_OPEN = {"allOf", "anyOf", "oneOf", "$ref", "patternProperties", "unevaluatedProperties"}
"""Keywords by which an object with declared properties may take others; a choice between required
ones of its own (`_is_open`) adds none."""

_BOUNDS = {"minimum": lambda value, bound: value >= bound,
           "maximum": lambda value, bound: value <= bound,
           "exclusiveMinimum": lambda value, bound: value > bound,
           "exclusiveMaximum": lambda value, bound: value < bound}


def check_calls(calls: Sequence[Call], tools: Sequence[Tool]) -> list[str]:
    """Every fault of all calls, in their order; a call of no given tool is
    "unknown_tool:<name>"."""
    by_name = {tool.name: tool for tool in tools}
    return [fault for call in calls for fault in
            (check_call(call, by_name[call.name]) if call.name in by_name
             else [f"unknown_tool:{call.name}"])]


def check_call(call: Call, tool: Tool) -> list[str]:
    """Every fault of one call's arguments; empty when it fits its tool, whose name is not looked
    at.

    Codes: missing_required, unknown_argument, wrong_type, not_in_enum, out_of_range (numbers),
    wrong_length (texts and lists), not_allowed; each with ":" and the argument's path.
    """
    schema = tool.parameters
    # a tool that declares nothing takes no arguments; an object inside of one takes any
    if "properties" not in schema:
        schema = {**schema, "properties": {}}
    return _Checker(tool.parameters).faults_of(call.arguments, schema, "")


class _Checker:
    """Walks a value along its schema; `root` is where "#/..." references start."""

    def __init__(self, root: Schema):
        self.root = root
        self.resolving: set[tuple[str, str]] = set()

    def faults_of(self, value: Any, schema: Any, path: str) -> list[str]:
        """The faults of a value that stands at `path`."""
        if schema is False:
            return [f"not_allowed:{path}"]
        if not isinstance(schema, dict):
            return []
        if schema.get("type") not in JSON_TYPES:
            schema = _with_type_read(schema)
        if (not is_of_type(value, schema.get("type"))
                and not (value is None and schema.get("nullable") is True)):
            return [f"wrong_type:{path}"]
        faults = []
        if not _is_choice(value, schema):
            faults.append(f"not_in_enum:{path}")
        if type(value) is dict:
            faults += self.object_faults(value, schema, path)
        elif type(value) is list:
            faults += self.list_faults(value, schema, path)
        elif type(value) is str:
            faults += _length_faults(len(value), schema, "Length", path)
        elif type(value) is not bool and value is not None:
            faults += [f"out_of_range:{path}" for name, holds in _BOUNDS.items()
                       if is_of_type(bound := schema.get(name), "number")
                       and not holds(value, bound)]
        return faults + self.composed_faults(value, schema, path)

    def object_faults(self, value: dict[str, Any], schema: Schema, path: str) -> list[str]:
        """Missing, unknown and faulty members."""
        prefix = f"{path}." if path else ""
        properties = schema.get("properties")
        known = properties if isinstance(properties, dict) else {}
        faults = [f"missing_required:{prefix}{name}" for name in _list(schema, "required")
                  if isinstance(name, str) and name not in value]
        # True, as a schema, forbids nothing
        others = schema.get("additionalProperties",
                            properties is None or bool(_OPEN & schema.keys()) and _is_open(schema))
        for name, member in value.items():
            if name in known:
                faults += self.faults_of(member, known[name], prefix + name)
            elif others is False:
                faults.append(f"unknown_argument:{prefix}{name}")
            else:
                faults += self.faults_of(member, others, prefix + name)
        return faults

    def list_faults(self, value: list[Any], schema: Schema, path: str) -> list[str]:
        """Length, and the faults of each item."""
        faults = _length_faults(len(value), schema, "Items", path)
        first, rest = _list(schema, "prefixItems"), schema.get("items")
        if type(rest) is list:  # up to draft 2019-09
            first, rest = rest, schema.get("additionalItems")
        for index, item in enumerate(value):
            item_schema = first[index] if index < len(first) else rest
            faults += self.faults_of(item, item_schema, f"{path}[{index}]")
        return faults

    def composed_faults(self, value: Any, schema: Schema, path: str) -> list[str]:
        """Faults by allOf, anyOf, oneOf and $ref; of variants that all fail, those of the nearest
        one."""
        faults = []
        for part in _list(schema, "allOf"):
            faults += self.faults_of(value, part, path)
        for variants in (_list(schema, "anyOf"), _list(schema, "oneOf")):
            found = [self.faults_of(value, variant, path) for variant in variants]
            if found and all(found):
                wrong_type = f"wrong_type:{path}"
                # a variant of another type is never the nearest one
                faults += min((some for some in found if some[0] != wrong_type), key=len,
                              default=[wrong_type])
        reference = schema.get("$ref")
        if isinstance(reference, str) and (reference, path) not in self.resolving:
            # a reference that leads back to itself says nothing
            self.resolving.add((reference, path))
            faults += self.faults_of(value, self.resolve(reference), path)
            self.resolving.discard((reference, path))
        return faults

    def resolve(self, reference: str) -> Any:
        """The schema that "#/$defs/x" points to; None, which forbids nothing, where there is
        none."""
        start, *steps = reference.split("/")
        schema: Any = self.root if start == "#" else None
        for step in steps:
            step = unquote(step).replace("~1", "/").replace("~0", "~")
            if isinstance(schema, list):
                schema = schema[int(step)] if step.isdecimal() and int(step) < len(schema) else None
            else:
                schema = schema.get(step) if isinstance(schema, dict) else None
        return schema


def _is_open(schema: Schema) -> bool:
    """Whether a schema with keywords of `_OPEN` takes more than its properties."""
    found = _OPEN & schema.keys()
    return not (found <= {"anyOf", "oneOf"} and all(
        isinstance(variant, dict) and variant.keys() == {"required"}
        and type(variant["required"]) is list
        and all(name in schema["properties"] for name in variant["required"] if type(name) is str)
        for key in found for variant in _list(schema, key)))


def _with_type_read(schema: Schema) -> Schema:
    """The schema with its type name read: "List[int]" becomes an array of integers, an unknown name
    any type."""
    if "type" not in schema:
        return schema
    rest = {key: value for key, value in schema.items() if key != "type"}
    try:
        return read_type(schema["type"]) | rest
    except ValueError:
        return rest


def _is_choice(value: Any, schema: Schema) -> bool:
    if (isinstance(schema.get("enum"), list)
            and not any(same_value(value, choice) for choice in schema["enum"])):
        return False
    return "const" not in schema or same_value(value, schema["const"])


def _length_faults(length: int, schema: Schema, noun: str, path: str) -> list[str]:
    shortest, longest = schema.get(f"min{noun}"), schema.get(f"max{noun}")
    too_short = type(shortest) is int and length < shortest
    return ([f"wrong_length:{path}"] if too_short or type(longest) is int and length > longest
            else [])


def _list(schema: Schema, key: str) -> list[Any]:
    return schema[key] if isinstance(schema.get(key), list) else []
