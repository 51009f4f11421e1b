"""Structured replies of the simulated teacher: it plays in text, so what it wrote is put into the
form asked for.

In: a response, and the request's "response_format". Out: the response with one JSON object, its
thinking in its own field, as of a server with a reasoning parser. A text that holds no whole reply
becomes a cut one: such a server writes no other.
"""
from __future__ import annotations

from typing import Any

import msgspec

from looptool.calling.reply import split_reasoning
from looptool.simulation.roles.prompt import NotUnderstood, Prompt, block_of


def in_form(response: dict[str, Any], response_format: dict[str, Any]) -> dict[str, Any]:
    """The response in the form asked for.

    Raises:
        NotUnderstood: another form than a JSON schema.
    """
    try:
        wanted = response_format["json_schema"]
        name, schema = wanted["name"], wanted["schema"]
    except (KeyError, TypeError):
        raise NotUnderstood("response_format is no json_schema with name and schema") from None
    choice = response["choices"][0]
    text, reasoning = split_reasoning(choice["message"]["content"])
    try:
        text = msgspec.json.encode(_WAYS.get(name, _object)(text, schema)).decode()
    except (msgspec.DecodeError, TypeError):  # half an object, or no block
        choice["finish_reason"] = "length"
    choice["message"] = {"role": "assistant", "content": text, "reasoning_content": reasoning}
    return response


def greet(prompt: Prompt) -> str:
    """What a client asks to see whether a reply keeps to its schema."""
    return "Hello."


FORM_ROLES = {"probe": greet}


def _object(text: str | None, schema: dict[str, Any]) -> Any:
    return msgspec.json.decode(text)


def _plan(text: str, schema: dict[str, Any]) -> Any:
    return {"plan": _lines(block_of(text, "plan"))}


def _example(text: str, schema: dict[str, Any]) -> Any:
    return {"conversation": _lines(block_of(text, "conversation")),
            "answer": _object(block_of(text, "answer"), schema)}


def _tool(text: str, schema: dict[str, Any]) -> Any:
    return _object(block_of(text, "tool"), schema)


def _probe(text: str, schema: dict[str, Any]) -> Any:
    return {key: value["enum"][0] for key, value in schema["properties"].items()}


def _lines(text: str | None) -> list[Any]:
    return [msgspec.json.decode(line) for line in str.splitlines(text)]


_WAYS = {"plan": _plan, "example": _example, "tool": _tool, "probe": _probe}
"""By the name of the form; others are JSON in the text already."""
