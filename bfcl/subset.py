"""The part of a benchmark that a round can afford: a fixed one, by a rule that anybody can
follow."""
from __future__ import annotations

import hashlib
from collections.abc import Sequence


def chosen(ids: Sequence[str], count: int) -> list[str]:
    """The `count` ids with the smallest sha256; all of them, as they are, for 0.

    A smaller subset is part of a larger one, and neither depends on the other entries. (v3 has one
    id twice.)
    """
    if not count:
        return list(ids)
    return sorted(set(ids), key=lambda id: hashlib.sha256(id.encode()).digest())[:count]


def scope(categories: Sequence[str], count: int) -> str:
    """How a card names it."""
    part = f"SUBSET, {count} entries of each category (smallest sha256 of the id)" if count else ""
    only = f"only {', '.join(categories)}" if categories else ""
    return "; ".join(filter(None, (part, only))) or "full"
