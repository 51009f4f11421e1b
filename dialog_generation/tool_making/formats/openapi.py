"""OpenAPI 3 and Swagger 2.0 documents: one tool an operation.

In: a document, {"openapi": "3.0.3", "info": {...}, "paths": {"/pets/{id}": {"get": {...}}}}, or a
record that holds one as JSON text under "Documentation", as ToolAlpaca has them. Out: tools named
by operationId, else "get /pets/{id}"; their domain is the record's Category, else the document's
title.

What is decided here
- Parameters of path, query and header and the fields of a JSON or form body stand side by side. One
  name in two of them is one parameter where both say the same, description apart; else the
  operation is refused.
- What a client sends by itself is left out: cookies, authentication, Accept and Content-Type.
- The required properties of a body are required, also where the body as a whole may be left out.
- A $ref is resolved, in files beside the document too; what refers to itself is kept under "$defs".
- Files have no JSON form: an operation that uploads one is refused.
"""
from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

from dialog_generation.tool_making.formats.entry import Entry, Origin, PassedOver, beside, refused
from dialog_generation.tool_making.formats.openapi_document import Document, Node
from dialog_generation.tool_making.formats.openapi_operation import SWAGGER, operation_schema
from looptool.calling.type_names import quote
from looptool.foreign.unread_keys import is_known

_METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace", "query")
_READ = ("openapi", "swagger", "info", "paths", "components", "definitions", "parameters",
         "securityDefinitions")
_KNOWN = ("consumes", "externalDocs", "produces", "responses", "schemes", "security", "servers",
          "tags", "webhooks")
_READ_OF_A_PATH = (*_METHODS, "parameters", "$ref")


def claims(value: Any) -> bool:
    """Whether this is an OpenAPI document of any version, or a record that holds one."""
    # a tool may have a key "openapi" beside its name
    return isinstance(value, dict) and "name" not in value and (
        "openapi" in value or "swagger" in value or isinstance(value.get("Documentation"), str))


def entries(place: str, value: Any, origin: Origin | None,
            passed_over: PassedOver) -> Iterator[Entry]:
    category = value.get("Category")
    if "Documentation" in value:
        try:
            value = json.loads(value["Documentation"])
        except (ValueError, RecursionError):
            yield refused(f"{place}.Documentation", value, '"Documentation" is no JSON text')
            return
    document = Document(value, origin) if isinstance(value, dict) else None
    if (document is None or document.version is None or document.version != SWAGGER
            and document.version[0] != 3):
        version = document and (value.get("openapi") or value.get("swagger"))
        yield refused(place, value,
                      f"an OpenAPI document of version 3 or 2.0 is needed, not {quote(version)}")
        return
    if not isinstance(value.get("paths"), dict):
        yield refused(place, value, "the OpenAPI document has no paths")
        return
    title = value["info"].get("title") if isinstance(value.get("info"), dict) else None
    for path, item in value["paths"].items():
        if not path.startswith("x-"):
            yield from _operations(document, place, path, document.node(item), category or title,
                                   passed_over)
    others = {key: other for key, other in value.items() if key not in _READ}
    yield from beside(place, others, _KNOWN, passed_over)


def _operations(document: Document, place: str, path: str, item: Node, domain: Any,
                passed_over: PassedOver) -> Iterator[Entry]:
    """The operations of one path."""
    try:
        # a path's item may be a $ref as a whole
        own, item = item, document.resolved(item)
    except ValueError as error:
        yield refused(f"{place} {path}", item.value, str(error))
        return
    if own.value is not item.value and set(own.value) & set(_METHODS):
        yield refused(f"{place} {path}", own.value,
                      "operations beside a $ref of their path are not read")
    for method in (method for method in _METHODS if method in item.value):
        convert = partial(_tool, document, item, path, method, domain)
        yield Entry(f"{place} {method} {path}", item.value[method], convert)
    for key, other in item.value.items():
        if (key not in _READ_OF_A_PATH and not is_known(key, ("servers",))
                and isinstance(other, (dict, list))):
            yield refused(f"{place} {key} {path}", other, f'the key "{key}" of a path is not read')


def _tool(document: Document, item: Node, path: str, method: str, domain: Any, operation: Any,
          passed_over: PassedOver) -> dict[str, Any]:
    """One operation of a path's item."""
    if not isinstance(operation, dict):
        raise ValueError(f"an operation is a JSON object, not {quote(operation)}")
    node = document.resolved(item.inside(operation))
    name = node.value.get("operationId", f"{method} {path}")
    try:
        parameters = operation_schema(document, path, item, node, passed_over)
    except ValueError as error:
        raise ValueError(f"operation {name!r}: {error}") from None
    return {"name": name, "description": node.value.get("description") or node.value.get("summary"),
            "parameters": parameters, "domain": domain}
