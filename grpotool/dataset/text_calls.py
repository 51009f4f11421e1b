"""Calls that datasets write as text -> calls, and the words beside them.

In: the text of an assistant's turn, and the names of the listed tools. Read are
- <tool_call> blocks (Hermes, Qwen), also with a list, or with a Python literal in place of JSON;
- <functioncall> {"name": ..., "arguments": '{...}'} (Glaive);
- [get_weather(city="Rome"), now()] of listed tools (ToolACE, BFCL), whose names may hold spaces;
- a JSON object or list of nothing but listed names and arguments (the released code).
What else looks like a call is refused, as it must not become a label that asks for none.
"""
from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import msgspec

from looptool.calling.reply import parse_reply
from looptool.calling.untagged import text_fault
from looptool.records import Call

_BLOCK = re.compile(r"<tool_call>(.*?)</tool_call>", re.DOTALL)
_THOUGHT = re.compile(r"\A(?:(?!<think>).)*?</think>|<think>.*?</think>", re.DOTALL)
_QUOTED = r"""'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*["]"""
_GLAIVE = "<functioncall>"
_END = re.compile(r"(?:\s|<\|endoftext\|>|<\|im_end\|>)+\Z")
_NOT_PYTHON = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def read_assistant_text(text: str, names: Collection[str]) -> tuple[str, list[Call]]:
    """The words of a turn without its thinking, and its calls.

    Raises:
        ValueError: something in it is, or may be, a call that cannot be read.
    """
    reply = parse_reply(_END.sub("", text))
    if reply.faults:
        return _read_blocks(_THOUGHT.sub("", text), reply.faults)
    if reply.calls:
        return reply.content, reply.calls
    content = reply.content
    if _GLAIVE in content:
        before, _, body = content.partition(_GLAIVE)
        return before.strip(), read_calls(body)
    calls = _read_brackets(content, names) or _read_bare(content, names)
    if calls:
        return "", calls
    if (fault := text_fault(content, names)) in ("untagged_call", "invented_turn"):
        raise ValueError(f"the text of the assistant is no answer in words but {fault}: "
                         f"{content[:80]!r}")
    return content, []


def read_calls(body: str) -> list[Call]:
    """The calls of a text that holds nothing else: an object or a list, as JSON or as a Python
    literal.

    Raises:
        ValueError: there is none, or one has no certain meaning.
    """
    value = read_value(body)
    calls = [read_call(item) for item in (value if isinstance(value, list) else [value])]
    if not calls:
        raise ValueError("an empty list of calls")
    return calls


def read_call(raw: Any) -> Call:
    """One call: {"name", "arguments"}, or the same under "function"; arguments are an object, or
    JSON text of one, which may be encoded twice.

    Arguments that are absent, null or "" are none, as servers write them.

    Raises:
        ValueError: it has no certain meaning.
    """
    if isinstance(raw, dict) and isinstance(raw.get("function"), dict):
        _refuse_keys(raw, {"function", "id", "type", "index"})
        raw = raw["function"]
    if not isinstance(raw, dict) or not isinstance(raw.get("name"), str) or not raw["name"]:
        raise ValueError(f"no call with a name: {str(raw)[:80]}")
    _refuse_keys(raw, {"name", "arguments", "parameters", "id", "type", "call_id"})
    if raw.get("arguments") is not None and raw.get("parameters") is not None:
        raise ValueError(f'a call of {raw["name"]!r} has "arguments" and "parameters"')
    arguments = raw.get("arguments") if raw.get("arguments") is not None else raw.get("parameters")
    try:
        arguments = _read_arguments(arguments)
    except ValueError as error:
        reason = f"the arguments of {raw['name']!r} are no JSON object ({error})"
        raise ValueError(reason) from None
    if not isinstance(arguments, dict):
        raise ValueError(f"the arguments of {raw['name']!r} are no JSON object but "
                         f"{str(arguments)[:80]}")
    return Call(name=raw["name"], arguments=arguments)


def _read_arguments(arguments: Any) -> Any:
    for _ in range(2):  # exports from Parquet and Glaive encode them twice
        if isinstance(arguments, str) and arguments.strip():
            arguments = read_value(arguments)
    is_blank = arguments is None or isinstance(arguments, str) and not arguments.strip()
    return {} if is_blank else arguments


def _refuse_keys(raw: dict[str, Any], read: set[str]) -> None:
    if unknown := [key for key, value in raw.items() if key not in read
                   and value not in (None, "", [], {})]:
        raise ValueError(f'the key "{unknown[0]}" of a call is not read')


def _read_blocks(text: str, faults: list[str]) -> tuple[str, list[Call]]:
    """Blocks that are not written as this project asks models to write them."""
    bodies, words = _BLOCK.findall(text), _BLOCK.sub("", text)
    if not bodies or "erased_call" in faults or "tool_call>" in words or "think>" in words:
        raise ValueError(f"a <tool_call> block that cannot be read ({faults[0]})")
    return words.strip(), [call for body in bodies for call in read_calls(body)]


def read_value(text: str) -> Any:
    """The value of a text that is JSON or a Python literal.

    Raises:
        ValueError: it is neither.
    """
    text = text.strip()
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        reason = str(error)
    try:
        return _as_json(ast.literal_eval(text))
    except _NOT_PYTHON:
        raise ValueError(f"no JSON: {reason}: {text[:80]!r}") from None


def _as_json(value: Any) -> Any:
    """A Python value as JSON has it."""
    try:
        return msgspec.json.decode(json.dumps(value, allow_nan=False))
    except msgspec.DecodeError as error:  # a lone surrogate
        raise ValueError(str(error)) from None


def _read_bare(text: str, names: Collection[str]) -> list[Call]:
    """JSON that is nothing but calls of listed tools; [] where it is something else."""
    if not text.startswith(("{", "[")):
        return []
    try:
        calls = read_calls(text)
    except ValueError:
        return []
    return calls if all(call.name in names for call in calls) else []


def _read_brackets(text: str, names: Collection[str]) -> list[Call]:
    """[name(key=value), ...] of listed tools; [] where it is something else."""
    if not (names and text.startswith("[") and text.endswith(")]")):
        return []
    # the longest first, as both f and f (x) may be names
    ordered = sorted(names, key=len, reverse=True)
    known = {f"tool_{number}_": name for number, name in enumerate(ordered)}
    standing = {name: placeholder for placeholder, name in known.items()}
    either = "|".join(map(re.escape, ordered))
    # strings first, so that a name inside of one stays as it is
    called = re.compile(rf"{_QUOTED}|(?<![\w.])({either})\s*\(", re.DOTALL)
    python = called.sub(lambda found: f"{standing[found[1]]}(" if found[1] else found[0], text)
    try:  # names may be no Python names
        items = ast.parse(python, mode="eval").body.elts
        return [Call(name=known[item.func.id], arguments=dict(_keywords(item))) for item in items]
    except (AttributeError, KeyError):  # no list of calls, or a call of no listed tool
        return []
    except _NOT_PYTHON as error:
        reason = f"calls in brackets that cannot be read ({error}): {text[:80]!r}"
        raise ValueError(reason) from None


def _keywords(call: ast.Call) -> Iterator[tuple[str, Any]]:
    if call.args:
        raise ValueError("an argument without its name")
    for keyword in call.keywords:
        yield keyword.arg, _as_json(ast.literal_eval(_Constants().visit(keyword.value)))


class _Constants(ast.NodeTransformer):
    """JSON's names of constants, as datasets mix them with Python's."""

    def visit_Name(self, node: ast.Name) -> ast.AST:
        values = {"true": True, "false": False, "null": None}
        return ast.copy_location(ast.Constant(values[node.id]), node) if node.id in values else node
