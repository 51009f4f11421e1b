"""Ids come from content, never from the clock, so that the same input gives the same file."""
from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Generic

import msgspec

from looptool.json_lines import R
from looptool.records import Message, Tool


def content_id(*parts: Any) -> str:
    """16 hex digits that depend on the content of `parts` only, the order of dictionary keys
    apart."""
    encoded = msgspec.json.encode(parts, order="sorted")
    return hashlib.sha256(encoded).hexdigest()[:16]


def sample_id(tools: list[Tool], date: str, messages: list[Message], label: Message) -> str:
    """The id of a Sample with this content; reasoning does not count."""
    ids = SampleIds(tools, date)
    ids.add(messages)
    return ids.id(label)


class SampleIds:
    """`sample_id` at the steps of a growing context, each message being encoded once."""

    def __init__(self, tools: list[Tool], date: str):
        # content_id of (names, schemas, date, messages, answer), a piece at a time
        names, schemas = (b",".join(parts)
                          for parts in zip(*map(_encoded_tool, tools))) if tools else (b"", b"")
        self._hash = hashlib.sha256(
            b"[[%b],[%b],%b,[" % (names, schemas, msgspec.json.encode(date)))
        self._between = b""

    def add(self, messages: list[Message]) -> None:
        """The context grows by these messages."""
        if messages:
            content = _encode_sorted(
                [(message.role, message.content, message.calls) for message in messages])
            self._hash.update(self._between + content[1:-1])
            self._between = b","

    def id(self, label: Message) -> str:
        """The id of the sample with the context so far."""
        # words beside calls are not compared, so they make no other sample
        answer = {"calls": label.calls, "content": "" if label.calls else label.content}
        whole = self._hash.copy()
        whole.update(b"],%b]" % _encode_sorted(answer))
        return whole.hexdigest()[:16]


_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class OfTool(Generic[R]):
    """A function of a tool that remembers its answers by the tool's identity; a tool holds
    dictionaries, so it has no hash."""

    def __init__(self, function: Callable[[Tool], R]):
        self._function = function
        self._known: dict[int, tuple[Tool, R]] = {}  # a tool that is held here keeps its id

    def __call__(self, tool: Tool) -> R:
        known = self._known.get(id(tool))
        if known is None:
            if len(self._known) >= 20_000:
                self._known.clear()
            known = self._known[id(tool)] = tool, self._function(tool)
        return known[1]


_encoded_tool = OfTool(lambda tool: (msgspec.json.encode(tool.name),
                                     msgspec.json.encode(tool.parameters, order="sorted")))
