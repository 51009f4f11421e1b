"""The field's tool descriptions as JSON Schema, and calls checked against them."""
from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looptool.calling.schema_check import check_call, check_calls
from looptool.calling.type_names import read_type, says_optional
from looptool.foreign.parameters import json_schema
from looptool.foreign.tool_objects import read_tool
from looptool.json_lines import encode_line
from looptool.records import Call, Tool

TOOLS = Path(__file__).resolve().parents[2] / "shared" / "data" / "xlam_style_tools.jsonl"

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}


@pytest.mark.parametrize("written, schema", [
    ("str", STRING), ("string", STRING), ("STRING", STRING), (" str ", STRING), ("int", INTEGER),
    ("integer", INTEGER), ("float", NUMBER), ("number", NUMBER), ("double", NUMBER),
    ("bool", {"type": "boolean"}), ("list", {"type": "array"}), ("array", {"type": "array"}),
    ("List", {"type": "array"}), ("tuple", {"type": "array"}),
    ("dict", {"type": "object"}), ("Dict", {"type": "object"}), ("object", {"type": "object"}),
    ("Any", {}), ("str, optional", STRING), ("int (optional)", INTEGER),
    ("bool,optional", {"type": "boolean"}), ("List[int]", {"type": "array", "items": INTEGER}),
    ("typing.List[str]", {"type": "array", "items": STRING}),
    ("List[List[float]]", {"type": "array", "items": {"type": "array", "items": NUMBER}}),
    ("List[Dict[str, Any]]",
     {"type": "array", "items": {"type": "object", "additionalProperties": {}}}),
    ("Dict[str, List[int]]",
     {"type": "object", "additionalProperties": {"type": "array", "items": INTEGER}}),
    ("Set[int]", {"type": "array", "items": INTEGER, "uniqueItems": True}),
    ("Tuple[float, str]",
     {"type": "array", "prefixItems": [NUMBER, STRING], "minItems": 2, "maxItems": 2}),
    ("Tuple[int, ...]", {"type": "array", "items": INTEGER}),
    ("Optional[str]", {"type": ["string", "null"]}),
    ("Union[int, str]", {"type": ["integer", "string"]}),
    ("Union[int, Any]", {}),
    ("Union[int, Optional[int]]", {"type": ["integer", "null"]}),
    ("int | None", {"type": ["integer", "null"]}),
    ("Optional[List[str]]", {"anyOf": [{"type": "array", "items": STRING}, {"type": "null"}]}),
    ("['string', 'null']", {"type": ["string", "null"]}),
    (["string", "null"], {"type": ["string", "null"]}),
    ("Literal['asc', \"desc\"]", {"enum": ["asc", "desc"]}),
])
def test_type_names(written, schema: dict):
    assert read_type(written) == schema


@pytest.mark.parametrize("written", [
    "", " ", ", optional", "foo", "Callable[[float], float]", "np.ndarray", "datetime",
    "list of str", "string or null", "List[", "List[]", "List]", "List[int", "List[int]]",
    "List[int, str]", "int[str]", "Dict[str]", "Dict[int, str]", "Union", "Optional", "Union[...]",
    "Union[int, ...]", "List[int, ...]", "Tuple[...]", "Tuple[int, ..., int]",
    "List[...]", "[int]", "[]", "[", "...",
    "|", "int |", "Literal", "Literal[1]", "array<string>", "List[" * 5000, "str" * 5000, 1, None,
    [], {}, ["string", 1],
])
def test_a_type_without_certain_meaning_is_refused_and_quoted(written):
    with pytest.raises(ValueError, match="has no certain JSON form") as error:
        read_type(written)
    assert repr(written)[:60] in str(error.value) and len(str(error.value)) < 130


@pytest.mark.parametrize("written, optional", [
    ("str, optional", True), ("str,Optional", True), ("str (optional)", True),
    ("str optional", True), ("Optional[str]", True), ("typing.Optional[str]", True),
    ("List[Optional[str]]", False), ("str", False), ("optionality", False),
    (["string", "null"], False), (None, False)])
def test_what_says_optional(written, optional: bool):
    assert says_optional(written) is optional


def xlam(type_name, **rest) -> dict:
    return {"p": {"description": "d", "type": type_name, **rest}}


@pytest.mark.parametrize("parameters, schema, required", [
    (xlam("str"), STRING, True),
    (xlam("str", default=""), STRING, True),
    (xlam("str", default=None), STRING, True),
    (xlam("str, optional", default=""), STRING, False),
    (xlam("Optional[str]"), {"type": ["string", "null"]}, False),
    (xlam("str", default="US"), {**STRING, "default": "US"}, False),
    (xlam("int", default=10), {**INTEGER, "default": 10}, False),
    (xlam("int", default="10"), {**INTEGER, "default": 10}, False),
    (xlam("str", default="10"), {**STRING, "default": "10"}, False),
    (xlam("bool, optional", default="false"), {"type": "boolean", "default": False}, False),
    (xlam("bool", default=False), {"type": "boolean", "default": False}, False),
    (xlam("int", default="37.34"), INTEGER, False),
    (xlam("int", default="NaN"), INTEGER, False),
    (xlam("list", default=10), {"type": "array"}, False),
    (xlam("str", required=False), STRING, False),
    (xlam("str, optional", required=True), STRING, True),
    (xlam("str", enum=["a", "b"]), {**STRING, "enum": ["a", "b"]}, True),
    (xlam("List[int]"), {"type": "array", "items": INTEGER}, True),
    (xlam("List[Any]", items={"type": "str"}), {"type": "array", "items": STRING}, True),
])
def test_xlam_parameters(parameters: dict, schema: dict, required: bool):
    assert json_schema(parameters) == {"type": "object",
                                       "properties": {"p": {"description": "d", **schema}},
                                       "required": ["p"] if required else []}


def test_parameters_named_like_keywords_are_parameters():
    for name in ("type", "properties", "required", "items"):
        schema = json_schema({name: {"description": "", "type": "str"}})
        assert (schema["properties"] == {name: {"description": "", "type": "string"}}
                and schema["required"] == [name])


def test_json_schema_keeps_all_but_type_names():
    written = {"type": "dict", "properties": {
        "when": {"type": "string", "description": "day", "default": ""},
        "stops": {"type": "array", "items": {"type": "dict", "required": ["lat"],
                                             "properties": {"lat": {"type": "float"}}}},
        "unit": {"type": "string", "enum": ["C", "F"]},
        "any": {"type": "any"}, "free": {},
        "either": {"anyOf": [{"type": "int"}, {"type": "null"}]}}}
    schema = json_schema(written)
    assert schema["type"] == "object" and schema["required"] == []
    assert schema["properties"] == {
        "when": {"type": "string", "description": "day", "default": ""},
        "stops": {"type": "array",
                  "items": {"type": "object", "properties": {"lat": NUMBER}, "required": ["lat"]}},
        "unit": {"type": "string", "enum": ["C", "F"]}, "any": {}, "free": {},
        "either": {"anyOf": [INTEGER, {"type": "null"}]}}
    assert json_schema(schema) == schema
    assert json_schema({}) == json_schema({"type": "object"}) == {"type": "object",
                                                                  "properties": {}, "required": []}
    assert json_schema({"properties": {"a": {"type": "str"}}, "required": None})["required"] == []
    assert json_schema({"properties": {"a": True}, "type": "object"})["properties"] == {"a": True}
    assert json_schema({"properties": {}, "required": ["x"],
                        "additionalProperties": {"type": "int"}}) == {
        "type": "object", "properties": {}, "required": ["x"], "additionalProperties": INTEGER}
    parts = {"$defs": {"n": {"type": "int"}},
             "properties": {"p": {"prefixItems": [{"type": "str"}], "oneOf": [{}]}}}
    assert json_schema({"type": "object", **parts})["$defs"] == {"n": INTEGER}
    assert json_schema({"type": "object", **parts})["properties"] == {
        "p": {"prefixItems": [STRING], "oneOf": [{}]}}


def deep_schema(levels: int) -> dict:
    schema: dict = {}
    for _ in range(levels):
        schema = {"items": schema}
    return {"type": "object", "properties": {"p": schema}}


@pytest.mark.parametrize("parameters, reason", [
    (None, "must be a JSON object, not None"),
    ([], "must be a JSON object"),
    ("city: str", "must be a JSON object, not 'city: str'"),
    ({"city": "str"}, "'city': needs an object with a type, not 'str'"),
    ({"city": {"description": "d"}}, "'city': needs an object with a type"),
    (xlam("Callable[[float], float]"), "'p': type 'Callable[[float], float]' has no certain JSON "
                                       "form"),
    (xlam(None), "'p': type None"),
    ({"type": "string"}, 'of type "object", not \'string\''),
    ({"type": "object", "properties": []}, '"properties" must be a JSON object'),
    ({"type": "object", "properties": {"p": "str"}}, "'p': its schema must be a JSON object, not "
                                                     "'str'"),
    ({"type": "object", "properties": {"p": {"type": "frobnicate"}}}, "'p': type 'frobnicate'"),
    ({"type": "object", "properties": {}, "required": "city"}, '"required" must be a list of '
                                                               'names'),
    ({"type": "object", "properties": {"p": {"type": "str", "required": True}}},
     "'p': \"required\" must be a list"),
    ({"type": "object", "properties": {}, "required": ["city"]}, "'city', which is not among the "
                                                                 "properties"),
    (deep_schema(100_000), "nested too deeply"),
])
def test_unreadable_parameters_name_what_is_wrong(parameters, reason: str):
    with pytest.raises(ValueError) as error:
        json_schema(parameters)
    assert reason in str(error.value)


def test_read_tool_from_every_form():
    schema = {"type": "object", "properties": {"city": STRING}, "required": ["city"]}
    tool = Tool(name="Get Weather!", description="d", parameters=schema)
    for raw in ({"name": "Get Weather!", "description": "d",
                 "parameters": {"city": {"type": "str", "default": ""}}},
                {"type": "function",
                 "function": {"name": "Get Weather!", "description": "d", "parameters": schema}},
                {"name": "Get Weather!", "description": "d", "parameters": schema, "strict": True},
                json.loads(encode_line(tool))):
        assert read_tool(raw) == tool
    assert read_tool({"name": "now", "description": None, "domain": "Time",
                      "parameters": {}}) == Tool(name="now", domain="Time")


@pytest.mark.parametrize("raw, reason", [
    (None, "a tool is a JSON object"), ([], "a tool is a JSON object"),
    ({}, 'needs a "name", not None'), ({"name": ""}, 'needs a "name"'),
    ({"name": 3}, 'needs a "name", not 3'),
    ({"name": "f", "description": 3}, "tool 'f': \"description\""),
    ({"name": "f", "parameters": [1]}, "tool 'f': parameters must be"),
    ({"name": "f", "parameters": xlam("Foo")}, "tool 'f': parameter 'p': type 'Foo'"),
])
def test_read_tool_says_why_not(raw, reason: str):
    with pytest.raises(ValueError) as error:
        read_tool(raw)
    assert reason in str(error.value)


@pytest.mark.skipif(not TOOLS.exists(), reason="the shared data folder is not here")
def test_real_tools_convert():
    refused, defaults = [], {"kept": 0, "read": 0, "left out": 0}
    lines = TOOLS.read_text(encoding="utf-8").splitlines()
    for line in lines:
        raw = json.loads(line)
        try:
            tool = read_tool(raw)
        except ValueError as error:
            refused.append(str(error))
            continue
        assert read_tool(json.loads(encode_line(tool))) == tool
        for name, schema in tool.parameters["properties"].items():
            default = raw["parameters"][name]["default"]
            if default != "" and "default" not in schema:
                defaults["left out"] += 1
            elif default != "":
                defaults["kept" if schema["default"] == default else "read"] += 1
    assert len(lines) == 776 and len(refused) == 1 and "'Callable[[float], float]'" in refused[0]
    assert defaults == {"kept": 416, "read": 92, "left out": 28}


TOOL = Tool(name="plan_trip", parameters={
    "type": "object", "required": ["city", "stops"], "properties": {
        "city": {"type": "string", "minLength": 1, "maxLength": 20},
        "count": {"type": "integer", "minimum": 1, "exclusiveMaximum": 10},
        "price": NUMBER, "share": {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        "fast": {"type": "boolean"}, "unit": {"type": "string", "enum": ["C", "F"]},
        "level": {"enum": [1, 2, None]}, "note": {"type": ["string", "null"]},
        "old": {"type": "str", "nullable": True},
        "stops": {"type": "array", "maxItems": 3, "items": {"$ref": "#/$defs/point"}},
        "pair": {"type": "Tuple[float, float]"}, "ids": {"type": "List[int], optional"},
        "options": {"type": "object",
                    "properties": {"deep": {"type": "object", "properties": {"x": INTEGER}}}},
        "tags": {"type": "object", "additionalProperties": STRING}, "free": {"type": "object"},
        "any": {}, "odd": {"type": "Callable"}, "never": False,
        "either": {"anyOf": [STRING,
                             {"type": "object", "properties": {"id": INTEGER},
                              "required": ["id"]}]},
        "all": {"allOf": [{"properties": {"a": INTEGER}}, {"required": ["a"]}]},
        "open": {"properties": {"a": INTEGER}, "anyOf": [{"required": ["b"]}, {"required": ["c"]}]},
        "loop": {"$ref": "#/properties/loop"}, "gone": {"$ref": "#/$defs/nothing"},
        "twice": {"anyOf": [{"$ref": "#/$defs/point"}, {"$ref": "#/$defs/point"}]},
        "escaped": {"$ref": "#/$defs/a~1b~0c"}, "listed": {"$ref": "#/$defs/two/anyOf/1"},
        "nowhere": {"$ref": "#/$defs/two/anyOf/2"}, "spaced": {"$ref": "#/$defs/a%20b"},
        "old_pair": {"type": "array", "items": [NUMBER, STRING], "additionalItems": False},
        "choice": {"properties": {"a": INTEGER, "b": INTEGER},
                   "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        "numbers": {"type": "List[Any]", "items": NUMBER}},
    "$defs": {"a/b~c": STRING, "a b": STRING, "two": {"anyOf": [INTEGER, STRING]},
              "point": {"type": "object", "properties": {"lat": NUMBER, "lon": NUMBER},
                        "required": ["lat"]}}})
GOOD = {"city": "Rome", "stops": []}


@pytest.mark.parametrize("arguments, faults", [
    ({}, []),
    ({"city": 1}, ["wrong_type:city"]), ({"city": None}, ["wrong_type:city"]),
    ({"city": ""}, ["wrong_length:city"]), ({"city": "x" * 21}, ["wrong_length:city"]),
    ({"count": 3}, []), ({"count": 3.0}, []), ({"count": 3.5}, ["wrong_type:count"]),
    ({"count": "3"}, ["wrong_type:count"]), ({"count": True}, ["wrong_type:count"]),
    ({"count": 0}, ["out_of_range:count"]), ({"count": 1}, []), ({"count": 9}, []),
    ({"count": 10}, ["out_of_range:count"]), ({"count": 10 ** 400}, ["out_of_range:count"]),
    ({"share": 0}, ["out_of_range:share"]), ({"share": 1}, []),
    ({"share": 1.5}, ["out_of_range:share"]), ({"price": 1}, []), ({"price": 1.5}, []),
    ({"price": False}, ["wrong_type:price"]), ({"fast": True}, []),
    ({"fast": 1}, ["wrong_type:fast"]), ({"fast": "true"}, ["wrong_type:fast"]),
    ({"unit": "C"}, []), ({"unit": "c"}, ["not_in_enum:unit"]), ({"unit": 1}, ["wrong_type:unit"]),
    ({"level": 1.0}, []), ({"level": None}, []), ({"level": True}, ["not_in_enum:level"]),
    ({"note": None}, []), ({"note": 1}, ["wrong_type:note"]), ({"old": None}, []),
    ({"old": 1}, ["wrong_type:old"]), ({"stops": [{"lat": 1}, {"lat": 1, "lon": 2.5}]}, []),
    ({"stops": [{"lat": 1}, {"lat": "1"}]}, ["wrong_type:stops[1].lat"]),
    ({"stops": [{}, {"lat": 1, "z": 0}]},
     ["missing_required:stops[0].lat", "unknown_argument:stops[1].z"]),
    ({"stops": [{"lat": 1}] * 4}, ["wrong_length:stops"]), ({"stops": {}}, ["wrong_type:stops"]),
    ({"pair": [1, 2.5]}, []), ({"pair": [1]}, ["wrong_length:pair"]),
    ({"pair": [1, "2"]}, ["wrong_type:pair[1]"]), ({"ids": [1, 2]}, []),
    ({"ids": [1, "2"]}, ["wrong_type:ids[1]"]), ({"ids": 1}, ["wrong_type:ids"]),
    ({"options": {"deep": {"x": 1}}}, []),
    ({"options": {"deep": {"x": ""}}}, ["wrong_type:options.deep.x"]),
    ({"options": {"shallow": 1}}, ["unknown_argument:options.shallow"]),
    ({"tags": {"a": "b"}}, []), ({"tags": {"a": 1}}, ["wrong_type:tags.a"]),
    ({"free": {"a": 1}}, []), ({"any": [None]}, []), ({"odd": 1}, []),
    ({"never": 1}, ["not_allowed:never"]), ({"either": "x"}, []), ({"either": {"id": 1}}, []),
    ({"either": 1}, ["wrong_type:either"]), ({"either": {"id": "1"}}, ["wrong_type:either.id"]),
    ({"either": {}}, ["missing_required:either.id"]), ({"all": {"a": 1}}, []),
    ({"all": {"b": 1}}, ["unknown_argument:all.b", "missing_required:all.a"]),
    ({"open": {"b": 1}}, []), ({"open": {"a": "1", "b": 1}}, ["wrong_type:open.a"]),
    ({"open": {}}, ["missing_required:open.b"]), ({"loop": 1}, []), ({"gone": 1}, []),
    ({"twice": {}}, ["missing_required:twice.lat"]), ({"escaped": 1}, ["wrong_type:escaped"]),
    ({"numbers": ["1"]}, ["wrong_type:numbers[0]"]),
    ({"listed": 1}, ["wrong_type:listed"]), ({"nowhere": 1}, []),
    ({"spaced": 1}, ["wrong_type:spaced"]), ({"old_pair": [1, "a"]}, []),
    ({"old_pair": ["a", 1]}, ["wrong_type:old_pair[0]", "wrong_type:old_pair[1]"]),
    ({"old_pair": [1, "a", 2]}, ["not_allowed:old_pair[2]"]),
    ({"choice": {"a": 1}}, []), ({"choice": {}}, ["missing_required:choice.a"]),
    ({"choice": {"a": 1, "c": 1}}, ["unknown_argument:choice.c"]),
    ({"nope": 1}, ["unknown_argument:nope"]),
])
def test_check_call(arguments: dict, faults: list[str]):
    assert check_call(Call(name="plan_trip", arguments={**GOOD, **arguments}), TOOL) == faults


def test_check_calls_names_unknown_tools_and_missing_arguments():
    calls = [Call(name="plan_trip", arguments={}), Call(name="f", arguments={}),
             Call(name="plan_trip", arguments=GOOD)]
    assert check_calls(calls, [TOOL]) == ["missing_required:city", "missing_required:stops",
                                          "unknown_tool:f"]


def test_a_tool_without_properties_takes_nothing_unless_it_says_so():
    call = Call(name="f", arguments={"x": 1})
    assert check_call(call, Tool(name="f")) == ["unknown_argument:x"]
    assert check_call(call, Tool(name="f", parameters={})) == ["unknown_argument:x"]
    assert check_call(call, Tool(name="f", parameters={"type": "object"})) == ["unknown_argument:x"]
    assert check_call(call,
                      Tool(name="f",
                           parameters={"type": "object", "additionalProperties": True})) == []
    assert check_call(call,
                      Tool(name="f", parameters={"type": "object", "properties": {"x": {}}})) == []
    assert check_call(call,
                      Tool(name="f",
                           parameters={"properties": {"x": {}},
                                       "required": [["x"], 1, None]})) == []


VALUES = st.recursive(st.none() | st.booleans()
                      | st.sampled_from([0, 1, 3.0, 2.5, 10 ** 30, "", "a", "abc"]),
                      lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.sampled_from("ab"), inner),
                      max_leaves=5)
BOUNDS = st.fixed_dictionaries({}, optional={
    "type": st.sampled_from(["string", "integer", "number", "boolean", "array", "object", "null",
                             ["integer", "null"]]),
    "enum": st.lists(VALUES, min_size=1, max_size=3), "const": VALUES,
    "minimum": st.integers(-1, 3), "exclusiveMaximum": st.integers(0, 4),
    "minLength": st.integers(0, 2), "maxItems": st.integers(0, 2),
    "required": st.lists(st.sampled_from("abc"), unique=True)})
SCHEMAS = st.recursive(BOUNDS | st.booleans(), lambda inner: st.builds(
    lambda bounds, more: {**bounds, **more}, BOUNDS, st.fixed_dictionaries({}, optional={
        "properties": st.dictionaries(st.sampled_from("ab"), inner), "additionalProperties": inner,
        "items": inner, "prefixItems": st.lists(inner, min_size=1),
        "anyOf": st.lists(inner, min_size=1), "allOf": st.lists(inner, min_size=1)})),
    max_leaves=5)


def opened(schema):
    """The schema as this check reads it: objects with properties are open only where they say
    so."""
    if isinstance(schema, bool):
        return schema
    schema = {key: opened(child) if key in ("items", "additionalProperties") else
              [opened(each) for each in child] if key in ("prefixItems", "anyOf", "allOf") else
              {name: opened(each) for name, each in child.items()} if key == "properties" else child
              for key, child in schema.items()}
    if "properties" in schema and not schema.keys() & {"anyOf", "allOf"}:
        schema.setdefault("additionalProperties", False)
    return schema


@settings(deadline=None)
@given(SCHEMAS, VALUES)
def test_agrees_with_the_reference_validator(schema, value):
    jsonschema = pytest.importorskip("jsonschema")
    tool = Tool(name="f", parameters={"type": "object", "properties": {"p": schema}})
    expected = jsonschema.Draft202012Validator(opened(schema)).is_valid(value)
    assert (check_call(Call(name="f", arguments={"p": value}), tool) == []) is expected


@settings(deadline=None)
@given(st.recursive(VALUES, lambda inner: st.dictionaries(
    st.sampled_from(["type", "properties", "items", "required", "enum", "anyOf", "$ref", "minimum",
                     "a"]), inner),
    max_leaves=8), VALUES)
def test_broken_schemas_are_no_exception(schema, value):
    tool = Tool(name="f", parameters=schema if isinstance(schema, dict) else {})
    assert isinstance(check_call(Call(name="f", arguments={"a": value}), tool), list)
