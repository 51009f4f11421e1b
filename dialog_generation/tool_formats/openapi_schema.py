"""The schemas of an OpenAPI document -> JSON Schema without references.

In: a document and a schema inside it. Out: the schema with every $ref replaced by what it names, and OpenAPI's own
words ("nullable", a true "exclusiveMinimum", "readOnly") in those of JSON Schema.
"""
from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from looptool.schema import ONE_SCHEMA, SCHEMA_LISTS, SCHEMAS_BY_NAME
from looptool.type_names import Schema, quote

_NOT_JSON_SCHEMA = ("nullable", "discriminator", "xml", "externalDocs", "example", "readOnly", "writeOnly")
_MOST_SCHEMAS = 2000  # of one operation; references can multiply without end


class Document:
    """A document whose references can be followed; `start` begins the count of one operation's schemas."""

    def __init__(self, value: Schema):
        self.value = value
        self.keys = _key_parameters(value)
        self.start()

    def start(self) -> None:
        """Count from here how many schemas one operation has."""
        self.left = _MOST_SCHEMAS

    def resolved(self, node: Any) -> Schema:
        """The JSON object that a node is or refers to, through any number of references.

        Raises:
            ValueError: there is no such object in the document.
        """
        passed = set()
        while isinstance(node, dict) and isinstance(node.get("$ref"), str):
            if node["$ref"] in passed:
                raise ValueError(f"{quote(node['$ref'])} refers to itself")
            passed.add(node["$ref"])
            node = self._at(node["$ref"])
        if not isinstance(node, dict):
            raise ValueError(f"a JSON object is needed, not {quote(node)}")
        return node

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#/"):
            raise ValueError(f"{quote(reference)} refers outside the document")
        node = self.value
        for key in unquote(reference[2:]).split("/"):
            key = key.replace("~1", "/").replace("~0", "~")
            if not isinstance(node, dict) or key not in node:
                raise ValueError(f"{quote(reference)} refers to nothing in the document")
            node = node[key]
        return node

    def json_schema(self, schema: Any, passed: tuple[str, ...] = ()) -> Schema:
        """A schema of the document as JSON Schema; `passed` are the references on the way to it.

        Raises:
            ValueError: a reference cannot be resolved or leads to itself, or the schema is too large.
        """
        self.left -= 1
        if self.left < 0:
            raise ValueError(f"more than {_MOST_SCHEMAS:,} schemas once references are resolved")
        if isinstance(schema, bool):
            return {} if schema else {"not": {}}
        if not isinstance(schema, dict):
            raise ValueError(f"a schema must be a JSON object, not {quote(schema)}")
        reference = schema.get("$ref")
        if isinstance(reference, str):
            if reference in passed:
                raise ValueError(f"{quote(reference)} refers to itself")
            beside = {key: schema[key] for key in ("description", "nullable", "default") if key in schema}
            return self.json_schema({**self.resolved({"$ref": reference}), **beside}, (*passed, reference))
        return _in_json_schema_words(self._with_children(schema, passed), schema)

    def _with_children(self, schema: Schema, passed: tuple[str, ...]) -> Schema:
        _check_kinds(schema)
        result = dict(schema)
        for key in SCHEMAS_BY_NAME:
            if key in schema:
                result[key] = {name: self.json_schema(child, passed) for name, child in schema[key].items()
                               if not (isinstance(child, dict) and child.get("readOnly") is True)}
        for key in ONE_SCHEMA:
            if isinstance(schema.get(key), dict):
                result[key] = self.json_schema(schema[key], passed)
        for key in SCHEMA_LISTS:
            if key in schema:
                result[key] = [self.json_schema(child, passed) for child in schema[key]]
        if "properties" in schema and "required" in schema:
            left_out = schema["properties"].keys() - result["properties"].keys()
            result["required"] = [name for name in schema["required"] if name not in left_out]
        return result


def _check_kinds(schema: Schema) -> None:
    for keys, kind, name in ((SCHEMAS_BY_NAME, dict, "an object"), ((*SCHEMA_LISTS, "required"), list, "a list")):
        wrong = [key for key in keys if key in schema and not isinstance(schema[key], kind)]
        if wrong:
            raise ValueError(f'"{wrong[0]}" must be {name}, not {quote(schema[wrong[0]])}')


def apart_from_description(schema: Schema) -> Schema:
    """What a schema allows, without what only people read."""
    return {key: value for key, value in schema.items() if key not in ("description", "title")}


def _in_json_schema_words(schema: Schema, written: Schema) -> Schema:
    result = {key: value for key, value in schema.items()
              if key not in _NOT_JSON_SCHEMA and not key.startswith("x-")}
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(result.get(exclusive), bool):
            is_exclusive = result.pop(exclusive)
            if is_exclusive and bound in result:
                result[exclusive] = result.pop(bound)
    return _nullable(result) if written.get("nullable") is True else result


def _nullable(schema: Schema) -> Schema:
    """The same schema, null allowed too."""
    if not isinstance(schema.get("type"), str):
        return {"anyOf": [schema, {"type": "null"}]} if schema else {}
    result = schema | {"type": [schema["type"], "null"]}
    if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
        result["enum"] = [*schema["enum"], None]
    return result


def _key_parameters(value: Schema) -> set[tuple[str, str]]:
    """(name in lower case, place) of the parameters that carry the document's API keys."""
    components = value.get("components")
    schemes = components.get("securitySchemes") if isinstance(components, dict) else None
    return {(str(scheme.get("name")).lower(), str(scheme.get("in")))
            for scheme in (schemes.values() if isinstance(schemes, dict) else ()) if isinstance(scheme, dict)
            and scheme.get("type") == "apiKey"}
