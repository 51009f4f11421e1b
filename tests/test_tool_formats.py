"""Tools of every foreign form: what becomes of each, and why some are refused."""
from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from scripted import script

from dialog_generation import synthesize_tools
from dialog_generation.tool_making.files import read_tool_files, valid_tool
from dialog_generation.tool_making.formats import entries_of, openapi_schema
from looptool.errors import InputError
from looptool.json_lines import read_jsonl
from looptool.records import Refused, Tool

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
STRING, INTEGER = {"type": "string"}, {"type": "integer"}
NO_PARAMETERS = {"type": "object", "properties": {}, "required": []}

XLAM = {"name": "get weather.now", "description": "Weather.",
        "parameters": {"city": {"type": "str", "default": ""}}}
PLAIN = {"name": "f", "parameters": {"type": "object", "properties": {"p": STRING}}}
OPENAI = {"type": "function",
          "function": {"name": "g", "parameters": {"type": "object", "properties": {}}}}
MCP = {"name": "alerts", "title": "Alerts", "description": "Alerts of a state.",
       "inputSchema": {"type": "object", "properties": {"state": STRING}, "required": ["state"]}}
API = {"category_name": "Sports", "tool_name": "Odds", "api_name": "/v4/sports/{sport}",
       "api_description": " ",
       "required_parameters": [
           {"name": "sport", "type": "STRING", "description": "which", "default": "nfl"}],
       "optional_parameters": [{"name": "days", "type": "NUMBER", "description": "", "default": ""},
                               {"name": "from", "type": "DATE (YYYY-MM-DD)", "default": ""}],
       "method": "GET"}


def document(*parameters: Any, body: Any = None, components: Any = None,
             **operation: Any) -> dict[str, Any]:
    """An OpenAPI document with one operation, post /pets."""
    post = {"operationId": "addPet", "description": "Add a pet.", "parameters": list(parameters),
            **operation}
    if body is not None:
        post["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return {"openapi": "3.0.3", "info": {"title": "Pets"}, "paths": {"/pets": {"post": post}},
            "components": components or {}}


def form(properties: Any, media: str = "application/x-www-form-urlencoded",
         required: Any = ()) -> dict[str, Any]:
    """A document whose operation takes a form."""
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return document(requestBody={"content": {media: {"schema": schema}}})


def reference(target: str) -> dict[str, str]:
    return {"$ref": target}


def reference_to(schema: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{schema}"}


def parameter(name: str, where: str = "query", schema: Any = STRING, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": where, "schema": schema, **more}


def fields(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required)}


def read(tmp_path: Path, *values: Any) -> tuple[list[Tool], list[Refused], Counter[str]]:
    """Import values that stand in one file, one a line."""
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(value) + "\n" for value in values), encoding="utf-8")
    counts: Counter[str] = Counter()
    tools, refused = read_tool_files(path, counts)
    assert sum(counts.values()) == len(tools) + len(refused) + counts["repeated"]
    return tools, refused, counts


def the_tool(tmp_path: Path, value: Any) -> Tool:
    tools, refused, _ = read(tmp_path, value)
    assert not refused and len(tools) == 1
    return tools[0]


# Recognition


@pytest.mark.parametrize("value, names", [
    (XLAM, [XLAM["name"]]), ([XLAM, {**XLAM, "name": "x"}], [XLAM["name"], "x"]), (PLAIN, ["f"]),
    (OPENAI, ["g"]), ({"model": "m", "tools": [OPENAI]}, ["g"]), ({"functions": [PLAIN]}, ["f"]),
    (MCP, ["alerts"]), ({"tools": [MCP, {**MCP, "name": "x"}], "nextCursor": "c"},
                        ["alerts", "x"]),
    ({"jsonrpc": "2.0", "id": 1, "result": {"tools": [MCP]}}, ["alerts"]),
    (API, [API["api_name"]]),
    ({"query": "q", "api_list": [API, {**API, "api_name": "b"}]}, [API["api_name"], "b"]),
    (document(), ["addPet"]),
    ({"Name": "Pets", "Category": "Animals", "Documentation": json.dumps(document())}, ["addPet"]),
    ({"id": 1, "query": "q", "answers": "[]", "tools": json.dumps([XLAM])}, [XLAM["name"]])])
def test_a_form_is_recognised(value: Any, names: list[str]):
    tools = [valid_tool(entry) for entry in entries_of("a", value)]
    assert [tool.name for tool in tools] == names


def test_every_form_in_one_file_and_what_is_of_none(tmp_path: Path):
    tools, refused, counts = read(tmp_path, [XLAM, OPENAI], {"tools": [MCP]}, API, document(),
                                  PLAIN, {"tools": "["}, 3)
    assert [tool.name for tool in tools] == ["get weather.now", "g", "alerts", "/v4/sports/{sport}",
                                             "addPet", "f"]
    assert counts == {"imported": 6, "unreadable": 2}
    assert [entry.place for entry in refused] == ["in.jsonl:6", "in.jsonl:7"]


def test_a_named_tool_is_no_document(tmp_path: Path):
    for key in ("openapi", "swagger", "Documentation"):
        assert the_tool(tmp_path, {**XLAM, key: "3.0"}).name == XLAM["name"]


# Duplicates and validity


def test_duplicates_by_name_and_by_schema(tmp_path: Path):
    empty = {"name": "Checkhealth", "parameters": {}}
    tools, refused, counts = read(
        tmp_path, XLAM, XLAM, {**XLAM, "description": "Other."}, {**XLAM, "name": "weather"}, empty,
        {**empty, "name": "Projects"})
    assert [tool.name for tool in tools] == ["get weather.now", "Checkhealth", "Projects"]
    assert counts == {"imported": 3, "repeated": 1, "duplicate_name": 1, "duplicate_schema": 1}
    assert [(entry.place, entry.code) for entry in refused] == [
        ("in.jsonl:3", "duplicate_name"), ("in.jsonl:4", "duplicate_schema")]
    assert "'get weather.now'" in refused[1].reason and "'weather'" in refused[1].reason


@pytest.mark.parametrize("schema, reason", [
    ({"minLength": "3"}, "'3' is not of type 'integer'"),
    ({"pattern": 3}, "3 is not of type 'string'"), ({"enum": "abc"}, "'abc' is not of type "
                                                                     "'array'"),
    ({"items": [STRING]}, "$.properties.p.items")])
def test_parameters_that_are_no_json_schema_are_refused(tmp_path: Path, schema: dict[str, Any],
                                                        reason: str):
    for value in ({"name": "f", "parameters": fields(p=schema)},
                  {"name": "f", "inputSchema": fields(p=schema)},
                  document(parameter("p", schema=schema))):
        tools, refused, _ = read(tmp_path, value)
        assert not tools and "no JSON Schema" in refused[0].reason and reason in refused[0].reason


def test_a_null_keyword_is_one_left_out(tmp_path: Path):
    schema = {"type": "string", "description": None, "enum": None, "default": None}
    tool = the_tool(tmp_path, {"name": "f", "parameters": fields(p=schema)})
    assert tool.parameters["properties"]["p"] == {"type": "string", "default": None}


def test_deep_nesting_is_a_reason(tmp_path: Path):
    schema: dict[str, Any] = {}
    for _ in range(400):
        schema = {"items": schema}
    for value in ({"name": "f", "inputSchema": fields(p=schema)},
                  document(parameter("p", schema=schema))):
        tools, refused, _ = read(tmp_path, value)
        assert not tools and "nested too deeply" in refused[0].reason


# MCP


def test_mcp_tools(tmp_path: Path):
    assert the_tool(tmp_path, {"tools": [MCP]}) == Tool(
        name="alerts", description="Alerts of a state.", parameters=MCP["inputSchema"])
    assert the_tool(tmp_path, {"name": "now", "inputSchema": {}}).parameters == NO_PARAMETERS
    _, refused, _ = read(tmp_path, {"name": "f", "inputSchema": {"state": {"type": "str"}}},
                         {"inputSchema": fields()})
    assert ('"inputSchema" must be a JSON Schema' in refused[0].reason
            and 'needs a "name"' in refused[1].reason)


# ToolBench


def test_toolbench_api(tmp_path: Path):
    assert the_tool(tmp_path, {"query": "q", "api_list": [API]}) == Tool(
        name="/v4/sports/{sport}", description="", domain="Sports", parameters=fields(
            ("sport",), sport={**STRING, "description": "which", "default": "nfl"},
            days={"type": "number", "description": ""},
            **{"from": {"type": "string", "format": "date"}}))


def test_toolbench_folder(tmp_path: Path):
    api = {"name": "Get all", "description": "All of them.", "required_parameters": [],
           "optional_parameters": []}
    for category, name in (("Sports", "odds"), ("Weather", "odds"), (".cache", "odds")):
        (tmp_path / category).mkdir()
        tool = {"name": name, "tool_name": name, "api_list": [api]}
        (tmp_path / category / f"{name}.json").write_text(json.dumps(tool))
    counts: Counter[str] = Counter()
    tools, refused = read_tool_files(tmp_path, counts)
    assert tools == [Tool(name="Get all", description="All of them.", domain="Sports")]
    assert [(entry.place, entry.code) for entry in refused] == [
        (str(Path("Weather/odds.json[0].api_list[0]")), "duplicate_name")]


@pytest.mark.parametrize("change, reason", [
    ({"required_parameters": [{"name": "p", "type": "FILE"}]}, "'p': type 'FILE' has no certain "
                                                               "JSON form"),
    ({"required_parameters": [{"name": "p", "type": "ENUM"}]}, "'p': type 'ENUM' has no certain "
                                                               "JSON form"),
    ({"required_parameters": [{"name": "p"}]}, "'p': needs an object with a type"),
    ({"required_parameters": [{"name": "p", "type": ["STRING", 1]}]}, "'p': type ['STRING', 1]"),
    ({"required_parameters": [{"type": "STRING"}]}, "a JSON object with a name"),
    ({"required_parameters": "p"}, '"required_parameters" must be a list'),
    ({"required_parameters": [{"name": "days", "type": "STRING"}]}, "'days' is there twice"),
    ({"api_name": None}, 'needs a "name"')])
def test_toolbench_refusals(tmp_path: Path, change: dict[str, Any], reason: str):
    for value in ({**API, **change}, {"api_list": [{**API, **change}]}):
        tools, refused, _ = read(tmp_path, value)
        assert not tools and reason in refused[0].reason


def test_an_api_that_is_no_object(tmp_path: Path):
    _, refused, _ = read(tmp_path, {"api_list": [3]})
    assert (refused[0].reason == "an API is a JSON object, not 3"
            and refused[0].place == "in.jsonl:1.api_list[0]")


# OpenAPI


def test_an_operation_with_parameters_of_every_place(tmp_path: Path):
    value = document(
        parameter("shop", "path", INTEGER), parameter("dry", schema={"type": "boolean"}),
        parameter("X-Trace", "header", description="Trace."),
        parameter("Authorization", "header", required=True), parameter("api_key", required=True),
        parameter("session", "cookie", required=True),
        {"name": "filter", "in": "query",
         "content": {"application/json": {"schema": fields(tag=STRING)}}},
        body=fields(("name",), name={**STRING, "example": "Rex"}, age={**INTEGER, "nullable": True},
                    id={**STRING, "readOnly": True}),
        components={
            "securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "api_key"}}})
    value["paths"]["/pets"]["parameters"] = [parameter("dry"), parameter("lang")]
    tool = the_tool(tmp_path, value)
    assert tool == Tool(name="addPet", description="Add a pet.", domain="Pets", parameters=fields(
        ("shop", "name"), dry={"type": "boolean"}, lang=STRING, shop=INTEGER,
        **{"X-Trace": {**STRING, "description": "Trace."}}, filter=fields(tag=STRING), name=STRING,
        age={"type": ["integer", "null"]}))


def test_names_descriptions_and_domains(tmp_path: Path):
    value = document(summary="Short.")
    operation = value["paths"]["/pets"]["post"]
    del operation["operationId"], operation["description"]
    value["paths"] |= {"x-note": 3,
                       "/pets/first": {"summary": "one", "get": {"operationId": "Get Pet!"}}}
    record = {"Category": "Animals", "Documentation": json.dumps(value)}
    tools, refused, _ = read(tmp_path, record)
    assert (not refused
            and tools == [Tool(name="post /pets", description="Short.", domain="Animals"),
                          Tool(name="Get Pet!", domain="Animals")])


def test_references_inside_the_document(tmp_path: Path):
    components = {
        "schemas": {"Pet": fields(("kind",), kind={"$ref": "#/components/schemas/a~1b%20c"},
                                  friends={"type": "array",
                                           "items": {"$ref": "#/components/schemas/Id"}}),
                    "a/b c": {**STRING, "enum": ["cat"]},
                    "Id": {"$ref": "#/components/schemas/Number"}, "Number": INTEGER},
        "parameters": {"Limit": parameter("limit", schema={"$ref": "#/components/schemas/Id"})},
        "requestBodies": {"Pet": {"content": {"application/vnd.pets+json; charset=utf-8": {
            "schema": {"allOf": [{"$ref": "#/components/schemas/Pet"},
                                 fields(("age",), age=INTEGER)]}}}}}}
    value = document({"$ref": "#/components/parameters/Limit"}, components=components,
                     requestBody={"$ref": "#/components/requestBodies/Pet"})
    assert the_tool(tmp_path, value).parameters == fields(
        ("kind", "age"), limit=INTEGER, kind={**STRING, "enum": ["cat"]},
        friends={"type": "array", "items": INTEGER}, age=INTEGER)


def test_parts_of_a_body_keep_what_else_they_take(tmp_path: Path):
    body = {"allOf": [fields(a=STRING), {"type": "object", "additionalProperties": INTEGER}]}
    assert the_tool(tmp_path, document(body=body)).parameters == {**fields(a=STRING),
                                                                  "additionalProperties": INTEGER}


def test_each_operation_has_room_for_its_schemas(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(openapi_schema, "_MOST_SCHEMAS", 50)
    value = document(body=fields(**{f"p{index}": STRING for index in range(30)}))
    value["paths"]["/shops"] = {
        "post": {**value["paths"]["/pets"]["post"], "operationId": "addShop",
                 "description": "Add a shop."}}
    tools, refused, _ = read(tmp_path, value)
    assert [tool.name for tool in tools] == ["addPet", "addShop"] and not refused


@pytest.mark.parametrize("written, schema", [
    ({"type": "number", "minimum": 0, "exclusiveMinimum": True},
     {"type": "number", "exclusiveMinimum": 0}),
    ({"type": "number", "maximum": 9, "exclusiveMaximum": False}, {"type": "number", "maximum": 9}),
    ({"type": "number", "exclusiveMinimum": 0}, {"type": "number", "exclusiveMinimum": 0}),
    ({"enum": ["a"], "type": "string", "nullable": True},
     {"enum": ["a", None], "type": ["string", "null"]}),
    ({"oneOf": [STRING, INTEGER], "nullable": True},
     {"anyOf": [{"oneOf": [STRING, INTEGER]}, {"type": "null"}]}),
    (fields(example=STRING, nullable=STRING), fields(example=STRING, nullable=STRING)),
    ({"default": {"$ref": "x", "nullable": True}}, {"default": {"$ref": "x", "nullable": True}}),
    ({**STRING, "x-order": 1, "xml": {"name": "p"}}, STRING)])
def test_words_of_openapi_schemas(tmp_path: Path, written: dict[str, Any], schema: dict[str, Any]):
    assert the_tool(tmp_path,
                    document(parameter("p", schema=written))).parameters["properties"][
                        "p"] == schema


def test_a_name_in_two_places_must_mean_the_same(tmp_path: Path):
    same = document(parameter("id", "path", INTEGER, required=True),
                    body=fields(id={**INTEGER, "description": "Id."}))
    assert the_tool(tmp_path, same).parameters == fields(("id",), id=INTEGER)
    _, refused, _ = read(tmp_path,
                         document(parameter("id", "path", STRING), body=fields(id=INTEGER)))
    assert refused[0].reason == "operation 'addPet': two parameters are named 'id' and differ"
    assert (refused[0].place == "in.jsonl:1 post /pets"
            and refused[0].record["operationId"] == "addPet")


def test_forms_and_empty_bodies(tmp_path: Path):
    written = {"To": STRING, "Body": {**STRING, "format": "byte"}}
    for media in ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert the_tool(tmp_path,
                        form(written, media, ["To"])).parameters == fields(("To",), **written)
    both = document(requestBody={
        "content": {"multipart/form-data": {"schema": fields(file={**STRING, "format": "binary"})},
                    "application/json": {"schema": fields(url=STRING)}}})
    assert the_tool(tmp_path, both).parameters == fields(url=STRING)
    for empty in (form({}), document(requestBody={"content": {}}), document(body=fields()),
                  document(body={"type": "object", "additionalProperties": False})):
        assert not the_tool(tmp_path, empty).parameters["properties"]


@pytest.mark.parametrize("body, parameters", [
    ({**fields(a=STRING, b=STRING), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
     {**fields(a=STRING, b=STRING), "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
    ({**fields(("a",), a=STRING), "nullable": True}, fields(("a",), a=STRING)),
    ({"anyOf": [fields(("a",), a=STRING), {"type": "null"}]}, fields(("a",), a=STRING)),
    ({"oneOf": [reference_to("Thing")]}, fields(("name",), name=STRING)),
    (reference_to("Thing"), fields(("name",), name=STRING)),
    ({"allOf": [reference_to("Thing"), {"required": ["id", "name", "size"]}, fields(size=INTEGER)]},
     fields(("name", "size"), name=STRING, size=INTEGER)),
    (fields(thing=reference_to("Thing")), fields(thing=fields(("name",), name=STRING))),
    (fields(part={"allOf": [reference_to("Thing"), {"required": ["id"]}]}),
     fields(part={"allOf": [fields(("name",), name=STRING), {"required": []}]})),
    (fields(a={"$ref": "#/paths/~1pets/post/parameters/0/schema"}), fields(a=INTEGER)),
    (fields(a={"if": reference_to("Id"), "contains": reference_to("Id")}),
     fields(a={"if": STRING, "contains": STRING}))])
def test_bodies(tmp_path: Path, body: Any, parameters: Any):
    components = {"schemas": {"Thing": fields(("id", "name"), id=reference_to("Id"), name=STRING),
                              "Id": {**STRING, "readOnly": True}}}
    value = document(parameter("session", "cookie", INTEGER), body=body, components=components)
    assert the_tool(tmp_path, value).parameters == parameters


def test_what_refers_to_itself_is_kept_under_defs(tmp_path: Path):
    node = fields(("name",), name=STRING, inner={"type": "array", "items": reference_to("Node")},
                  up=reference_to("Up"))
    value = document(body=reference_to("Node"),
                     components={"schemas": {"Node": node, "Up": reference_to("Node")}})
    at_node = {"$ref": "#/$defs/Node"}
    within = {"name": STRING, "inner": {"type": "array", "items": at_node}, "up": at_node}
    assert the_tool(tmp_path, value).parameters == {**fields(("name",), **within),
                                                    "$defs": {"Node": fields(("name",), **within)}}


def test_definitions_have_the_same_names_in_every_process(tmp_path: Path):
    ours, theirs = ({"type": "object", "properties": {
        "up": reference(f"#/components/{place}/Node"), "is": {"const": place}}}
        for place in ("schemas", "others"))
    inner = {"type": "object", "properties": {"n": reference_to("Node")},
             "patternProperties": {"^x": reference("#/components/others/Node")}}
    value = document(body=fields(a=inner), components={"schemas": {"Node": ours},
                                                       "others": {"Node": theirs}})
    found = the_tool(tmp_path, value).parameters["$defs"]
    assert {name: node["properties"]["is"]["const"] for name, node in found.items()} == {
        "Node": "schemas", "Node_": "others"}


def test_siblings_of_a_reference_count_from_3_1_on(tmp_path: Path):
    value = document(body=fields(a={**reference_to("Id"), "maxLength": 3, "description": "d"}),
                     components={"schemas": {"Id": STRING}})
    assert the_tool(tmp_path, value).parameters["properties"]["a"] == {**STRING, "description": "d"}
    value["openapi"] = 3.1
    assert the_tool(tmp_path, value).parameters["properties"]["a"] == {
        "maxLength": 3, "description": "d", "allOf": [STRING]}


def test_a_choice_without_variants_is_none(tmp_path: Path):
    value = document(body=fields(a=STRING) | {"anyOf": False, "oneOf": None})
    assert the_tool(tmp_path, value).parameters == fields(a=STRING)


def test_an_operation_and_a_path_behind_a_reference(tmp_path: Path):
    value = document(parameter("p"))
    value["components"] = {"pathItems": {"Pets": value["paths"]["/pets"]}, "x-operations": {"add": {
        "operationId": "addShop", "parameters": [parameter("q")]}}}
    value["paths"] = {"/pets": reference("#/components/pathItems/Pets"),
                      "/shops": {"post": reference("#/components/x-operations/add")}}
    tools, refused, _ = read(tmp_path, value)
    assert not refused and [(tool.name, tool.parameters) for tool in tools] == [
        ("addPet", fields(p=STRING)), ("addShop", fields(q=STRING))]


def test_a_document_in_several_files(tmp_path: Path):
    (tmp_path / "api" / "schemas").mkdir(parents=True)
    value = document({"$ref": "parameters.yaml#/Limit"}, body=reference("schemas/pet.json#/Pet"))
    (tmp_path / "api" / "openapi.json").write_text(json.dumps(value))
    (tmp_path / "api" / "parameters.yaml").write_text(
        "Limit: {name: limit, in: query, schema: {$ref: '#/Size'}}\n"
        "Size: {type: integer}\n")
    pet = {"Pet": fields(("name",), name=reference("#/Name"), friend=reference("#/Pet")),
           "Name": reference("../name.json")}
    (tmp_path / "api" / "schemas" / "pet.json").write_text(json.dumps(pet))
    (tmp_path / "api" / "name.json").write_text(json.dumps(STRING))
    tools, refused = read_tool_files(tmp_path / "api" / "openapi.json", Counter())
    at_pet = {"$ref": "#/$defs/Pet"}
    assert not refused and tools[0].parameters == {
        **fields(("name",), limit=INTEGER, name=STRING, friend=at_pet),
        "$defs": {"Pet": fields(("name",), name=STRING, friend=at_pet)}}
    shutil.move(tmp_path / "api" / "name.json", tmp_path / "name.json")
    pet["Name"] = reference("../../name.json")
    (tmp_path / "api" / "schemas" / "pet.json").write_text(json.dumps(pet))
    _, refused = read_tool_files(tmp_path / "api" / "openapi.json", Counter())
    assert "outside the folder" in refused[0].reason
    tools, refused = read_tool_files(tmp_path, Counter())  # the other files stand for no tool
    assert [tool.name for tool in tools] == ["addPet"] and len(refused) == 3


SWAGGER = {
    "swagger": 2.0, "info": {"title": "Pets"}, "consumes": ["application/json"],
    "securityDefinitions": {"key": {"type": "apiKey", "in": "query", "name": "token"}},
    "parameters": {"Limit": {"name": "limit", "in": "query", "type": "integer", "maximum": 9,
                             "description": "How many."}},
    "definitions": {"Pet": fields(("id", "name"), id={**INTEGER, "readOnly": True},
                                  name={**STRING, "x-nullable": True})},
    "paths": {"/pets/{shop}": {
        "parameters": [{"name": "shop", "in": "path", "required": True, "type": "string"}],
        "get": {"operationId": "list", "parameters": [reference("#/parameters/Limit"), {
            "name": "tags", "in": "query", "type": "array", "items": STRING,
            "collectionFormat": "multi"},
            {"name": "token", "in": "query", "type": "string"}]},
        "post": {"operationId": "add",
                 "parameters": [{"name": "pet", "in": "body", "required": True,
                                 "schema": reference("#/definitions/Pet")}]},
        "put": {"operationId": "form", "consumes": ["multipart/form-data"], "parameters": [
            {"name": "name", "in": "formData", "type": "string", "required": True,
             "enum": ["a", "b"]}]},
        "patch": {"operationId": "file",
                  "parameters": [{"name": "photo", "in": "formData", "type": "file"}]},
        "delete": {"operationId": "xml", "consumes": ["application/xml"], "parameters": [
            {"name": "pet", "in": "body", "schema": reference("#/definitions/Pet")}]}}}}


def test_swagger_2(tmp_path: Path):
    tools, refused, _ = read(tmp_path, SWAGGER)
    assert {tool.name: tool.parameters for tool in tools} == {
        "list": fields(("shop",), shop=STRING,
                       limit={**INTEGER, "maximum": 9, "description": "How many."},
                       tags={"type": "array", "items": STRING}),
        "add": fields(("shop", "name"), shop=STRING, name={"type": ["string", "null"]}),
        "form": fields(("shop", "name"), shop=STRING, name={**STRING, "enum": ["a", "b"]})}
    assert {tool.domain for tool in tools} == {"Pets"}
    assert sorted(entry.reason for entry in refused) == [
        "operation 'xml': the request body is neither JSON nor a form but application/xml",
        "tool 'file': parameter 'photo': type 'file' has no certain JSON form"]


# Lists and files


@pytest.mark.parametrize("value, names, refusals", [
    ({"tools": [{"functionDeclarations": [PLAIN, {"name": "now"}]}, {"googleSearch": {}}]},
     ["f", "now"], ['a tool needs a "name"']),
    (
        {
            "toolConfig": {
                "tools": [{"toolSpec": {"name": "b", "inputSchema": {"json": fields(p=STRING)}}}]}},
        ["b"], []),
    ([{"name": "search", "description": "d"}], [], ['it has no "parameters"']),
    ({"name": "server", "version": "1", "tools": [PLAIN, MCP]}, ["f", "alerts"], []),
    ({"tools": [PLAIN], "functions": [MCP], "messages": [{"role": "user"}]}, ["f", "alerts"], []),
    ({"tools": [PLAIN], "servers": [{"tools": [MCP]}]}, ["f"], ['the key "servers" beside a list '
                                                                'of tools is not read']),
    ({"name": "@x/server", "version": "0.6.3", "description": "d", "type": "module",
      "bin": {"m": "i.js"}}, [], [
        'the key "bin" is not read'])])
def test_lists_of_tools(tmp_path: Path, value: Any, names: list[str], refusals: list[str]):
    tools, refused, _ = read(tmp_path, value)
    assert [tool.name for tool in tools] == names
    assert (len(refused) == len(refusals)
            and all(map(str.__contains__, (entry.reason for entry in refused), refusals)))


def test_one_bad_file_of_a_folder_costs_itself(tmp_path: Path):
    for name, content in (("a.json", "[]"), ("b.JSON", "\ufeff" + json.dumps(PLAIN)),
                          ("c.yml", "a: [NO"), ("d.YAML", "name: on\n"
                          "parameters: {type: object, properties: {NO: {type: string}}}\n"),
                          ("e.json", b"\xff{")):
        (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    counts: Counter[str] = Counter()
    tools, refused = read_tool_files(tmp_path, counts)
    assert [(tool.name, list(tool.parameters["properties"]))
            for tool in tools] == [("f", ["p"]), ("on", ["NO"])]
    assert {entry.place for entry in refused} >= {"c.yml", "e.json"} and counts["imported"] == 2


def test_one_bad_line_costs_itself(tmp_path: Path):
    path = tmp_path / "in.jsonl"
    deep = '{"result":' * 900 + "3" + "}" * 900
    path.write_text(f"{json.dumps(PLAIN)}\n\n{{\n{deep}\n{json.dumps(MCP)}\n", encoding="utf-8")
    tools, refused = read_tool_files(path, Counter())
    assert ([tool.name for tool in tools] == ["f", "alerts"]
            and {entry.place for entry in refused} == {"in.jsonl:3", "in.jsonl:4"})


def test_keys_that_were_passed_over_are_in_the_meta_file_and_the_last_line(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    source = tmp_path / "in.json"
    source.write_text(
        json.dumps({"tools": [MCP, {**PLAIN, "strict": True}, {"name": "x", "bad": {"a": 1}}],
                    "nextCursor": "c"}))
    with caplog.at_level("INFO"):
        meta = run_script(monkeypatch, tmp_path / "run", "--tools", source)
    assert meta["passed_over"] == {"title": 1, "strict": 1, "nextCursor": 1}
    assert "keys passed over: " in caplog.messages[-1] and "1 nextCursor" in caplog.messages[-1]


LOOP = {"schemas": {"Node": fields(next=reference("#/components/schemas/Node")), "Self": reference(
    "#/components/schemas/Self"),
                    **{f"L{level}": fields(a=reference(f"#/components/schemas/L{level + 1}"),
                                           b=reference(f"#/components/schemas/L{level + 1}"))
                       for level in range(30)}, "L30": STRING}}


@pytest.mark.parametrize("value, reason", [
    (document(parameter("p", schema=reference("https://x.test/a.json#/B"))),
     "only files beside the document are read"),
    (document(reference("gone.yaml#/Limit")), "refers to nothing that can be read: No such file"),
    (document(reference("../../x.yaml#/Limit")), "it lies outside the folder that was named"),
    (document(parameter("p", schema=reference("#/components/schemas/None"))),
     "refers to nothing that can be read"),
    (document(parameter("p", schema=reference("#/paths/~1pets/post/parameters/x"))),
     "refers to nothing"),
    (document(parameter("p", schema=reference("#/components/schemas/Self")), components=LOOP),
     "refers to itself"),
    (document(body=reference("#/components/schemas/Self"), components=LOOP), "refers to itself"),
    (document(body=fields(a={"$dynamicRef": "#x"})), '"$dynamicRef" is not followed'),
    (document(body=reference("#/components/schemas/L0"), components=LOOP),
     "more than 2,000 schemas"),
    (document(parameter("p", "body")), "needs a name and a place"),
    (document({"name": "p", "in": "query"}), "'p' has no schema"),
    (document(parameter("p", schema={"type": "file"})), "type 'file' has no certain JSON form"),
    (document(requestBody={"content": {"text/csv": {"schema": fields()}}}), "neither JSON nor a "
                                                                            "form but text/csv"),
    (document(requestBody={"description": "d"}), "has no content"),
    (document(requestBody={"content": {"application/json": {}}}), "has no schema"),
    (document(body={"type": "array", "items": STRING}), "is no object but 'array'"),
    (document(body=STRING), "is no object but 'string'"),
    (document(body={"type": "object", "additionalProperties": True}), "no named properties"),
    (document(body={"oneOf": [fields(a=STRING), fields(b=STRING)]}), "'oneOf' cannot stand beside "
                                                                     "parameters"),
    (document(body={"allOf": [fields(a=STRING), fields(a=INTEGER)]}), "a property 'a' and differ"),
    (document(body={"type": "object", "properties": ["a"]}), '"properties" must be an object'),
    (document(body={"allOf": {"a": 1}}), '"allOf" must be a list'),
    (document(body=fields() | {"required": True}), '"required" must be a list'),
    (document(parameters=3), '"parameters" must be a list'),
    (document(body=fields() | {"required": [{}]}), '"required" must be a list of names'),
    (document(body=fields(a={**STRING, "required": [[]]})), '"required" must be a list of names'),
    (document(body=fields(a=STRING) | {"anyOf": [{"required": [{}]}, {"required": []}]}),
     '"required" must be a list of names'),
    (document(body=fields() | {"type": [{}]}), "is no object but [{}]"),
    (document(body=reference_to("Pet"), components={"schemas": None}),
     "'#/components/schemas/Pet' refers to nothing"),
    ({"openapi": "3.0.0", "paths": {"/a": {"get": 3}}}, "an operation is a JSON object, not 3"),
    ({"openapi": "3.0.0", "paths": {"/a": reference("other.yaml")}}, "No such file"),
    ({"openapi": "3.0.0", "paths": {"/a/{id}": {"get": {}}}}, "the path's 'id' is not among the "
                                                              "parameters"),
    ({"openapi": "3.2.0", "paths": {"/a": {"additionalOperations": {"COPY": {}}}}},
     'the key "additionalOperations"'),
    ({"openapi": "3.0.0", "paths": {}, "operations": [{}]}, 'the key "operations" beside a list of '
                                                            'tools'),
    (document(arguments=[{"name": "p"}]), 'the key "arguments" is not read'),
    (document(parameter("p", properties={"a": STRING})), 'the key "properties" is not read'),
    (form({"f": {**STRING, "format": "binary"}}, "multipart/form-data"), "'f' is a file"),
    (document(body={**fields(a=STRING), "anyOf": [fields(a=STRING), {"required": ["a"]}]}),
     "'anyOf' cannot stand"),
    (document(body={**fields(a=STRING), "minProperties": 1}), "'minProperties' cannot stand"),
    ({"openapi": "3.1.0", "webhooks": {}}, "has no paths"),
    ({"swagger": "1.2", "paths": {}}, "of version 3 or 2.0 is needed, not '1.2'"),
    ({"openapi": 4.0, "paths": {}}, "of version 3 or 2.0 is needed, not 4.0"),
    ({"Documentation": "see the site"}, '"Documentation" is no JSON text'),
    ({"Documentation": "[]"}, "version 3 or 2.0 is needed")])
def test_openapi_refusals(tmp_path: Path, value: dict[str, Any], reason: str):
    tools, refused, _ = read(tmp_path, value, XLAM)
    assert [tool.name for tool in tools] == [XLAM["name"]]
    assert len(refused) == 1 and refused[0].code == "unreadable" and reason in refused[0].reason


# The script, and real files


def run_script(monkeypatch: pytest.MonkeyPatch, folder: Path, *flags: Any) -> dict[str, Any]:
    """The .meta.json after a run of synthesize_tools.py."""
    script(monkeypatch, synthesize_tools, folder, *flags)
    return json.loads((folder / "tools.jsonl.meta.json").read_text())


def test_the_script_imports_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "in.json"
    source.write_text(json.dumps([MCP, PLAIN]))
    assert run_script(monkeypatch, tmp_path / "run", "--tools", source)["counts"] == {"imported": 2}
    names = [tool.name for tool in read_jsonl(tmp_path / "run" / "tools.jsonl", Tool)]
    assert names == ["alerts", "f"]


def test_a_file_without_any_tool_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = tmp_path / "in.json"
    for content, reason in (([[]], r"no record is left \(no input\)"),
                            ([3, 4], (
            r"no record is left \(2 unreadable; .*commonest reason, of 2, at in.json\[0\]: a tool "
            r"is a JSON object"))):
        source.write_text(json.dumps(content))
        with pytest.raises(InputError, match=reason):
            run_script(monkeypatch, tmp_path / "run", "--tools", source)
    aside = tmp_path / "run" / "tools_refused.jsonl"
    assert [entry.place for entry in read_jsonl(aside, Refused)] == ["in.json[0]", "in.json[1]"]
    assert json.loads(aside.with_name(f"{aside.name}.meta.json").read_text())["counts"] == {
        "unreadable": 2}
    assert not (tmp_path / "run" / "tools.jsonl").exists()


@pytest.mark.skipif(not SHARED.exists(), reason="no real data beside the checkout")
@pytest.mark.parametrize("name, expected, refusals", [
    ("toolbench_queries.json", {"imported": 26, "repeated": 35}, []),
    ("toolalpaca_eval_simulated.json", {"imported": 51, "unreadable": 3}, [
        "operation 'generateAvatar': two parameters are named 'style' and differ",
        "operation 'generateServerIcon': two parameters are named 'style' and differ",
        "operation 'generateRandomImage': two parameters are named 'category' and differ"])])
def test_real_files(name: str, expected: dict[str, int], refusals: list[str]):
    counts: Counter[str] = Counter()
    tools, refused = read_tool_files(SHARED / name, counts)
    assert counts == expected and [entry.reason for entry in refused] == refusals
    assert all(tool.domain for tool in tools)
    for tool in tools:
        Draft202012Validator.check_schema(tool.parameters)
        assert "$ref" not in json.dumps(tool.parameters)


# YAML


@pytest.mark.parametrize("name", ["pets.yaml", "pets.yml"])
def test_an_openapi_document_in_yaml_is_the_same_tools_as_in_json(tmp_path, name):
    written = document(parameter("since", schema={"type": "string", "default": "2024-05-01"}))
    written["paths"]["/pets"]["post"]["responses"] = {200: {"description": "Added."}}
    YAML(typ="safe", pure=True).dump(written, tmp_path / name)
    tools, refused = read_tool_files(tmp_path, Counter())
    assert tools == read(tmp_path,
                         document(parameter("since",
                                            schema={"type": "string", "default": "2024-05-01"})))[0]
    assert not refused and tools[0].parameters["properties"]["since"]["default"] == "2024-05-01"


@pytest.mark.parametrize("text",
                         ["a: [", "a: &x\n  b: *x", "a: !!python/object:os.system {}", b"a: \xff"])
def test_bad_yaml_is_refused_with_its_file(tmp_path, text):
    path = tmp_path / "bad.yml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match="bad.yml: not "):
        read_tool_files(path, Counter())
