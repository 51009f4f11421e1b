"""The keys of a foreign record that its reader does not read: counted by name, or a reason to
refuse the record.

In: a record of others, and the keys that mean something here. Out: counts by name. A key that can
hold meaning, as its value is a filled object or list, refuses the record unless the reader knows
that it says nothing of what is read.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import Any

from looptool.calling.type_names import quote


def count_unread(record: dict[str, Any], read: Collection[str], known: Collection[str],
                 counts: Counter[str]) -> None:
    """Count each key of `record` that is not in `read`.

    Args:
        known: keys whose value may be anything, as it is known to say nothing of what is read; so
            are "x-..." and "_...".

    Raises:
        ValueError: a key holds an object or a list, and is neither read nor known; names it.
    """
    for key, value in record.items():
        if key in read:
            continue
        if value and isinstance(value, (dict, list)) and not is_known(key, known):
            raise ValueError(f'the key "{key}" is not read: {quote(value)}')
        counts[key] += 1


def is_known(key: str, known: Collection[str]) -> bool:
    """Whether a key may be passed over whatever it holds."""
    return key in known or key.startswith(("x-", "X-", "_"))
