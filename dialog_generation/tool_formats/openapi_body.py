"""The JSON request body of an OpenAPI operation -> one schema of type object, whose properties become parameters.

In: the operation's "requestBody". Out: a schema with properties and required; the parts of an allOf are put together.
"""
from __future__ import annotations

import re
from typing import Any

from dialog_generation.tool_formats.openapi_schema import Document, apart_from_description
from looptool.type_names import Schema, quote

_JSON = re.compile(r"(application/json|application/[\w.+-]+\+json|\*/\*)\s*(;.*)?", re.IGNORECASE)
_UNDERSTOOD = {"type", "properties", "required", "additionalProperties", "allOf", "title", "description", "default",
               "examples", "deprecated"}


def body_schema(document: Document, body: Any) -> Schema:
    """What a request body adds to the parameters; nothing where there is no body.

    Raises:
        ValueError: the body is not JSON, no object with named properties, or too involved to stand beside parameters.
    """
    if body is None:
        return {"type": "object", "properties": {}, "required": []}
    content = document.resolved(body).get("content")
    if not isinstance(content, dict):
        raise ValueError("the request body has no content")
    media = next((name for name in content if _JSON.fullmatch(name)), None)
    if media is None:
        raise ValueError(f"the request body is not JSON but {', '.join(content) or 'nothing'}")
    if "schema" not in document.resolved(content[media]):
        raise ValueError("the request body has no schema")
    schema = _object(document.json_schema(content[media]["schema"]))
    if not schema["properties"]:
        raise ValueError("the request body has no named properties")
    return schema


def _object(schema: Schema) -> Schema:
    """An object's properties, required names and additionalProperties, those of its allOf included."""
    if schema.get("type", "object") != "object":
        raise ValueError(f"the request body is no object but {quote(schema['type'])}")
    odd = [key for key in schema if key not in _UNDERSTOOD]
    if odd:
        raise ValueError(f"the request body's {odd[0]!r} cannot stand beside parameters")
    own = {"type": "object", "properties": schema.get("properties", {}), "required": schema.get("required", [])}
    if "additionalProperties" in schema:
        own["additionalProperties"] = schema["additionalProperties"]
    for part in (_object(part) for part in schema.get("allOf", [])):
        for name, child in part["properties"].items():
            if apart_from_description(own["properties"].setdefault(name, child)) != apart_from_description(child):
                raise ValueError(f"two parts of the request body have a property {name!r} and differ")
        own = {**part, **own, "required": [*own["required"], *part["required"]]}
    return own
