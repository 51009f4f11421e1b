"""Ids by the million: 64-bit fingerprints in sorted arrays, 8 bytes an id, 16 with a place in a
file."""
from __future__ import annotations

import hashlib
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from itertools import chain
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

NEW_IDS = 1 << 16
"""So many ids of a set are kept as Python holds them, some 100 bytes each, before they join the
array."""


def fingerprint(id: str) -> int:
    """64 bits that stand for an id; two of a million ids share theirs once in thirty million
    runs."""
    return int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest(), "little")


def reordered(numbers: NDArray[np.uint64], key: str) -> NDArray[np.uint64]:
    """Other numbers for the fingerprints, by which they are in a random order that depends on them
    and the key only; the finalizer of MurmurHash3."""
    import numpy as np

    mixed = numbers ^ np.uint64(fingerprint(key))
    for factor in (0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53):
        # numpy's unsigned integers wrap around in silence, as this wants
        mixed = (mixed ^ mixed >> np.uint64(33)) * np.uint64(factor)
    return mixed ^ mixed >> np.uint64(33)


class IdSet:
    """A set of ids that only grows."""

    def __init__(self, ids: Iterable[str] = ()):
        self._new: set[int] = set()
        self._numbers = array("Q")
        self._join(map(fingerprint, ids))

    def __contains__(self, id: str | None) -> bool:
        return id is not None and self._has(fingerprint(id))

    def __len__(self) -> int:
        return len(self._numbers) + len(self._new)

    def add(self, id: str) -> bool:
        """Whether it was not in the set yet."""
        number = fingerprint(id)
        if self._has(number):
            return False
        self._new.add(number)
        if len(self._new) == NEW_IDS:
            self._join(())
        return True

    def update(self, other: IdSet) -> None:
        """Add all ids of another set."""
        self._join(chain(other._numbers, other._new))

    def _join(self, numbers: Iterable[int]) -> None:
        """Bring these and the new ones into the array."""
        self._numbers.extend(chain(self._new, numbers))
        self._new = set()
        _drop_repeats(self._numbers)

    def _has(self, number: int) -> bool:
        if number in self._new:
            return True
        at = bisect_left(self._numbers, number)
        return at < len(self._numbers) and self._numbers[at] == number


class Places:
    """Where the line of each id stands in a file. What was added since the last `sort` is not found
    yet."""

    def __init__(self) -> None:
        self._numbers, self._places = array("Q"), array("Q")
        self._sorted = 0
        """So many of them stand in order."""

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
        at = bisect_right(self._numbers, number, hi=self._sorted) - 1
        return self._places[at] if at >= 0 and self._numbers[at] == number else None


def _drop_repeats(numbers: array[int]) -> None:
    """Sort in place, and leave out what comes again."""
    if not numbers:
        return
    import numpy as np  # takes a tenth of a second, which an empty set need not wait for

    view = np.frombuffer(numbers, np.uint64)
    view.sort()
    is_first = np.ones(len(view), bool)
    np.not_equal(view[1:], view[:-1], out=is_first[1:])
    unique = view[is_first]
    view[:len(unique)] = unique
    # an array cannot shrink while a view on it lives
    del view
    del numbers[len(unique):]


def _sort(numbers: array[int], along: array[int]) -> None:
    """Sort in place, and bring another array into the same order; equal numbers keep theirs."""
    if not numbers:
        return
    import numpy as np  # an empty journal need not wait for it either

    view, other = (np.frombuffer(column, np.uint64) for column in (numbers, along))
    order = view.argsort(kind="stable")
    view[:], other[:] = view[order], other[order]
