"""Calls <-> the form in which ACEBench writes them, `[Api(key='value'), Other(n=3)]`, which its
code reads as Python.

Nothing of it is evaluated here: only literals are read, and what does not read back as the same
calls is not written.
"""
from __future__ import annotations

import ast
from typing import Any

from looptool.calling.match import same_value
from looptool.records import Call

# in conversations of the benchmark, whose values are often JSON
_WORDS = {"true": True, "false": False, "null": None}


def write_brackets(calls: list[Call]) -> str | None:
    """The calls of one answer; None where this form cannot express them, such as a parameter named
    "from" or "a b"."""
    try:
        text = "[" + ", ".join(map(_write_call, calls)) + "]"
    # an integer of more digits than Python writes, a value nested too deeply
    except (ValueError, RecursionError):
        return None
    back = read_brackets(text)
    if back is None or len(back) != len(calls):
        return None
    same = all(ours.name == theirs.name and same_value(ours.arguments, theirs.arguments)
               for ours, theirs in zip(calls, back, strict=True))
    return text if same else None


def _write_call(call: Call) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in call.arguments.items())
    return f"{call.name}({arguments})"


def read_brackets(text: str) -> list[Call] | None:
    """The calls of a text in this form; None for any other text, and for values that are no
    literals."""
    try:
        body = ast.parse(text.strip(), mode="eval").body
        if not isinstance(body, ast.List) or not body.elts:
            return None
        return [_read_call(node) for node in body.elts]
    # all that ast.literal_eval raises on malformed text, by Python's manual
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None


def _read_call(node: ast.expr) -> Call:
    if (not isinstance(node, ast.Call) or node.args
            or any(keyword.arg is None for keyword in node.keywords)):
        raise ValueError
    arguments = {keyword.arg: _read_value(keyword.value) for keyword in node.keywords}
    return Call(name=_read_name(node.func), arguments=arguments)


def _read_name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_read_name(node.value)}.{node.attr}"
    if not isinstance(node, ast.Name):
        raise ValueError
    return node.id


def _read_value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name):
        if node.id not in _WORDS:
            raise ValueError
        return _WORDS[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_read_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        return {_read_key(key): _read_value(value)
                for key, value in zip(node.keys, node.values, strict=True)}
    return ast.literal_eval(node)


def _read_key(node: ast.expr | None) -> str:
    if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
        raise ValueError
    return node.value
