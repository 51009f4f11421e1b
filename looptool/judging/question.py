"""How judge, generator and checker are asked about a sample, and how their replies are read.

The system text holds what is the same for every question about one set of tools; what is asked
stands in blocks of the user's message. A reply that cannot be read is asked for again under other
draw numbers, a few times; then there is none, and why, which is never a verdict.
"""
from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Literal, TypeVar

from looptool.models.client import Client
from looptool.models.completion import Reply
from looptool.models.sampling import Sampling
from looptool.prompts.render import (
    ChatMessage, fill, read_prompt, render_conversation, render_tools, without_turn_markers)
from looptool.records import Message, Sample

TRIES = 3
"""Draws for one question until a reply can be read."""

Unread = Literal["unreadable", "cut"]
"""Why no draw says anything: what is wrong with the last one, which may have ended at its limit of
tokens."""

Ask = Callable[[str, list[ChatMessage], int, str], Awaitable[Reply]]
"""(role, chat, draw, model) -> one reply."""
T = TypeVar("T")


def make_ask(client: Client, sampling: dict[str, Sampling]) -> Ask:
    """An `Ask` over a client, with each role's own sampling."""

    async def ask(role: str, chat: list[ChatMessage], draw: int, model: str) -> Reply:
        return await client.ask(role, chat, sampling[role], draw, model)

    return ask


def chat_about(prompt: Path, sample: Sample, **blocks: str) -> list[ChatMessage]:
    """One question about a sample: the prompt file with date and tools, then its conversation and
    `blocks`."""
    system = fill(read_prompt(prompt), date=sample.date,
                  tools=without_turn_markers(render_tools(sample.tools)))
    parts = {"conversation": render_conversation(sample.messages), **blocks}
    content = "\n\n".join(f"<{name}>\n{without_turn_markers(text)}\n</{name}>"
                          for name, text in parts.items())
    return [{"role": "system", "content": system}, {"role": "user", "content": content}]


def one_line(message: Message) -> str:
    """A message as judges see it; its reasoning is not shown."""
    return render_conversation([message])


async def ask_until_read(ask: Ask, role: str, chat: list[ChatMessage], model: str,
                         read: Callable[[str], T | None], first_draw: int = 0,
                         step: int = 1) -> tuple[T, int] | Unread:
    """What the first readable reply of TRIES draws says, and its draw number; or why none can be
    read.

    Raises:
        CallFailed: a call got no answer.
    """
    why: Unread = "unreadable"
    for draw in range(first_draw, first_draw + TRIES * step, step):
        reply = await ask(role, chat, draw, model)
        why = "cut" if reply.finish == "length" else "unreadable"
        found = None if why == "cut" else read(reply.text)
        if found is not None:
            return found, draw
    return why
