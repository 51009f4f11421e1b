"""OpenAPI 3 documents: one tool an operation.

In: a document, {"openapi": "3.0.3", "info": {...}, "paths": {"/pets/{id}": {"get": {...}}}}, or a record that holds
one as JSON text under "Documentation", as ToolAlpaca has them. Out: tools named by operationId, else "get /pets/{id}";
their domain is the record's Category, else the document's title.

What is decided here
- Parameters of path, query and header and the properties of a JSON request body stand side by side. One name in two of
  them is one parameter where both say the same, description apart; else the operation is refused.
- What a client sends by itself is left out: cookies, authentication, Accept and Content-Type.
- The required properties of a body are required, also where the body as a whole may be left out.
- A $ref is resolved inside the document; one that leaves it, or that leads to itself, is refused.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from dialog_generation.tool_formats.entry import Entry
from dialog_generation.tool_formats.openapi_body import body_schema
from dialog_generation.tool_formats.openapi_schema import Document, apart_from_description
from looptool.type_names import Schema, quote

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")
_PLACES = ("path", "query", "header", "cookie")
_SENT_BY_CLIENT = {"accept", "content-type", "authorization", "proxy-authorization", "x-api-key", "api-key",
                   "x-auth-token", "x-access-token"}


def claims(value: Any) -> bool:
    """Whether this is an OpenAPI document of any version, or a record that holds one."""
    return isinstance(value, dict) and "name" not in value and (
        "openapi" in value or "swagger" in value or isinstance(value.get("Documentation"), str))


def entries(place: str, value: Any) -> Iterator[Entry]:
    category = value.get("Category")
    if "Documentation" in value:
        try:
            value = json.loads(value["Documentation"])
        except (ValueError, RecursionError):
            yield Entry(f"{place}.Documentation", value, partial(_refuse, '"Documentation" is no JSON text'))
            return
    version = isinstance(value, dict) and (value.get("openapi") or value.get("swagger"))
    if not isinstance(version, str) or not version.startswith("3."):
        yield Entry(place, value, partial(_refuse, f"an OpenAPI document of version 3 is needed, not {quote(version)}"))
        return
    if not isinstance(value.get("paths"), dict):
        yield Entry(place, value, partial(_refuse, "the OpenAPI document has no paths"))
        return
    document = Document(value)
    title = value["info"].get("title") if isinstance(value.get("info"), dict) else None
    for path, item in value["paths"].items():
        if path.startswith("x-"):
            continue
        try:
            item = document.resolved(item)
        except ValueError as error:
            yield Entry(f"{place} {path}", item, partial(_refuse, str(error)))
            continue
        for method in (method for method in _METHODS if method in item):
            yield Entry(f"{place} {method} {path}", item[method],
                        partial(_tool, document, item, f"{method} {path}", category or title))


def _refuse(reason: str, record: Any) -> Any:
    raise ValueError(reason)


def _tool(document: Document, item: Schema, method_and_path: str, domain: Any, operation: Any) -> dict[str, Any]:
    """One operation of a path's item.

    Raises:
        ValueError: a parameter or the body has no certain meaning.
    """
    if not isinstance(operation, dict):
        raise ValueError(f"an operation is a JSON object, not {quote(operation)}")
    name = operation.get("operationId", method_and_path)
    try:
        document.start()
        tool_schema = _with_parameters(document, item, operation, body_schema(document, operation.get("requestBody")))
    except ValueError as error:
        raise ValueError(f"operation {name!r}: {error}") from None
    return {"name": name, "description": operation.get("description") or operation.get("summary"),
            "parameters": tool_schema, "domain": domain}


def _with_parameters(document: Document, item: Schema, operation: Schema, schema: Schema) -> Schema:
    """The operation's own parameters and those of its path, ahead of the properties of its body."""
    declared: dict[tuple[str, str], Schema] = {}
    for parameter in [*_list(item, "parameters"), *_list(operation, "parameters")]:
        parameter = document.resolved(parameter)
        if not isinstance(parameter.get("name"), str) or parameter.get("in") not in _PLACES:
            raise ValueError(f"a parameter needs a name and a place, not {quote(parameter)}")
        declared[parameter["name"], parameter["in"]] = parameter
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for (name, where), parameter in declared.items():
        if not _is_sent_by_client(document, name, where):
            _put(properties, name, _schema_of(document, parameter))
            if parameter.get("required") is True:
                required.append(name)
    for name, child in schema["properties"].items():
        _put(properties, name, child)
    required += schema["required"]
    return {**schema, "properties": properties, "required": list(dict.fromkeys(required))}


def _list(holder: Schema, key: str) -> list[Any]:
    value = holder.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f'"{key}" must be a list, not {quote(value)}')
    return value


def _is_sent_by_client(document: Document, name: str, where: str) -> bool:
    return where == "cookie" or (name.lower(), where) in document.keys or (
        where == "header" and name.lower() in _SENT_BY_CLIENT)


def _schema_of(document: Document, parameter: Schema) -> Schema:
    """A parameter's schema, with its description."""
    holder = parameter
    if isinstance(parameter.get("content"), dict) and len(parameter["content"]) == 1:
        holder = document.resolved(*parameter["content"].values())
    if "schema" not in holder:
        raise ValueError(f"parameter {parameter['name']!r} has no schema")
    schema = document.json_schema(holder["schema"])
    return schema | {"description": parameter["description"]} if parameter.get("description") else schema


def _put(properties: dict[str, Schema], name: str, schema: Schema) -> None:
    known = properties.setdefault(name, schema)
    if apart_from_description(known) != apart_from_description(schema):
        raise ValueError(f"two parameters are named {name!r} and differ")
