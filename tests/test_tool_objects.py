"""Whole tools as vendors and libraries write them: no tool without its parameters, no key
unseen."""
from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from looptool.foreign.dialects import check_dialect
from looptool.foreign.tool_objects import read_tool

CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
BY_NAME = {"city": {"type": "str", "required": True}, "days": {"type": "int"}}
DAYS = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"]}


@pytest.mark.parametrize("raw, parameters", [
    ({"name": "f", "input_schema": CITY}, CITY),
    ({"type": "custom", "name": "f", "input_schema": CITY, "cache_control": {"type": "ephemeral"}},
     CITY),
    ({"name": "f", "inputSchema": CITY, "annotations": {"readOnlyHint": True},
      "outputSchema": CITY}, CITY),
    ({"name": "f", "parametersJsonSchema": CITY}, CITY),
    ({"name": "f", "parameters_json_schema": CITY}, CITY),
    ({"name": "f", "args_schema": {**CITY, "title": "F"}}, {**CITY, "title": "F"}),
    ({"toolSpec": {"name": "f", "inputSchema": {"json": CITY}}}, CITY),
    ({"name": "f", "parameter_definitions": BY_NAME}, DAYS),
    ({"name": "f",
      "inputs": {"city": {"type": "string"}, "days": {"type": "integer", "nullable": True}},
      "output_type": "string"}, {**DAYS, "properties": {"city": {"type": "string"},
                                                       "days": {"type": "integer",
                                                                "nullable": True}}}),
    ({"name": "f", "parameters": {"type": "OBJECT", "properties": {"city": {"type": "STRING"}},
                                  "required": ["city"]}}, CITY),
    ({"type": "function",
      "function": {"name": "f", "parameters": CITY, "return": {"type": "string"}}}, CITY),
    ({"type": "function", "name": "f", "parameters": CITY, "strict": True}, CITY),
    ({"name": "f", "parameters": CITY, "input_schema": None}, CITY),
    ({"name": "f", "parameters": CITY, "inputSchema": CITY}, CITY),
    ({"name": "f", "parameters": {"type": "dict", "properties": DAYS["properties"]},
      "required": ["city"]}, DAYS),
    ({"name": "f", "parameters": {"city": {"type": "str"}, "days": {"type": "int"}},
      "required": ["city"]}, DAYS),
    ({"name": "f", "parameters": {"city": {"type": "str"}}, "required": []},
     {**CITY, "required": []}),
    ({"name": "f", "parameters": CITY, "required": None}, CITY),
    ({"name": "f", "parameters": CITY, "required": []}, CITY)])
def test_parameters_under_every_key(raw: dict[str, Any], parameters: dict[str, Any]):
    assert read_tool(raw).parameters == parameters


@pytest.mark.parametrize("raw, reason", [
    ({"name": "f", "input_parameters": BY_NAME, "output_parameters": {}},
     'the key "input_parameters" is not read'),
    ({"name": "f", "query_parameters": BY_NAME}, 'the key "query_parameters"'),
    ({"name": "f", "args": BY_NAME}, '"args"'),
    ({"name": "f", "arguments": [{"name": "city"}]}, 'the key "arguments"'),
    ({"name": "f", "parameters": CITY, "body": BY_NAME}, 'the key "body" is not read'),
    ({"name": "f", "parameters": CITY, "input_schema": DAYS}, 'both "parameters" and '
                                                              '"input_schema"'),
    ({"type": "function", "function": {"name": "f", "parameters": CITY}, "required": ["city"]},
     'the key "required"'),
    ({"name": "p", "version": "1.0.0", "description": "d"}, 'no "parameters", and the key '
                                                            '"version"'),
    ({"name": "p", "type": "module"}, 'no "parameters"'),
    ({"type": "computer_20250124", "name": "computer", "display_width_px": 8},
     'the key "display_width_px"'),
    ({"type": "custom", "name": "f", "format": {"type": "grammar"}}, 'the key "format"'),
    ({"name": "f", "required": ["city"]}, 'the key "required"'),
    ({"name": "f", "parameters": CITY, "required": ["town"]}, "['town'] beside the parameters and "
                                                              "['city'] in them"),
    ({"name": "f", "parameters": {"type": "dict", "properties": {}}, "required": ["a"]},
     "'a', which is not among"),
    ({"name": "f", "parameters": CITY, "required": "city"}, '"required" must be a list of names'),
    ({"name": "f", "inputSchema": {"anyOf": [CITY]}}, '"inputSchema" must be a JSON Schema'),
    ({"name": "f", "input_schema": None}, '"input_schema" must be a JSON Schema'),
    ({"name": "f", "inputs": ["text"]}, "parameters must be a JSON object"),
    ({"name": "f", "inputs": {"picture": {"type": "image"}}}, "type 'image' has no certain JSON "
                                                              "form"),
    ({"toolSpec": {"name": "f", "inputSchema": CITY}}, '"toolSpec" needs an "inputSchema" with '
                                                       '"json"')])
def test_what_is_not_certain_is_refused_by_its_key(raw: dict[str, Any], reason: str):
    with pytest.raises(ValueError) as error:
        read_tool(raw)
    assert reason in str(error.value)


def test_a_tool_of_no_parameters_says_so():
    for raw in ({"name": "f", "parameters": {}}, {"name": "f", "parameters": None},
                {"type": "function", "name": "f"},
                {"type": "function", "function": {"name": "f", "strict": True}},
                {"name": "f", "inputSchema": {}}):
        assert read_tool(raw).parameters == {"type": "object", "properties": {}, "required": []}
    for raw in ({"name": "f"}, {"name": "f", "description": "d", "domain": "x"},
                {"name": "f", "title": "F", "strict": True}):
        with pytest.raises(ValueError, match='it has no "parameters"$'):
            read_tool(raw)


def test_keys_passed_over_are_counted():
    counts: Counter[str] = Counter()
    read_tool({"type": "module", "name": "f", "parameters": CITY, "version": "1", "x-y": {"a": 1},
               "tags": []}, counts)
    read_tool({"type": "function", "function": {"name": "f", "strict": True}, "title": "F"}, counts)
    assert counts == {"type": 1, "version": 1, "x-y": 1, "tags": 1, "strict": 1, "title": 1}
    with pytest.raises(ValueError):
        read_tool({"name": "f", "a": 1, "b": {"c": 1}}, counts)
    assert counts["a"] == 0  # of a refused tool nothing is counted


PAIR = {"type": "array", "items": [{"type": "number"}, {"type": "number"}]}
DRAFT_07 = "http://json-schema.org/draft-07/schema#"


@pytest.mark.parametrize("schema, reason", [
    ({"$schema": DRAFT_07, "properties": {"p": PAIR}}, ""),
    ({"properties": {"p": PAIR}}, "no JSON Schema"),
    ({"$schema": DRAFT_07.replace("http:", "https:"), "properties": {"p": PAIR}}, ""),
    ({"$schema": "https://json-schema.org/draft/2020-12/schema", "properties": {"p": PAIR}},
     "no JSON Schema"),
    ({"$schema": "http://json-schema.org/draft-04/schema#",
      "properties": {"p": {"minimum": 1, "exclusiveMinimum": True}}}, ""),
    ({"$schema": "https://example.org/mine"}, "unknown dialect"),
    ({"$schema": 3}, "unknown dialect"),
    ({"properties": {"p": {"pattern": r"^(?<year>\d{4})\p{L}[\w-.]$"}}}, ""),
    ({"properties": {"p": {"pattern": 3}}}, "no JSON Sch"),
    ({"properties": {"p": {"$ref": "#/$defs/n"}},
      "$defs": {"n": {"properties": {"next": {"$ref": "#/$defs/n"}}}}}, ""),
    ({"properties": {"p": {"$ref": "#/properties/q/prefixItems/0"}, "q": {"prefixItems": [{}]}}},
     ""),
    ({"properties": {"p": {"$ref": "#/properties/q/prefixItems/1"}, "q": {"prefixItems": [{}]}}},
     "refers to nothing"),
    ({"properties": {"p": {"$ref": "#/$defs/gone"}}}, "gone' refers to nothing"),
    ({"properties": {"p": {"items": {"$ref": "other.json"}}}}, "'other.json' refers to nothing"),
    ({"properties": {"p": {"$ref": "#here"}, "q": {"$anchor": "here"}}}, ""),
    ({"properties": {"p": {"default": {"$ref": "#/no/reference"}}}}, "")])
def test_dialects_and_references(schema: dict[str, Any], reason: str):
    if not reason:
        return check_dialect(schema)
    with pytest.raises(ValueError, match=reason):
        check_dialect(schema)
