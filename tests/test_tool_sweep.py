"""The independent comparison sees each kind of difference, and the sweep counts it."""
from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks.tool_comparison import Shapes, differences, expected
from benchmarks.tool_sweep import compared, row
from looptool.records import Tool

THING = {"type": "object", "required": ["id", "name"], "properties": {
    "id": {"type": "string", "readOnly": True}, "name": {"type": "string"},
    "kind": {"type": "string", "enum": ["a", "b"]}, "part": {"$ref": "#/components/schemas/Part"}}}
DOCUMENT = {"openapi": "3.0.3", "paths": {"/things/{shop}": {
    "parameters": [{"name": "shop", "in": "path", "required": True, "schema": {"type": "integer"}}],
    "post": {"operationId": "add", "requestBody": {"content": {"application/json": {
        "schema": {"$ref": "#/components/schemas/Thing"}}}}}}},
    "components": {"schemas": {"Thing": THING,
                               "Part": {"type": "object",
                                        "properties": {"size": {"type": "number"}}}}}}
RIGHT = {"type": "object", "required": ["shop", "name"], "properties": {
    "shop": {"type": "integer"}, "name": {"type": "string"},
    "kind": {"type": "string", "enum": ["a", "b"]},
    "part": {"type": "object", "properties": {"size": {"type": "number"}}}}}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The right parameters with one place of them replaced, or taken away by None."""
    parameters = json.loads(json.dumps(RIGHT))
    *steps, last = path.split(".")
    holder = parameters
    for step in steps:
        holder = holder[step]
    holder[last] = value
    if value is None:
        del holder[last]
    return parameters


@pytest.mark.parametrize("parameters, found", [
    (RIGHT, []), (changed("required", ["shop"]), ["top: required ['name', 'shop'] -> ['shop']"]),
    (changed("properties.id", {"type": "string"}), ["top: parameters ['kind', 'name', 'part', "
                                                    "'shop'] -> ['id', 'kind', 'name', 'part', "
                                                    "'shop']"]),
    (changed("properties.shop.type", "string"), ["shop: type {'integer'} -> {'string'}"]),
    (changed("properties.kind.enum", ["a"]), ["kind: enum ['a', 'b'] -> ['a']"]),
    (changed("properties.part.properties", None), ["part: parameters ['size'] -> []"]),
    (changed("properties.part.properties.size.type", "string"), ["part.size: type {'number'} -> "
                                                                 "{'string'}"])])
def test_every_difference_is_seen(tmp_path: Path, parameters: dict[str, Any], found: list[str]):
    (tmp_path / "api.json").write_text(json.dumps(DOCUMENT))
    source, = expected([tmp_path / "api.json"])["add"]
    assert list(differences(source, Shapes(parameters, None).shape(parameters, None))) == found
    assert compared(tmp_path, [Tool(name="add", parameters=parameters)]) == (
        [(Tool(name="add", parameters=parameters), found)] if found else [])


def test_a_row_of_the_table(tmp_path: Path):
    (tmp_path / "api.json").write_text(json.dumps(DOCUMENT))
    (tmp_path / "list.json").write_text(
        json.dumps([{"name": "f", "input_schema": RIGHT}, {"name": "g", "arguments": [1]}]))
    assert row("shop",
               tmp_path) == (
                   "| shop | 3 | 2 | 0 | 1 | the key \"arguments\" is not read: … (1) | 0 |", [])
