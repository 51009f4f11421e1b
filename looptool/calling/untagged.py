"""Is a reply without a <tool_call> block an answer in words, or something that only passes for one?

In: the text of a reply outside <think>, and the names of the tools listed for it. Out: "", or a
code.
- "untagged_call": a call that no parser of ours would make. An object or a list in JSON, in a fence
  or bare, that names a listed tool and has arguments; or that is exactly {"name", "arguments"},
  whatever it names, as a call of a tool that is not there is no answer either; a line of Python
  that calls a listed tool; a listed tool's name before an object (GLM-4), as a tag, or in lines of
  name and input (ReAct, YAML); the call marks of other model families, and our own tags misspelled.
  A call quoted inside a sentence is words: it stands alone if it begins or ends a line.
- "invented_turn": a tool's result or another speaker's turn, written by the model itself.
- "empty": not one letter, digit or symbol.

The paper's rule, 1 for a text label "if the answer has no call", would pay for all of these
(section 4.1).
"""
from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from typing import Any

from looptool.calling.json_in_text import find_objects

_NAMES = ("name", "function", "function_name", "tool", "tool_name", "action", "api",
          "recipient_name")
_ARGUMENTS = ("arguments", "parameters", "args", "params", "kwargs", "input", "action_input",
              "tool_input")
"""Keys under which models write a call's name and its arguments."""
_CALL_KEYS = {*_NAMES, *_ARGUMENTS, "type", "id", "call_id"}
MAX_TEXT = 10_000
"""Characters of a text that are looked at, half of them at its end; replies of a training have
1,024 tokens."""

_TAGS = re.compile(r"<(?!<)\s*/?\s*\|?\s*(?i:(?:tool|function)[\s_-]?calls?\b|function\s*=|invoke\s"
                   r"|tool_code>|\|python_tag\|)")
_MARKS = re.compile(
    r"<｜tool▁|\[TOOL_CALLS?\](?:\s*[\[{]|\w)"
    r"|^[ \t>*`]*(?:\[TOOL_CALL|\[TOOL_REQUEST\]|tool_(?:code|call)[ \t]*$|✿FUNCTION✿"
    r"|functools\[|to=functions\.)|\nAction Input:", re.MULTILINE)
"""Our own tags misspelled, and how other families of models, and frameworks, mark a call."""
_SIGNS = ("<｜tool", "[TOOL_", "tool_c", "✿", "functools[", "functions.", "Action Input")
"""One stands in each of `_MARKS`, and is found faster."""
_WORD = re.compile(r"[^\x00-/:-@\[-`{-\x7f]")
_TURN = re.compile(r"<(?!<)(?:/?tool_response\b|\|im_start\|>)")
_PYTHON = re.compile(
    r"^[ \t>*`\[(]*(?:\w+\s*=\s*)?(?:await )?(?:print\()?([\w.][\w.-]*(?: [\w.-]+){0,4})"
    r"\(\s*(?:[)\"'\[{\d]|\w+\s*=|\w+\s*:\s*[\"'\d\[{])", re.MULTILINE)
_AS_TAG = re.compile(
    r"<(?:tool|function|tool_name|function_name|name|action|api)>([^<>]*)</"
    r"|<[ \t]*([\w.-]+)(?=[\s/>])")
_LINES = re.compile(
    r"^[ \t>*`{-]*[\"']?(?:%s)[\"'*]*[ \t]*:([^\n]*)\n+[ \t>*`-]*[\"']?(?:%s)[\"'*]*[ \t]*:"
    % ("|".join(_NAMES), "arguments|args|kwargs|(?:(?:action|tool)[ _])?input"),
    re.MULTILINE | re.IGNORECASE)
"""A name's line and the line of its arguments; not "parameters", which a list of tools has."""
_BEFORE_OBJECT = re.compile(r"\{\s*[\"'}]")
_LINE_END = re.compile(r"[ \t\])}`,;.!*]*(?:\n|\Z)")
_NAMED = re.compile(r"""(?<![\w-])(?:%s)["']?\s*:\s*["']?([^"'\n,}]*)""" % "|".join(_NAMES))
_WITH_ARGUMENTS = re.compile(r"""(?<![\w-])(?:%s)["']?\s*:""" % "|".join(_ARGUMENTS))


def text_fault(text: str, tools: Collection[str] = ()) -> str:
    """The code of the first of these; "" for an answer in words.

    Args:
        tools: names of the listed tools; without any, only what is a call whatever it names is
        found.
    """
    if len(text) > MAX_TEXT:
        text = f"{text[:MAX_TEXT // 2]}\n{text[-MAX_TEXT // 2:]}"
    if _is_empty(text):
        return "empty"
    if takes_another_turn(text):
        return "invented_turn"
    return "untagged_call" if _has_untagged_call(text, tools) else ""


def _is_empty(text: str) -> bool:
    """Whether there is not one letter, digit or symbol in it; ASCII's symbols are none."""
    if text[:1].isalnum():  # as most begin
        return False
    found = _WORD.search(text)
    if found is None or found[0].isalnum():
        return found is None
    return not any(unicodedata.category(sign)[0] in "LNS" for sign in set(text[found.start():])
                   if sign.isalnum() or not sign.isascii())


def takes_another_turn(text: str) -> bool:
    """Whether a tool's result, or another speaker's turn, stands in what a model wrote."""
    return "<" in text and bool(_TURN.search(text))


def _has_untagged_call(text: str, tools: Collection[str]) -> bool:
    """Whether a call without its tags stands alone in a text."""
    if not ("<" in text or ":" in text or "(" in text or "{" in text or "[" in text or "`" in text
            or "=" in text or "✿" in text):
        return False  # as most, and each look below takes longer
    if "<" in text and (_TAGS.search(text) or _is_cut_tag(text)):
        return True
    for sign in _SIGNS:  # a loop, as any() takes twice as long
        if sign in text and _MARKS.search(text):
            return True
    # one listed name is enough to look closer, at all names
    for name in tools:
        if name in text:
            if _names_a_call(text, tools):
                return True
            break
    # a call of a tool that is not there shows by its keys only
    else:
        if '"arguments"' not in text:
            return False
    if "{" not in text:
        return False
    beside, position = [], 0
    for start, end, value in find_objects(text):
        if _is_call(value, tools) and (_begins_a_line(text, start) or _LINE_END.match(text, end)):
            return True
        # whole objects are judged; the rest may begin with one that was cut
        beside.append(text[position:start])
        position = end
    return _is_broken_call("".join([*beside, text[position:]]), tools)


def _names_a_call(text: str, tools: Collection[str]) -> bool:
    """Whether a listed name stands where a call that is no JSON object has it."""
    if "(" in text and any(name in tools for name in _PYTHON.findall(text)):
        return True
    if "<" in text and any(inside.strip() in tools or tag in tools
                           for inside, tag in _AS_TAG.findall(text)):
        return True
    if ":" in text and any(name.strip(" \t\"'`*,") in tools for name in _LINES.findall(text)):
        return True
    return "{" in text and any(_line_before(text, brace.start()) in tools
                               for brace in _BEFORE_OBJECT.finditer(text))


def _line_before(text: str, position: int) -> str:
    """What stands on the line before an object, or on the one above it, without decoration."""
    # 200 characters hold any name, and keep the time linear
    before = text[max(position - 200, 0):position].rstrip(" \t\n`:*=\"'").removesuffix("```json")
    before = before.rstrip(" \t\n`:*=\"'")
    return before[before.rfind("\n") + 1:].strip(" \t>*`[(\"'#")


def _is_cut_tag(text: str) -> bool:
    """Whether the text ends within <tool_call>."""
    start = text.rfind("<")
    # a "<" alone at the end may begin anything
    return 0 <= start < len(text) - 1 and "<tool_call>".startswith(text[start:])


def _begins_a_line(text: str, position: int) -> bool:
    # "json" is what a fence in the same line leaves
    return text[text.rfind("\n", 0, position) + 1:position].strip(" \t>*`[({,:-") in ("", "json")


def _is_call(value: Any, tools: Collection[str]) -> bool:
    if isinstance(value, list):
        return any(_is_call(item, tools) for item in value)
    if not isinstance(value, dict):
        return False
    if value.keys() == {"name", "arguments"}:
        return isinstance(value["name"], str) and isinstance(value["arguments"], (dict, str))
    arguments = [value[key] for key in _ARGUMENTS if key in value]
    if any(isinstance(name := value.get(key), str) and name in tools for key in _NAMES):
        # a tool's definition, which may be quoted, has a schema in their place
        is_definition = any(isinstance(each, dict) and isinstance(each.get("properties"), dict)
                            for each in arguments)
        return (bool(arguments) or value.keys() <= _CALL_KEYS) and not is_definition
    if len(value) == 1 and next(iter(value)) in tools:
        return isinstance(*value.values(), dict)
    return any(_is_call(child, tools) for child in value.values())


def _is_broken_call(text: str, tools: Collection[str]) -> bool:
    """Whether no whole JSON, but the beginning of a call of a listed tool, begins a line."""
    start = text.find("{")
    if start < 0 or not _begins_a_line(text, start) or not _WITH_ARGUMENTS.search(text, start):
        return False
    return any(name.strip() in tools for name in _NAMED.findall(text, start))
