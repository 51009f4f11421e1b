"""One operation of an OpenAPI 3 or Swagger 2.0 document -> one schema of type object.

Parameters of path, query and header, the fields of a form and the properties of a JSON body stand
side by side.
"""
from __future__ import annotations

import re

from dialog_generation.tool_making.formats.entry import PassedOver
from dialog_generation.tool_making.formats.openapi_body import (
    NO_BODY, media_type, object_schema, request_body)
from dialog_generation.tool_making.formats.openapi_document import Document, Node
from dialog_generation.tool_making.formats.openapi_schema import (
    SchemaReader, apart_from_description)
from looptool.calling.type_names import Schema, quote
from looptool.foreign.unread_keys import count_unread

SWAGGER = (2, 0)
_PLACES = {3: ("path", "query", "header", "cookie"),
           2: ("path", "query", "header", "formData", "body")}
_SENT_BY_CLIENT = {"accept", "content-type", "authorization", "proxy-authorization", "x-api-key",
                   "api-key", "x-auth-token", "x-access-token"}
_READ = ("operationId", "summary", "description", "parameters", "requestBody")
_KNOWN = ("tags", "responses", "security", "servers", "callbacks", "externalDocs", "deprecated",
          "consumes", "produces", "schemes")
_READ_OF_A_PARAMETER = ("name", "in", "description", "required", "schema", "content")
_NOT_OF_A_SCHEMA = ("name", "in", "description", "required", "collectionFormat", "allowEmptyValue")
# {+path} and {path*} as in RFC 6570, too
_IN_A_PATH = re.compile(r"\{\+?([^{}]+?)[+*]?\}")


def operation_schema(document: Document, path: str, item: Node, operation: Node,
                     passed_over: PassedOver) -> Schema:
    """The parameters of an operation; `item` is its path's, whose parameters it has too.

    Raises:
        ValueError: a parameter or the body has no certain meaning.
    """
    count_unread(operation.value, _READ, _KNOWN, passed_over)
    reader = SchemaReader(document)
    declared = _declared(document, item, operation)
    lost = [name for name in _IN_A_PATH.findall(path) if (name, "path") not in declared]
    if lost:
        raise ValueError(f"the path's {lost[0]!r} is not among the parameters")
    bodies = [node for (_, where), node in declared.items() if where == "body"]
    if document.version == SWAGGER:
        body = _swagger_body(reader, operation, bodies[0], passed_over) if bodies else NO_BODY
    else:
        body = request_body(reader, operation, passed_over)
    properties: dict[str, Schema] = {}
    required: list[str] = []
    for (name, where), node in declared.items():
        if where == "body" or _is_sent_by_client(document, name, where):
            continue
        _put(properties, name, _schema_of(reader, node, passed_over))
        if where == "path" or node.value.get("required") is True:  # a path is never without
            required.append(name)
    for name, child in body["properties"].items():
        _put(properties, name, child)
    required = list(dict.fromkeys([*required, *body["required"]]))
    return reader.with_definitions({**body, "properties": properties, "required": required})


def _declared(document: Document, item: Node, operation: Node) -> dict[tuple[str, str], Node]:
    """The parameters by name and place; an operation's own stand for those of its path."""
    found: dict[tuple[str, str], Node] = {}
    for written in [*item.children("parameters"), *operation.children("parameters")]:
        node = document.resolved(written)
        name, where = node.value.get("name"), node.value.get("in")
        if not isinstance(name, str) or where not in _PLACES[document.version[0]]:
            raise ValueError(f"a parameter needs a name and a place, not {quote(node.value)}")
        found[name, where] = node
    return found


def _is_sent_by_client(document: Document, name: str, where: str) -> bool:
    return where == "cookie" or (name.lower(), where) in document.keys or (
        where == "header" and name.lower() in _SENT_BY_CLIENT)


def _schema_of(reader: SchemaReader, node: Node, passed_over: PassedOver) -> Schema:
    """A parameter's schema, with its description."""
    parameter = node.value
    if reader.document.version == SWAGGER:
        if "type" not in parameter:
            raise ValueError(f"parameter {parameter['name']!r} has no type")
        written = {key: value for key, value in parameter.items() if key not in _NOT_OF_A_SCHEMA}
        schema = reader.json_schema(node.inside(written))
    else:
        count_unread(parameter, _READ_OF_A_PARAMETER, ("example", "examples"), passed_over)
        holder = node
        if isinstance(parameter.get("content"), dict) and len(parameter["content"]) == 1:
            holder = reader.document.resolved(node.inside(*parameter["content"].values()))
        if "schema" not in holder.value:
            raise ValueError(f"parameter {parameter['name']!r} has no schema")
        schema = reader.json_schema(holder.inside(holder.value["schema"]))
    return (schema | {"description": parameter["description"]} if parameter.get("description")
            else schema)


def _swagger_body(reader: SchemaReader, operation: Node, body: Node,
                  passed_over: PassedOver) -> Schema:
    """What a parameter "in": "body" of Swagger 2.0 adds to the others."""
    count_unread(body.value, ("name", "in", "description", "required", "schema"), (), passed_over)
    consumed = operation.value.get("consumes") or reader.document.value.get("consumes")
    if isinstance(consumed, list) and consumed:
        # only to refuse what is neither JSON nor a form
        media_type([str(name) for name in consumed])
    if "schema" not in body.value:
        raise ValueError("the request body has no schema")
    return object_schema(reader, body.inside(body.value["schema"]), is_form=False)


def _put(properties: dict[str, Schema], name: str, schema: Schema) -> None:
    known = properties.setdefault(name, schema)
    if apart_from_description(known) != apart_from_description(schema):
        raise ValueError(f"two parameters are named {name!r} and differ")
