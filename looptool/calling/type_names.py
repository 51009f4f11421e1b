"""Type names as people write them -> JSON Schema: "str, optional", "List[int]", "Tuple[float,
float]", "int | None".

In: the text of one type, or a list of names. Out: a schema fragment, or a ValueError; an unknown
name is never guessed.
"""
from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

Schema = dict[str, Any]

JSON_TYPES = ("string", "integer", "number", "boolean", "array", "object", "null")

_NAMES = {name: json_type for json_type, names in {
    "string": "str string text", "integer": "int integer long",
    "number": "float number double numeric", "boolean": "bool boolean",
    "array": "list array sequence set tuple", "object": "dict object mapping",
    "null": "none null nonetype"}.items() for name in names.split()}
_PYTHON = {"string": str, "number": (int, float), "boolean": bool, "array": list, "object": dict,
           "null": type(None)}
_TOKEN = re.compile(r"\s*(?:(?:typing\.)?([A-Za-z_]\w*)|'([^']*)'|\"([^\"]*)\"|(\.\.\.|\S))")
_SUFFIX = re.compile(r"(?:,\s*|\s|\()optional\)?\s*$", re.IGNORECASE)
_WRAPPED = re.compile(r"\s*(?:typing\.)?optional\s*\[", re.IGNORECASE)
_LONGEST_TYPE = 400  # characters; keeps the reader's recursion shallow


def is_of_type(value: Any, json_type: str | list[str] | None) -> bool:
    """Whether a JSON value has a type of JSON Schema: True is no integer, 3.0 is one; None is any
    type."""
    if json_type is None:
        return True
    if isinstance(json_type, list):
        return any(is_of_type(value, name) for name in json_type)
    if json_type == "integer":
        return type(value) is int or type(value) is float and value.is_integer()
    return (isinstance(value, _PYTHON[json_type])
            and (type(value) is not bool or json_type == "boolean"))


def says_optional(type_text: Any) -> bool:
    """Whether a type is written as optional: "str, optional", "int (optional)", "Optional[str]"."""
    return (isinstance(type_text, str)
            and bool(_SUFFIX.search(type_text) or _WRAPPED.match(type_text)))


def read_type(written: Any) -> Schema:
    """The JSON Schema of a type as people write it: "str, optional", "List[int]", ["string",
    "null"].

    Raises:
        ValueError: the meaning is not certain; quotes what cannot be read.
    """
    if isinstance(written, list) and written and all(isinstance(name, str) for name in written):
        return _union([read_type(name) for name in written])
    if not isinstance(written, str):
        raise ValueError(f"type {quote(written)} has no certain JSON form")
    # a copy, as the cached one is every caller's
    return dict(_read_type_text(written))


@lru_cache(maxsize=4096)
def _read_type_text(text: str) -> Schema:
    bare = _SUFFIX.sub("", text) if len(text) <= _LONGEST_TYPE else ""
    tokens = list(_TOKEN.finditer(bare))
    reader = _TypeReader(tokens)
    try:
        schema = reader.union()
        if reader.position != len(tokens):
            raise LookupError
    # IndexError where the tokens end too early, KeyError for an unknown name are such, too
    except LookupError:
        raise ValueError(f"type {quote(text)} has no certain JSON form") from None
    return schema


class _TypeReader:
    """Recursive descent over the tokens of one type; LookupError where it has no certain
    meaning."""

    def __init__(self, tokens: list[re.Match]):
        self.tokens = tokens
        self.position = 0

    def take(self, sign: str) -> bool:
        """Step over a sign if it comes next."""
        found = self.position < len(self.tokens) and self.tokens[self.position][4] == sign
        self.position += found
        return found

    def union(self) -> Schema:
        """One type, or several with "|" between."""
        variants = [self.single()]
        while self.take("|"):
            variants.append(self.single())
        return _union(variants)

    def single(self) -> Schema:
        """A name with its parameters in brackets, or a bracketed list of quoted names."""
        if self.take("["):
            return _union([read_type(name) for name in self.literals()])
        name = self.tokens[self.position][1]
        if name is None:
            raise LookupError
        self.position += 1
        name = name.lower()
        if name == "literal" and self.take("["):
            return {"enum": self.literals()}
        return _generic(name, self.arguments() if self.take("[") else [])

    def literals(self) -> list[str]:
        """Quoted texts up to the closing bracket."""
        values = []
        # an empty pair of brackets is no list of names
        while not values or self.take(","):
            token = self.tokens[self.position]
            values.append(token[2] if token[2] is not None else token[3])
            self.position += 1
        if None in values or not self.take("]"):
            raise LookupError
        return values

    def arguments(self) -> list[Schema | None]:
        """Types up to the closing bracket; None for "..."."""
        types = [self.union()]
        while self.take(","):
            types.append(None if self.take("...") else self.union())
        if not self.take("]"):
            raise LookupError
        return types


def _generic(name: str, arguments: list[Schema | None]) -> Schema:
    """The schema of a type name with its parameters, which are types."""
    if name == "any" and not arguments:
        return {}
    if name == "optional" and len(arguments) == 1 or name == "union" and arguments:
        return _union([*arguments, {"type": "null"}] if name == "optional" else arguments)
    json_type = _NAMES[name]
    if not arguments:
        return {"type": json_type}
    if name == "tuple" and arguments[1:] == [None]:
        return {"type": "array", "items": arguments[0]}
    if None in arguments:
        raise LookupError(name)
    if name == "tuple":
        return {"type": "array", "prefixItems": arguments, "minItems": len(arguments),
                "maxItems": len(arguments)}
    if json_type == "array" and len(arguments) == 1:
        return {"type": "array", "items": arguments[0]} | ({"uniqueItems": True} if name == "set"
                                                           else {})
    if json_type == "object" and len(arguments) == 2 and arguments[0] in ({}, {"type": "string"}):
        return {"type": "object", "additionalProperties": arguments[1]}
    raise LookupError(name)


def _union(variants: list[Schema]) -> Schema:
    """One schema for several; a list of type names where that says it all."""
    if len(variants) == 1:
        return variants[0]
    if None in variants:
        raise LookupError("...")
    if {} in variants:
        return {}
    if all(variant.keys() == {"type"} for variant in variants):
        names = [name for variant in variants for name in
                 (variant["type"] if isinstance(variant["type"], list) else [variant["type"]])]
        return {"type": list(dict.fromkeys(names))}
    return {"anyOf": variants}


def quote(value: Any) -> str:
    """A value for an error message, at most 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
