"""Files between the steps of the data loop that may rightly hold nothing: no error seeds, nothing expanded."""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from looptool.records import InputError, read_jsonl

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
