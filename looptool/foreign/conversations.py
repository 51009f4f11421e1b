"""Conversations in the form that the OpenAI API and most trainers read, one JSON object a line;
docs/formats.md shows one.

"weight": 0 on an assistant's turn, as in OpenAI's fine-tuning files, says that it is no label: it
stays in the history. Reasoning is left out unless asked for. System messages are skipped: the
system text is written anew by looptool.prompts.render. Files of others come in other forms;
grpotool/dataset/foreign_records.py makes this one of them.
"""
from __future__ import annotations

import json
from functools import lru_cache
from typing import Any, Literal

import msgspec

from looptool.foreign.error_results import reports_error
from looptool.foreign.tool_objects import read_tool
from looptool.records import Call, Dialog, Message, Tool


class Function(msgspec.Struct, kw_only=True):
    """A call as the API writes it."""

    name: str
    arguments: str
    """JSON text of an object."""


class ToolCall(msgspec.Struct, kw_only=True):
    id: str
    function: Function
    type: Literal["function"] = "function"


class Turn(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One message."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str | None = ""
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    reasoning_content: str = ""
    """What an assistant thought; written on request, never read."""
    weight: Literal[0, 1] = 1
    """0: an assistant's turn that is never a label."""
    failed: bool = False
    """A tool's turn whose source says that it is an error; its words need not."""


class Conversation(msgspec.Struct, kw_only=True):
    """One dialog as messages of the OpenAI form."""

    id: str = ""
    date: str = "unknown"
    tools: list[dict[str, Any]]
    """[{"type": "function", "function": {"name", "description", "parameters"}}]"""
    messages: list[Turn]


class StoredConversation(Conversation, kw_only=True):
    """A conversation as a file holds it, its tools not decoded: the same ones come again and
    again."""

    tools: list[msgspec.Raw]


def from_dialog(dialog: Dialog, keep_reasoning: bool = False) -> Conversation:
    """The conversation of a dialog; a suspect turn gets weight 0."""
    return Conversation(id=dialog.id, date=dialog.date,
                        messages=write_turns(dialog.messages, keep_reasoning),
                        tools=write_tools(dialog.tools))


def write_tools(tools: list[Tool]) -> list[dict[str, Any]]:
    """Tools as the API takes them."""
    return [{"type": "function", "function": {"name": tool.name, "description": tool.description,
                                              "parameters": tool.parameters}} for tool in tools]


def write_turns(messages: list[Message], keep_reasoning: bool = False) -> list[Turn]:
    """Messages as the API takes them, each call with an id made of its place."""
    turns: list[Turn] = []
    waiting: list[str] = []
    for index, message in enumerate(messages):
        if message.role == "tool":
            turns.append(Turn(role="tool", content=message.content, tool_call_id=waiting.pop(0)))
            continue
        calls = [ToolCall(id=f"call_{index}_{number}", function=Function(
            name=call.name, arguments=json.dumps(call.arguments, ensure_ascii=False)))
            for number, call in enumerate(message.calls)]
        waiting = [call.id for call in calls]
        turns.append(Turn(role=message.role, content=message.content, tool_calls=calls or None,
                          reasoning_content=message.reasoning if keep_reasoning else "",
                          weight=0 if message.suspect else 1))
    return turns


def read_tools(conversation: Conversation) -> list[Tool]:
    """The tools of a conversation.

    Raises:
        ValueError: one has no certain meaning; names it.
    """
    return [_read_stored_tool(bytes(raw)) if isinstance(raw, msgspec.Raw) else read_tool(raw)
            for raw in conversation.tools]


@lru_cache(maxsize=20_000)
def _read_stored_tool(raw: bytes) -> Tool:
    return read_tool(msgspec.json.decode(raw))


def read_messages(conversation: Conversation) -> list[Message]:
    """The messages, without system texts; results in the order of their calls, weight 0 as suspect.

    Raises:
        ValueError: arguments are no JSON object, or results do not fit the calls before them; names
            the message.
    """
    messages: list[Message] = []
    waiting: list[str] = []
    results: dict[str, Message] = {}
    last = len(conversation.messages) - 1
    for index, turn in enumerate(conversation.messages):
        role, content, calls = turn.role, turn.content or "", turn.tool_calls
        if role == "tool":
            # a result without an id is that of the first call that waits
            place = turn.tool_call_id or next((id for id in waiting if id not in results), None)
            if place not in waiting or place in results:
                raise ValueError(f"messages[{index}]: a result without its call "
                                 f"(tool_call_id {turn.tool_call_id!r})")
            results[place] = Message(role="tool", content=content,
                                     failed=turn.failed or reports_error(content))
        # results may come in any order, and are put in that of their calls when all are read
        if waiting and (role != "tool" or index == last):
            messages += [results[id] for id in waiting if id in results]
            if len(results) < len(waiting):
                raise ValueError(f"messages[{index}]: {len(waiting) - len(results)} of the calls "
                                 "before have no result")
            waiting, results = [], {}
        if role in ("user", "assistant"):
            # calls of the last message need no results: it is a label
            waiting = [call.id for call in calls] if calls else []
            messages.append(Message(
                role=role, content=content, suspect=turn.weight == 0,
                calls=[_read_call(call, index) for call in calls] if calls else []))
    return messages


_decode_arguments = msgspec.json.Decoder(dict[str, Any]).decode


def _read_call(call: ToolCall, index: int) -> Call:
    try:
        arguments = _decode_arguments(call.function.arguments)
    except (msgspec.DecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"messages[{index}]: the arguments of {call.function.name!r} are no JSON "
                         f"object ({error})"
                         ) from None
    return Call(name=call.function.name, arguments=arguments)
