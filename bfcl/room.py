"""How long a reply may be where the server's context is too short for the prompt and the whole of it."""
from __future__ import annotations

from collections.abc import Iterator

SHORTEST_REPLY = 128
"""Tokens; a prompt that leaves less room than this in the context is not asked."""


def rooms(max_tokens: int) -> Iterator[int]:
    """Tokens to ask for: all of them, then a quarter of it again and again, down to SHORTEST_REPLY."""
    room = max_tokens
    while room >= min(SHORTEST_REPLY, max_tokens):
        yield room
        room //= 4
