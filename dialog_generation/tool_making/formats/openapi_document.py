"""An OpenAPI document whose references can be followed, into other files too.

In: a document and the file that it stands in. Out: nodes, each a value with the place that its own
references start from. A reference to a file is followed inside the folder that the document came
with, and never over the network.
"""
from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

import msgspec
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable

from dialog_generation.tool_making.formats.entry import Origin
from looptool.calling.type_names import quote
from looptool.yaml_documents import read_yaml

_NOWHERE = "urn:looptool:document"  # the base of a document that came without a file


class Node(NamedTuple):
    """A value inside a document."""

    value: Any
    resolver: Any
    """The `referencing` resolver that its references start from."""

    def inside(self, value: Any) -> Node:
        """A value that stands inside this one."""
        return Node(value, self.resolver)

    def children(self, key: str) -> list[Node]:
        """The items of a list.

        Raises:
            ValueError: it is no list.
        """
        value = self.value.get(key) or []
        if not isinstance(value, list):
            raise ValueError(f'"{key}" must be a list, not {quote(value)}')
        return [self.inside(child) for child in value]


class Document:
    """A document of version 2.0, 3.0 or 3.1; from 3.1 on all that stands beside a $ref counts."""

    def __init__(self, value: dict[str, Any], origin: Origin | None):
        self.value = value
        self.version = _version(value)
        self.keys = _key_parameters(value)
        uri = origin.file.resolve().as_uri() if origin else _NOWHERE
        registry = Registry(retrieve=_retriever(origin.root.resolve() if origin else None))
        self.top = Node(value, registry.with_resource(uri, Resource.opaque(value)).resolver(uri))

    def node(self, value: Any) -> Node:
        """A value of the document itself, not of a file that it refers to."""
        return self.top.inside(value)

    def resolved(self, node: Node) -> Node:
        """The JSON object that a node is or refers to, through any number of references.

        Raises:
            ValueError: there is no such object.
        """
        passed = set()
        while isinstance(node.value, dict) and isinstance(node.value.get("$ref"), str):
            if id(node.value) in passed:
                raise ValueError(f"{quote(node.value['$ref'])} refers to itself")
            passed.add(id(node.value))
            node = follow(node)
        if not isinstance(node.value, dict):
            raise ValueError(f"a JSON object is needed, not {quote(node.value)}")
        return node


def follow(node: Node) -> Node:
    """What the $ref of a node names.

    Raises:
        ValueError: nothing is there.
    """
    reference = node.value["$ref"]
    try:
        found = node.resolver.lookup(reference)
    # ValueError: an index into a list that is no number; TypeError: a step into null
    except (Unresolvable, ValueError, TypeError) as error:
        outside = isinstance(error.__cause__, Exception) and not reference.startswith("#")
        # our own reason stands two below: `referencing` wraps what a retriever raises
        why = f": {error.__cause__.__cause__ or 'no such file'}" if outside else ""
        raise ValueError(f"{quote(reference)} refers to nothing that can be read{why}") from None
    return Node(found.contents, found.resolver)


def _retriever(root: Path | None) -> Any:
    """Reads the files that references name, each once."""
    @cache
    def retrieve(uri: str) -> Resource[Any]:
        parts = urlsplit(uri)
        if root is None or parts.scheme != "file":
            raise ValueError("only files beside the document are read")
        file = Path(unquote(parts.path)).resolve()
        if not file.is_relative_to(root):
            raise ValueError("it lies outside the folder that was named")
        try:
            content = file.read_bytes()
        except OSError as error:
            raise ValueError(error.strerror) from None
        is_json = file.suffix.lower() == ".json"
        return Resource.opaque(msgspec.json.decode(content) if is_json else read_yaml(content))
    return retrieve


def _version(value: dict[str, Any]) -> tuple[int, int] | None:
    """(3, 1) of "3.1.0", of 3.1 as YAML reads it without quotes, and of "swagger": "2.0"; None of
    what is no version."""
    written = str(value.get("openapi", value.get("swagger")))
    major, dot, rest = written.partition(".")
    minor = rest.split(".")[0]
    return (int(major), int(minor)) if dot and major.isdecimal() and minor.isdecimal() else None


def _key_parameters(value: dict[str, Any]) -> set[tuple[str, str]]:
    """(name in lower case, place) of the parameters that carry the document's API keys."""
    components = value.get("components")
    schemes = (components.get("securitySchemes") if isinstance(components, dict)
               else value.get("securityDefinitions"))
    return {(str(scheme.get("name")).lower(), str(scheme.get("in")))
            for scheme in (schemes.values() if isinstance(schemes, dict) else ())
            if isinstance(scheme, dict) and scheme.get("type") == "apiKey"}
