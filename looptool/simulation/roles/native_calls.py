"""Native tool calls of the API, for the simulated assistant: it plays in text, so requests and
answers are translated.

In: a request with "tools", its history with "tool_calls" and messages of role "tool". Out: the same
chat with the tools in the system text and calls in <tool_call> blocks; and a response whose blocks
have become "tool_calls".
"""
from __future__ import annotations

import json
from typing import Any

import msgspec

from looptool.calling.reply import parse_reply
from looptool.foreign.conversations import Conversation, read_messages, read_tools
from looptool.prompts.render import render_messages, render_tools
from looptool.simulation.roles.prompt import Chat, NotUnderstood


def in_text(payload: dict[str, Any]) -> Chat:
    """The chat of a request with native tools, as this project writes it in text.

    Raises:
        NotUnderstood: the request has not the API's form.
    """
    try:
        conversation = msgspec.convert({"tools": payload["tools"], "messages": payload["messages"]},
                                       Conversation)
        tools, messages = read_tools(conversation), read_messages(conversation)
    except (msgspec.ValidationError, ValueError) as error:
        raise NotUnderstood(f"no request with tools of the API's form: {error}") from None
    system = payload["messages"][0]["content"]
    return [{"role": "system", "content": f"{system}\n<tools>\n{render_tools(tools)}\n</tools>"},
            *render_messages(messages)]


def with_native_calls(response: dict[str, Any]) -> dict[str, Any]:
    """The response with its blocks as tool_calls; one that cannot be read stays text."""
    choice = response["choices"][0]
    read = parse_reply(choice["message"]["content"])
    if not read.calls or read.faults:
        return response
    choice["finish_reason"] = "tool_calls"
    choice["message"] = {"role": "assistant", "content": read.content or None,
                         "reasoning_content": read.reasoning,
                         "tool_calls": [{"id": f"call_{index}", "type": "function", "function": {
                             "name": call.name,
                             "arguments": json.dumps(call.arguments, ensure_ascii=False)}}
                             for index, call in enumerate(read.calls)]}
    return response
