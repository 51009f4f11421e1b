"""Is this a JSON Schema of the dialect that it names? "$schema" names one; without it, draft
2020-12 counts.

A `pattern` is a regular expression of ECMA-262, which Python's `re` is not: it must be text, and is
not compiled. What it allows is checked nowhere here (see looptool.calling.schema_check).
"""
from __future__ import annotations

from typing import Any

from jsonschema import Draft202012Validator, SchemaError
from jsonschema.validators import validator_for
from referencing import Registry, Resource
from referencing.exceptions import Unresolvable
from referencing.jsonschema import specification_with

from looptool.calling.type_names import Schema, quote


def check_dialect(schema: Schema) -> None:
    """Refuse what is no JSON Schema.

    Raises:
        ValueError: the dialect is unknown, the schema is not valid in it, or a $ref in it leads
            nowhere inside it.
    """
    named = schema.get("$schema", Draft202012Validator.META_SCHEMA["$id"])
    if not isinstance(named, str) or (validator := _validator(named)) is None:
        raise ValueError(f'"$schema" names an unknown dialect: {quote(named)}')
    try:
        # without formats, as that of a pattern is checked by compiling it with Python's re
        validator.check_schema(schema, format_checker=None)
    except SchemaError as error:
        raise ValueError(f"no JSON Schema: {quote(error.message)} at {error.json_path}") from None
    specification = specification_with(validator.META_SCHEMA["$schema"])
    resource = Resource(contents=schema, specification=specification)
    uri = resource.id() or ""
    _follow_references(resource, Registry().with_resource(uri, resource).resolver(uri))


def _validator(dialect: str) -> Any:
    """The validator of a dialect, also where it is named with http for https or the other way
    round; None if unknown."""
    swapped = (dialect.replace("https:", "http:") if dialect.startswith("https:")
               else dialect.replace("http:", "https:"))
    return (validator_for({"$schema": dialect}, default=None)
            or validator_for({"$schema": swapped}, default=None))


def _follow_references(resource: Any, resolver: Any) -> None:
    reference = resource.contents.get("$ref") if isinstance(resource.contents, dict) else None
    if isinstance(reference, str):
        try:
            resolver.lookup(reference)
        # ValueError: an index into a list that is no number; TypeError: a step into null
        except (Unresolvable, ValueError, TypeError):
            raise ValueError(f"{quote(reference)} refers to nothing in the schema") from None
    for inner in resource.subresources():
        _follow_references(inner, resolver.in_subresource(inner))
