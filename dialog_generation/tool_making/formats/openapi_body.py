"""The request body of an OpenAPI operation -> one schema of type object, whose properties become
parameters.

In: the body's schema; JSON, or a form, which is an object with named fields. Out: a schema with
properties and required; the parts of an allOf are put together, and a choice between required
properties (anyOf, oneOf) is kept.
"""
from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from dialog_generation.tool_making.formats.entry import PassedOver
from dialog_generation.tool_making.formats.openapi_document import Document, Node
from dialog_generation.tool_making.formats.openapi_schema import (
    ANNOTATIONS, SchemaReader, apart_from_description, required_names)
from looptool.calling.type_names import Schema, quote
from looptool.foreign.unread_keys import count_unread, is_known

_JSON = r"application/json|application/[\w.+-]+\+json|text/json|\*/\*"
_MEDIA = [(re.compile(rf"({names})\s*(;.*)?", re.IGNORECASE), is_form) for names, is_form in (
    (_JSON, False), ("application/x-www-form-urlencoded", True), (r"multipart/form-data", True))]
"""What a body may be, the first is preferred, and whether it is a form, in which binary text is a
file."""
_UNDERSTOOD = {"type", "properties", "required", "additionalProperties", "allOf", "anyOf", "oneOf",
               "nullable", "xml", "discriminator", "readOnly", "writeOnly", "$schema", "$id",
               "$defs", "$ref", *ANNOTATIONS}
_CHOICE = {"required", "type", "title", "description"}
NO_BODY: Schema = {"type": "object", "properties": {}, "required": []}


class _Part(NamedTuple):
    """A piece of a body: itself, or a part of its allOf."""

    node: Node
    passed: frozenset[int]
    """The values that references led through on the way to it."""


def media_type(names: list[str]) -> tuple[str, bool]:
    """Which of a body's media types is read, and whether that is a form.

    Raises:
        ValueError: none of them is.
    """
    for pattern, is_form in _MEDIA:
        for name in names:
            if pattern.fullmatch(name):
                return name, is_form
    raise ValueError(f"the request body is neither JSON nor a form but {', '.join(names)}")


def request_body(reader: SchemaReader, operation: Node, passed_over: PassedOver) -> Schema:
    """What the "requestBody" of an operation adds to the parameters.

    Raises:
        ValueError: the body is no object with named properties, or too involved to stand beside
            parameters.
    """
    if operation.value.get("requestBody") is None:
        return NO_BODY
    body = reader.document.resolved(operation.inside(operation.value["requestBody"]))
    count_unread(body.value, ("content", "required", "description"), (), passed_over)
    content = body.value.get("content")
    if not isinstance(content, dict):
        raise ValueError("the request body has no content")
    if not content:
        return NO_BODY
    name, is_form = media_type(list(content))
    media = reader.document.resolved(body.inside(content[name]))
    count_unread(media.value, ("schema",), ("example", "examples", "encoding"), passed_over)
    if "schema" not in media.value:
        raise ValueError("the request body has no schema")
    return object_schema(reader, media.inside(media.value["schema"]), is_form)


def object_schema(reader: SchemaReader, node: Node, is_form: bool) -> Schema:
    """An object's properties, required names and additionalProperties, those of its allOf included.

    Raises:
        ValueError: see `request_body`.
    """
    parts = list(_parts(reader.document, node, frozenset()))
    hidden = frozenset().union(*(reader.read_only_names(part.node) for part in parts))
    result: Schema = {"type": "object", "properties": {}, "required": []}
    for part in parts:
        _add_part(reader, part, hidden, result)
    if not result["properties"] and not _is_empty(parts):
        raise ValueError("the request body has no named properties")
    for name, schema in result["properties"].items():
        if is_form and "binary" in (schema.get("format"), _items(schema).get("format")):
            raise ValueError(f"{name!r} is a file, which has no JSON form")
    return result


def _items(schema: Schema) -> Schema:
    return schema["items"] if isinstance(schema.get("items"), dict) else {}


def _is_empty(parts: list[_Part]) -> bool:
    """Whether a body says that it has no properties, not only leaves open which."""
    return any("properties" in part.node.value
               or part.node.value.get("additionalProperties") is False for part in parts
               ) and not any(part.node.value.get("additionalProperties") for part in parts)


def _parts(document: Document, node: Node, passed: frozenset[int]) -> Iterator[_Part]:
    """The schemas that must all hold for a body: its own, those of its allOf, the only variant of
    an anyOf."""
    own = document.resolved(node)
    # by identity, as equal schemas at two places are no circle
    if id(own.value) in passed:
        raise ValueError("the request body refers to itself")
    passed |= {id(own.value)}
    siblings = {key: value for key, value in node.value.items() if key != "$ref"}
    pieces = [own] + ([node.inside(siblings)]
                      if own.value is not node.value and document.version >= (3, 1) else [])
    for piece in pieces:
        _refuse_odd(piece.value)
        yield _Part(piece, passed)
        for part in piece.children("allOf"):
            yield from _parts(document, part, passed)
        for key in ("anyOf", "oneOf"):
            variants = [variant for variant in piece.children(key)
                        if variant.value != {"type": "null"}]
            if len(variants) == 1:
                yield from _parts(document, variants[0], passed)


def _refuse_odd(schema: Schema) -> None:
    kind = schema.get("type", "object")
    if kind not in ("object", ["object"], ["object", "null"], ["null", "object"]):
        raise ValueError(f"the request body is no object but {quote(kind)}")
    for key in schema:
        if key not in _UNDERSTOOD and not is_known(key, ()):
            raise ValueError(f"the request body's {key!r} cannot stand beside parameters")
    if not isinstance(schema.get("properties", {}), dict):
        raise ValueError(f'"properties" must be an object, not {quote(schema["properties"])}')


def _add_part(reader: SchemaReader, part: _Part, hidden: frozenset[str], result: Schema) -> None:
    """Adds a part's properties and rules to the body's, without what only answers have."""
    schema, properties = part.node.value, result["properties"]
    for name, written in schema.get("properties", {}).items():
        if name in hidden:
            continue
        child = reader.json_schema(part.node.inside(written), part.passed)
        if apart_from_description(properties.setdefault(name, child)) != apart_from_description(
                child):
            raise ValueError(f"two parts of the request body have a property {name!r} and differ")
    result["required"] += [name for name in required_names(schema)
                           if name not in hidden | {*result["required"]}]
    if isinstance(schema.get("additionalProperties"),
                  (dict, bool)) and "additionalProperties" not in result:
        more = part.node.inside(schema["additionalProperties"])
        result["additionalProperties"] = (more.value if isinstance(more.value, bool)
                                          else reader.json_schema(more, part.passed))
    for key in ("anyOf", "oneOf"):
        variants = [variant.value for variant in part.node.children(key)
                    if variant.value != {"type": "null"}]
        if len(variants) > 1:
            _add_choice(result, key, variants, hidden)


def _add_choice(result: Schema, key: str, variants: list[Any], hidden: frozenset[str]) -> None:
    """Adds a choice between required properties, which holds as well beside other parameters."""
    if (key in result
            or not all(isinstance(variant, dict) and isinstance(variant.get("required"), list)
                       and not variant.keys() - _CHOICE for variant in variants)):
        raise ValueError(f"the request body's {key!r} cannot stand beside parameters")
    result[key] = [{"required": [name for name in required_names(variant) if name not in hidden]}
                   for variant in variants]
