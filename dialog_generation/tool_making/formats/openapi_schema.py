"""The schemas of an OpenAPI document -> JSON Schema that needs no document.

In: a schema inside a document. Out: the schema with every $ref replaced by what it names, and
OpenAPI's own words ("nullable", a true "exclusiveMinimum", "readOnly") in those of JSON Schema.
What refers to itself stands under "$defs".
"""
from __future__ import annotations

import re
from typing import Any

from dialog_generation.tool_making.formats.openapi_document import Document, Node, follow
from looptool.calling.type_names import Schema, quote
from looptool.foreign.parameters import ONE_SCHEMA, SCHEMAS_BY_NAME, SCHEMA_LISTS

ANNOTATIONS = ("title", "description", "default", "example", "examples", "deprecated",
               "externalDocs")
_DEFINITIONS = ("$defs", "definitions")  # reached by references, and so not needed
_LEFT_OUT = ("nullable", "x-nullable", "discriminator", "xml", "externalDocs", "example",
             "readOnly", "writeOnly", "$id", "$anchor", "$schema", *_DEFINITIONS)
# before OpenAPI 3.1, where all siblings count
_BESIDE_A_REFERENCE = ("description", "nullable", "default")
_MOST_SCHEMAS = 2000  # of one operation; references can multiply without end
_NOTHING: frozenset[Any] = frozenset()


class SchemaReader:
    """Reads the schemas of one operation."""

    def __init__(self, document: Document):
        self.document = document
        self.left = _MOST_SCHEMAS
        self.recursive: dict[int, tuple[str, Node]] = {}
        """Name under "$defs" and node of what refers to itself, by the identity of its value."""

    def json_schema(self, node: Node, passed: frozenset[int] = _NOTHING,
                    hidden: frozenset[str] = _NOTHING) -> Schema:
        """A schema of the document as JSON Schema.

        Args:
            passed: the values that references led through on the way to it.
            hidden: properties that a schema around it has as read-only.

        Raises:
            ValueError: a reference cannot be resolved, or the schema is too large.
        """
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {_MOST_SCHEMAS:,} schemas once references are resolved")
        if isinstance(node.value, bool):
            return {} if node.value else {"not": {}}
        if not isinstance(node.value, dict):
            raise ValueError(f"a schema must be a JSON object, not {quote(node.value)}")
        if isinstance(node.value.get("$ref"), str):
            return self._referred(node, passed, hidden)
        return _in_json_schema_words(self._with_children(node, passed, hidden), node.value)

    def with_definitions(self, schema: Schema) -> Schema:
        """The schema of an operation with what its references to "$defs" need."""
        definitions: Schema = {}
        # reading one can find more that refer to themselves
        while len(definitions) < len(self.recursive):
            for name, node in list(self.recursive.values())[len(definitions):]:
                definitions[name] = self.json_schema(node, frozenset({id(node.value)}))
        return {**schema, "$defs": definitions} if definitions else schema

    def read_only_names(self, node: Node, seen: frozenset[int] = _NOTHING) -> frozenset[str]:
        """The properties of a schema, its allOf included, that only answers have."""
        node = self.document.resolved(node) if isinstance(node.value, dict) else node
        if not isinstance(node.value, dict) or id(node.value) in seen:
            return _NOTHING
        properties, parts = node.value.get("properties"), node.value.get("allOf")
        names = frozenset(name
                          for name, child
                          in (properties.items() if isinstance(properties, dict) else ())
                          if self.is_read_only(node.inside(child)))
        return names.union(*(self.read_only_names(node.inside(part), seen | {id(node.value)})
                             for part in (parts if isinstance(parts, list) else ())))

    def is_read_only(self, node: Node, seen: frozenset[int] = _NOTHING) -> bool:
        """Whether a property is only in answers, however that is said: behind a reference, in a
        part of its allOf."""
        value = node.value
        if not isinstance(value, dict) or id(value) in seen:
            return False
        if value.get("readOnly") is True:
            return True
        if isinstance(value.get("$ref"), str):
            return self.is_read_only(follow(node), seen | {id(value)})
        parts = value.get("allOf")
        return (isinstance(parts, list)
                and any(self.is_read_only(node.inside(part), seen | {id(value)}) for part in parts))

    def _referred(self, node: Node, passed: frozenset[int], hidden: frozenset[str]) -> Schema:
        target = follow(node)
        if id(target.value) in passed:
            # an alias: what it stands for gets the name, and a circle of aliases is an error
            target = self.document.resolved(target)
        if id(target.value) in passed or id(target.value) in self.recursive:
            schema = {"$ref": f"#/$defs/{self._name(target, node.value['$ref'])}"}
        else:
            schema = self.json_schema(target, passed | {id(target.value)}, hidden)
        all_count = self.document.version >= (3, 1)
        beside = {key: value for key, value in node.value.items() if key != "$ref" and (
            all_count or key in _BESIDE_A_REFERENCE)}
        if not beside.keys() - {*ANNOTATIONS, "nullable", "readOnly", "writeOnly"}:
            own = _in_json_schema_words(beside, {})
            return (_nullable(schema) if beside.get("nullable") is True else schema) | own
        own = self.json_schema(node.inside(beside), passed, hidden)
        return {**own, "allOf": [schema, *own.get("allOf", [])]}

    def _name(self, target: Node, reference: str) -> str:
        """The name of what refers to itself, under "$defs"."""
        if id(target.value) not in self.recursive:
            name = re.sub(r"[^\w.-]", "_", reference.rpartition("/")[2]) or "schema"
            taken = {name for name, _ in self.recursive.values()}
            while name in taken:
                name += "_"
            self.recursive[id(target.value)] = name, target
        return self.recursive[id(target.value)][0]

    def _with_children(self, node: Node, passed: frozenset[int], hidden: frozenset[str]) -> Schema:
        schema = node.value
        _check_kinds(schema)
        hidden = hidden | self.read_only_names(node)

        def converted(child: Any, inherited: frozenset[str] = _NOTHING) -> Schema:
            return self.json_schema(node.inside(child), passed, inherited)

        result = {key: value for key, value in schema.items() if key not in _DEFINITIONS}
        # in this order and no set's, as the first to refer to itself gets the shorter name
        for key in filter(result.keys().__contains__, SCHEMAS_BY_NAME):
            result[key] = {name: converted(child) for name, child in schema[key].items()
                           if key != "properties" or name not in hidden}
        for key in ONE_SCHEMA:
            if isinstance(schema.get(key), dict):
                result[key] = converted(schema[key])
        for key in SCHEMA_LISTS:
            if isinstance(schema.get(key), list):
                # a property is read-only in all parts of its own schema, not in those of an item
                result[key] = [converted(child, hidden if key.endswith("Of") else _NOTHING)
                               for child in schema[key]]
        if "required" in schema:
            result["required"] = [name for name in required_names(schema) if name not in hidden]
        return result


def _check_kinds(schema: Schema) -> None:
    if dynamic := schema.keys() & {"$dynamicRef", "$recursiveRef"}:
        raise ValueError(f'"{min(dynamic)}" is not followed')
    lists = [key for key in SCHEMA_LISTS if key != "items"]
    for keys, kind, name in ((SCHEMAS_BY_NAME, dict, "an object"), (lists, list, "a list")):
        wrong = [key for key in keys if key in schema and not isinstance(schema[key], kind)]
        if wrong:
            raise ValueError(f'"{wrong[0]}" must be {name}, not {quote(schema[wrong[0]])}')


def required_names(schema: Schema) -> list[str]:
    """What a schema requires.

    Raises:
        ValueError: that is no list of names.
    """
    names = schema.get("required", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f'"required" must be a list of names, not {quote(names)}')
    return names


def apart_from_description(schema: Schema) -> Schema:
    """What a schema allows, without what only people read."""
    return {key: value for key, value in schema.items() if key not in ("description", "title")}


def _in_json_schema_words(schema: Schema, written: Schema) -> Schema:
    result = {key: value for key, value in schema.items()
              if key not in _LEFT_OUT and not key.startswith("x-")}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(result.get(exclusive), bool):
            is_exclusive = result.pop(exclusive)
            if is_exclusive and bound in result:
                result[exclusive] = result.pop(bound)
    return _nullable(result) if True in (written.get("nullable"),
                                         written.get("x-nullable")) else result


def _nullable(schema: Schema) -> Schema:
    """The same schema, null allowed too."""
    if not isinstance(schema.get("type"), str):
        # {} takes null already
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    result = schema | {"type": [schema["type"], "null"]}
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        result["enum"] = [*schema["enum"], None]
    return result
