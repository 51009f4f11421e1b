"""Ids by the million: 64-bit fingerprints in sorted arrays, 8 bytes an id, 16 with a place in a file."""
from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable

NEW_IDS = 1 << 16
"""So many ids of a set are kept as Python holds them, some 100 bytes each, before they join the array."""


def fingerprint(id: str) -> int:
    """64 bits that stand for an id; two of a million ids share theirs once in thirty million runs."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")


def fingerprints(numbers: Iterable[int] = ()) -> array[int]:
    """A sequence of fingerprints, 8 bytes each."""
    return array("Q", numbers)


class IdSet:
    """A set of ids that only grows."""

    def __init__(self, ids: Iterable[str] = ()):
        self._new: set[int] = set()
        self._numbers = fingerprints()
        for id in ids:
            self.add(id)

    def __contains__(self, id: str | None) -> bool:
        if id is None:
            return False
        number = fingerprint(id)
        if number in self._new:
            return True
        at = bisect_left(self._numbers, number)
        return at < len(self._numbers) and self._numbers[at] == number

    def __len__(self) -> int:
        return len(self._numbers) + len(self._new)

    def add(self, id: str) -> None:
        if id in self:
            return
        self._new.add(fingerprint(id))
        if len(self._new) == NEW_IDS:
            self._numbers.extend(self._new)
            _sort(self._numbers)
            self._new = set()


class Places:
    """Where the line of each id stands in a file. What was added since the last `sort` is not found yet."""

    def __init__(self) -> None:
        self._numbers, self._places, self._sorted = fingerprints(), array("Q"), 0

    def __len__(self) -> int:
        return len(self._numbers)

    def add(self, number: int, place: int) -> None:
        self._numbers.append(number)
        self._places.append(place)

    def sort(self) -> None:
        _sort(self._numbers, self._places)
        self._sorted = len(self._numbers)

    def find(self, number: int) -> int | None:
        """The place that was added last for this fingerprint."""
        at = bisect_right(self._numbers, number, 0, self._sorted) - 1
        return self._places[at] if at >= 0 and self._numbers[at] == number else None


def _sort(numbers: array[int], along: array[int] | None = None) -> None:
    """Sort in place, and bring another array into the same order; equal numbers keep theirs."""
    if not numbers:
        return
    import numpy as np  # takes a tenth of a second, which an empty journal need not wait for

    view = np.frombuffer(numbers, np.uint64)
    if along is None:
        view.sort()
        return
    order = view.argsort(kind="stable")
    view[:] = view[order]
    other = np.frombuffer(along, np.uint64)
    other[:] = other[order]
