"""Tools as vendors and libraries write them -> name, description and parameters, none of which is
guessed.

In: one JSON object, such as {"name": "weather", "description": "...", "input_schema": {"type":
"object", ...}}. Out: the same tool with its parameters as a JSON Schema. Which key holds them says
whose form it is:

    parameters               OpenAI, Gemini, Mistral, BFCL; xLAM's by name, {"city": {...}}
    input_schema             Anthropic
    inputSchema              a Model Context Protocol server; in {"toolSpec": ...} Amazon Bedrock
    parametersJsonSchema     Gemini, also parameters_json_schema
    args_schema              LangChain
    inputs                   smolagents and Hugging Face: required unless "nullable"
    parameter_definitions    Cohere: required where it says so

A "required" list beside them counts too. Without any of these only {"type": "function"} says that
there are no parameters. A key of another meaning refuses the tool; see
looptool.foreign.unread_keys.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from looptool.calling.type_names import Schema, quote
from looptool.foreign.parameters import is_json_schema, json_schema, schema_by_name
from looptool.foreign.unread_keys import count_unread, is_known
from looptool.records import Tool

READ = ("name", "description", "domain", "required", "type")
KNOWN = ("annotations", "cache_control", "deprecated", "examples", "execution", "icons",
         "input_examples", "metadata", "output_parameters", "output_schema", "outputSchema",
         "output_type", "response", "responses", "responseJsonSchema", "response_json_schema",
         "results", "return", "return_data", "returns", "strict", "tags", "title")
"""What these hold says nothing of the arguments: results, examples, hints for people and
servers."""


def read_tool(raw: Any, passed_over: Counter[str] | None = None) -> Tool:
    """One tool from a JSON object of any of the forms above; its name stays as written.

    Args:
        passed_over: counts the keys that are not read, by name.

    Raises:
        ValueError: this is no tool, a key is not read, or a parameter's meaning is not certain;
            names the key or parameter.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"a tool is a JSON object, not {quote(raw)}")
    counts: Counter[str] = Counter()
    raw = _unwrapped(raw, counts)
    name, description, domain = (raw.get("name"), raw.get("description") or "",
                                 raw.get("domain") or "")
    if not isinstance(name, str) or not name:
        raise ValueError(f'a tool needs a "name", not {quote(name)}')
    if not isinstance(description, str) or not isinstance(domain, str):
        raise ValueError(f'tool {name!r}: "description" and "domain" must be text')
    try:
        parameters = _parameters(raw, counts)
    except ValueError as error:
        raise ValueError(f"tool {name!r}: {error}") from None
    if passed_over is not None:
        passed_over.update(counts)
    return Tool(name=name, description=description, parameters=parameters, domain=domain)


def _unwrapped(raw: dict[str, Any], passed_over: Counter[str]) -> dict[str, Any]:
    """The tool inside OpenAI's {"function": ...} or Bedrock's {"toolSpec": ...}, else `raw`."""
    if isinstance(raw.get("function"), dict):
        count_unread(raw, ("function", "type"), KNOWN, passed_over)
        return {"type": "function", **raw["function"]}
    if isinstance(raw.get("toolSpec"), dict):
        count_unread(raw, ("toolSpec",), KNOWN, passed_over)
        schema = raw["toolSpec"].get("inputSchema")
        if not isinstance(schema, dict) or schema.keys() != {"json"}:
            raise ValueError(f'"toolSpec" needs an "inputSchema" with "json", not {quote(schema)}')
        return {**raw["toolSpec"], "inputSchema": schema["json"]}
    return raw


def _parameters(raw: dict[str, Any], passed_over: Counter[str]) -> Schema:
    """The parameters of an unwrapped tool as a JSON Schema."""
    count_unread(raw, (*READ, *READERS), KNOWN, passed_over)
    # "custom" is Anthropic's word for a function of the user's own
    if raw.get("type") not in (None, "function", "custom"):
        passed_over["type"] += 1
    # an empty one counts only where none is filled
    held = [key for key in READERS if raw.get(key)] or [key for key in READERS if key in raw]
    if any(raw[key] != raw[held[0]] for key in held if raw[key]):
        raise ValueError(f'both "{held[0]}" and "{held[1]}" may be its parameters')
    if held:
        return READERS[held[0]](raw[held[0]], _required(raw))
    unread = [key for key in raw if key not in READ
              and not is_known(key, KNOWN)] + ["required"] * bool(raw.get("required"))
    if unread or raw.get("type") != "function":
        raise ValueError('it has no "parameters"'
                         + (f', and the key "{unread[0]}" is not read' if unread else ""))
    return json_schema({})


def _required(raw: dict[str, Any]) -> list[str] | None:
    names = raw.get("required")
    if (names is not None
            and not (isinstance(names, list) and all(isinstance(name, str) for name in names))):
        raise ValueError(f'"required" must be a list of names, not {quote(names)}')
    return names


def _either(parameters: Any, required: list[str] | None) -> Schema:
    """A JSON Schema, or parameters by name, which are required unless their type or a default says
    otherwise."""
    parameters = parameters or {}
    if required is not None and isinstance(parameters, dict) and not is_json_schema(parameters):
        return schema_by_name(parameters, lambda name, spec: name in required)
    return _with_required(json_schema(parameters), required)


def _schema(key: str) -> Callable[[Any, list[str] | None], Schema]:
    def read(schema: Any, required: list[str] | None) -> Schema:
        if schema != {} and not is_json_schema(schema):
            raise ValueError(f'"{key}" must be a JSON Schema of type "object", not {quote(schema)}')
        return _with_required(json_schema(schema), required)
    return read


def _by_name(is_required: Callable[[Any], bool]) -> Callable[[Any, list[str] | None], Schema]:
    def read(parameters: Any, required: list[str] | None) -> Schema:
        return schema_by_name(parameters, lambda name, spec: is_required(spec) if required is None
                              else name in required)
    return read


def _with_required(schema: Schema, names: list[str] | None) -> Schema:
    """The schema, its required names those that stand beside it, where it has none itself."""
    if not names or set(names) == set(schema["required"]):
        return schema
    if schema["required"]:
        raise ValueError(f'"required" is {quote(names)} beside the parameters and '
                         f'{quote(schema["required"])} in them')
    return json_schema({**schema, "required": names})


READERS: dict[str, Callable[[Any, list[str] | None], Schema]] = {
    "parameters": _either,
    **{key: _schema(key)
       for key in ("input_schema", "inputSchema", "parametersJsonSchema", "parameters_json_schema",
                   "args_schema")},
    "inputs": _by_name(lambda spec: spec.get("nullable") is not True),
    "parameter_definitions": _by_name(lambda spec: spec.get("required") is True)}
"""How the parameters under a key are read; the second argument is the tool's own "required"."""
