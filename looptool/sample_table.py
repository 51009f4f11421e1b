"""Samples of files as the rows of a table, some 30 bytes each whatever they hold: so a million can
be mixed.

In: files of records that hold a sample (Sample, Probe, ErrorSeed). Out: a row for each that is
wanted, and records read back. Parts of what is listed are arrays of row numbers.
"""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from struct import Struct
from typing import Any, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from looptool.fingerprints import fingerprint, reordered
from looptool.json_lines import decoder, read_placed
from looptool.records import ErrorSeed, Origin, Probe, Sample

R = TypeVar("R", Sample, Probe, ErrorSeed)
Rows: TypeAlias = NDArray[np.uint32]
"""Numbers of rows, in an order that means something."""
NO_ROWS: Rows = np.zeros(0, np.uint32)
ORIGINS: tuple[Origin, ...] = get_args(Origin)
_ROW = np.dtype([("id", "<u8"), ("perplexity", "<f8"), ("place", "<u8"), ("length", "<u4"),
                 ("file", "u1")])
# "<" leaves no room between fields, as numpy's dtype leaves none: 29 bytes in both
_PACKED = Struct("<QdQIB")
"""The same for one row."""


class Listing:
    """Where the samples are, and what they are chosen by."""

    def __init__(self) -> None:
        self._files: list[tuple[Path, type]] = []
        self._table = bytearray()
        self._again: dict[int, int] = {}
        """Of a row that lists a sample again, how many times it was listed before."""

    def __len__(self) -> int:
        return len(self._table) // _PACKED.size

    def add(self, path: Path, record_type: type[R], is_wanted: Callable[[R],
        bool] = lambda record: True, score: Callable[[R], float] | None = None) -> Rows:
        """List the records of a file, which may be empty; their rows, in the file's order.

        Args:
            score: what stands in place of the perplexity, to choose by.

        Raises:
            InputError: the file is absent, or a line does not hold such a record.
        """
        first, file = len(self), len(self._files)
        self._files.append((path, record_type))
        for place, length, record in read_placed(path, record_type):
            if is_wanted(record):
                perplexity = record.perplexity if isinstance(record, Probe) else 0.0
                perplexity = perplexity if score is None else score(record)
                self.add_row(fingerprint(sample_of(record).id), perplexity, place, length, file)
        return np.arange(first, len(self), dtype=np.uint32)

    def add_row(self, id: int, perplexity: float = 0.0, place: int = 0, length: int = 0,
                file: int = 0) -> int:
        """List one sample, by the fingerprint of its id; the new row."""
        self._table += _PACKED.pack(id, perplexity, place, length, file)
        return len(self) - 1

    def add_again(self, row: int, times: int) -> int:
        """List a sample that was listed so many times already, under another id; the new row."""
        id, *place = self._row(row)
        # any other number does: the id that `samples` gives it is not at hand
        again = self.add_row(fingerprint(f"{id}-{times}"), *place)
        self._again[again] = times
        return again

    def ids(self, rows: Rows) -> NDArray[np.uint64]:
        """Fingerprints of the ids."""
        # a copy, by numbers of rows: while a view lives the table cannot grow
        return np.frombuffer(self._table, _ROW)["id"][rows]

    def perplexities(self, rows: Rows) -> NDArray[np.float64]:
        return np.frombuffer(self._table, _ROW)["perplexity"][rows]

    def random_order(self, rows: Rows, key: str) -> NDArray[np.intp]:
        """Positions in `rows`, in an order that depends on the samples and the key only, not on
        where they are from."""
        return reordered(self.ids(rows), key).argsort(kind="stable")

    def shuffled(self, rows: Rows, key: str) -> Rows:
        """The rows in that order."""
        return rows[self.random_order(rows, key)]

    def records(self, rows: Rows) -> Iterator[Any]:
        """The records again, in this order."""
        with ExitStack() as stack:
            opened = [(stack.enter_context(path.open("rb", buffering=0)).fileno(), decoder(kind))
                      for path, kind in self._files]
            for _, _, place, length, number in map(self._row, map(int, rows)):
                file, decode = opened[number]
                yield decode(os.pread(file, length, place))

    def samples(self, rows: Rows, origins: NDArray[np.uint8] | None = None) -> Iterator[Sample]:
        """The samples of the records, each with the origin of this number in ORIGINS, or its
        own."""
        for place, (row, record) in enumerate(zip(rows, self.records(rows), strict=True)):
            sample = sample_of(record)
            if origins is not None:
                sample.origin = ORIGINS[origins[place]]
            if times := self._again.get(row):
                sample.id, sample.parent = f"{sample.id}-{times}", sample.id
            yield sample

    def _row(self, row: int) -> tuple[int, float, int, int, int]:
        return _PACKED.unpack_from(self._table, row * _PACKED.size)


def sample_of(record: Sample | Probe | ErrorSeed) -> Sample:
    return record if isinstance(record, Sample) else record.sample
