"""What planner, user and tool reply with: its form for servers that keep to one, and how it is read
from any reply.

The prompts are the same both ways. Without a schema models write a plan in its block, in a fence,
as a list or as bare objects; each is read where its meaning is certain, and where it is not the
reply is Unusable.
"""
from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from looptool.calling.json_in_text import read_objects, read_only_objects
from looptool.calling.untagged import text_fault
from looptool.models.structured_outputs import ANY_OBJECT, TEXT, Form, closed, one_of
from looptool.records import Call, Need, Tool

COMPLEX_FROM = 3
"""Needs of a plan from which on at least one must be complex; a dialog of one or two may be
simple."""
RESULT = Form("result", ANY_OBJECT, strict=False)
"""What a tool returns."""


class Unusable(ValueError):
    """A reply that does not hold what was asked for; its text is a short reason."""


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of a conversation, as prompts show it."""

    role: str
    content: str


def plan_form(turns: int, tools: Sequence[Tool], chat: bool) -> Form:
    """A plan of one need for each of `turns`, over these tools only."""
    names = {"type": "array", "items": one_of(*(tool.name for tool in tools))}
    of_tools = closed(kind=one_of("single-step", "multi-step", "parallel"),
                      tools=names | {"minItems": 1}, text=TEXT)
    of_none = closed(kind=one_of("chat"), tools=names | {"maxItems": 0}, text=TEXT)
    need = {"anyOf": [of_tools, of_none]} if chat else of_tools
    return Form("plan", closed(
        plan={"type": "array", "items": need, "minItems": turns, "maxItems": turns}))


def read_plan(text: str, tools: Sequence[Tool], chat: bool = True) -> list[Need]:
    """The needs of a plan: in its block, else in the only list or sequence of objects of the reply.

    Raises:
        Unusable: there is no plan, it is empty, something in it is no need, names another tool, or
            of COMPLEX_FROM or more none is complex; or one is chat where `chat` is not wanted.
    """
    needs = _needs(text)
    names = {tool.name for tool in tools}
    if any(not names.issuperset(need.tools) or bool(need.tools) != (need.kind != "chat")
           for need in needs):
        raise Unusable("wrong_tools")
    if not chat and any(need.kind == "chat" for need in needs):
        raise Unusable("chat_need")
    kinds = {need.kind for need in needs}
    if len(needs) >= COMPLEX_FROM and not kinds & {"multi-step", "parallel"}:
        raise Unusable("no_complex_need")
    return needs


def _needs(text: str) -> list[Need]:
    """Everything between the first and the last brace or bracket is needs, or one object that names
    a list of them."""
    blocks = re.findall(r"<plan>(.*?)</plan>", text, re.DOTALL)
    if blocks and not blocks[-1].strip():
        raise Unusable("no_need")
    held = re.search(r"[\[{].*[\]}]", blocks[-1] if blocks else text, re.DOTALL)
    if held is None:
        raise Unusable("bad_need" if blocks else "no_plan")
    needs = read_only_objects(held[0], Need)
    if needs is None:
        named = read_only_objects(held[0], dict[str, list[Need]])
        if named is None or len(named) > 1 or len(named[0]) != 1:
            raise Unusable("bad_need")
        [needs] = named[0].values()
    if not needs:
        raise Unusable("no_need")
    return needs


def read_text(text: str) -> str:
    """A user's message; of one written as a line of the conversation, what it says.

    Raises:
        Unusable: it is empty, or what no person says: a call, a tool's result.
    """
    lines = read_only_objects(text, Line)
    if lines is not None and len(lines) == 1 and lines[0].role == "user":
        text = lines[0].content
    if fault := text_fault(text):
        raise Unusable(fault)
    return text.strip()


def read_result(text: str, call: Call) -> dict[str, Any]:
    """A tool's result: the only JSON object in a reply.

    Raises:
        Unusable: there is none or more than one, or it is the call itself.
    """
    found = read_objects(text, dict[str, Any])
    if len(found) != 1:
        raise Unusable("no_json_object")
    if found[0] == {"name": call.name, "arguments": call.arguments}:
        raise Unusable("echo")
    return found[0]
