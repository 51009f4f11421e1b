"""Files between the steps of the data loop: they may rightly hold nothing (no error seeds), and are large."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from looptool.records import read_jsonl

R = TypeVar("R")


def read_some(path: Path | str, record_type: type[R]) -> Iterator[R]:
    """Stream the records of a JSON-lines file, which may be empty.

    Raises:
        InputError: the file is absent, or a line does not hold such a record.
    """
    path = Path(path)
    if path.is_file() and path.stat().st_size == 0:
        return iter(())
    return read_jsonl(path, record_type)


def read_placed(path: Path | str, record_type: type[R]) -> Iterator[tuple[int, int, R]]:
    """`read_some`, each record with the place and the length of its line in the file."""
    place = 0
    for record, line in zip(read_some(path, record_type), _lines(path)):
        yield place, len(line), record
        place += len(line)


def _lines(path: Path | str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from file
