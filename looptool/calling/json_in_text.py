"""JSON objects in what a model wrote, wherever they stand: behind a quoted call, in a fence, with
braces around.

In: the text of a reply, and the type of the object. Out: what fits the type. Objects are JSON, but
for raw newlines and tabs inside a string, which models write. What is no whole object is passed
over, and so is what stands in it.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_FENCE = re.compile(r"^[ \t]*```\w*[ \t]*$", re.MULTILINE)
_BRACE = re.compile(r"[{}]")
# no other brace begins JSON: text and code are full of {x} and { x
_OBJECT = re.compile(r'\{\s*["}]')
MAX_BROKEN = 100
"""Broken objects of a reply, after which no more is looked for: so the time is linear in the
text."""


def read_object(text: str, kind: type[T]) -> T | None:
    """The last whole object of this type; None where there is none."""
    found = read_objects(text, kind)
    return found[-1] if found else None


def read_objects(text: str, kind: type[T]) -> list[T]:
    """The whole objects of this type in their order; of two of which one holds the other, the outer
    one."""
    return [item for _, _, value in find_objects(text) for item in _fitting(value, kind)]


def read_only_objects(text: str, kind: type[T]) -> list[T] | None:
    """The objects of a text that holds nothing else: a line each, in a list, in a fence.

    None where there is no object, where one is not of this type, or where anything else stands
    beside them.
    """
    read: list[T] = []
    rest, position = [], 0
    for start, end, value in find_objects(text):
        fitting = _converted(value, kind)
        if fitting is None:
            return None
        read.append(fitting)
        rest.append(text[position:start])
        position = end
    beside = _FENCE.sub("", "".join([*rest, text[position:]])).strip(" \t\r\n,[]")
    return None if beside or not read else read


def find_objects(text: str) -> Iterator[tuple[int, int, Any]]:
    """(start, end, value) of each outermost object that is JSON.

    A part of a broken object is not what the model meant, so it is passed over.
    """
    closing, broken, position = _closing_braces(text), 0, 0
    while broken < MAX_BROKEN and (start := _OBJECT.search(text, position)):
        try:
            value, position = _DECODER.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            broken += 1
            # where no brace closes it, what comes after its first one may be whole
            position = closing.get(start.start(), start.start()) + 1
        else:
            yield start.start(), position, value


def _closing_braces(text: str) -> dict[int, int]:
    """Where each brace that is opened is closed, those in strings included."""
    closing, opened = {}, []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif opened:
            closing[opened.pop()] = brace.start()
    return closing


def _fitting(value: Any, kind: type[T]) -> Iterator[T]:
    fitting = _converted(value, kind) if isinstance(value, dict) else None
    if fitting is not None:
        yield fitting
    elif isinstance(value, (dict, list)) and not _is_quoted_call(value):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _fitting(child, kind)


def _is_quoted_call(value: Any) -> bool:
    """Whether it is a call, whose arguments are the tool's and nobody's answer."""
    return isinstance(value, dict) and isinstance(value.get("name"), str) and "arguments" in value


def _converted(value: Any, kind: type[T]) -> T | None:
    try:  # through text, as only msgspec's own decoder refuses a lone surrogate
        return msgspec.json.decode(json.dumps(value), type=kind)
    except (msgspec.DecodeError, RecursionError):
        return None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(strict=False, parse_constant=_refuse_constant)
