"""Records as JSON lines: read as a stream, each line validated, and written as whole files."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from looptool.errors import InputError
from looptool.records import ErrorSeed, Probe, Sample, Tool, Verdict

R = TypeVar("R")
BUFFER = 1 << 20
"""Bytes that are written at once."""


def encode_line(record: Any) -> bytes:
    """One JSON line, newline included."""
    return msgspec.json.encode(record) + b"\n"


class StoredSample(Sample):
    """A Sample as a file holds it, its tools not decoded: the same ones come again and again."""

    tools: list[msgspec.Raw]


class _StoredProbe(Probe):
    sample: StoredSample


class _StoredVerdict(Verdict):
    probe: _StoredProbe


class _StoredSeed(ErrorSeed):
    sample: StoredSample


_STORED: dict[type, type] = {Sample: StoredSample, Probe: _StoredProbe, Verdict: _StoredVerdict,
                             ErrorSeed: _StoredSeed}
_PLAIN = {stored: plain for plain, stored in _STORED.items()}
_decode_tool = lru_cache(maxsize=20_000)(msgspec.json.Decoder(Tool).decode)


def decoder(record_type: type[R]) -> Callable[[bytes | msgspec.Raw], R]:
    """What decodes one line; of equal tools there is one in all of its records, which is three
    times as fast."""
    stored = _STORED.get(record_type)
    if stored is None:
        return msgspec.json.Decoder(record_type).decode
    decode = msgspec.json.Decoder(stored).decode

    def with_shared_tools(line: bytes | msgspec.Raw) -> R:
        record = decode(line)
        part = record
        while not isinstance(part, StoredSample):
            # a stored record has the same fields, so that it becomes a plain one without a copy
            part.__class__, part = (_PLAIN[type(part)], part.probe if isinstance(part, Verdict)
                                    else part.sample)
        part.tools = [_decode_tool(bytes(raw)) for raw in part.tools]
        part.__class__ = Sample
        return record

    return with_shared_tools


def read_jsonl(path: Path | str, record_type: type[R]) -> Iterator[R]:
    """Stream the records of a JSON-lines file.

    Raises:
        InputError: the file is absent or empty, or a line does not hold such a record; names file,
            line and field.
    """
    path, decode, number = Path(path), decoder(record_type), 0
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                yield decode(line)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the step that writes it "
                         "first") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}:{number}: not a valid {record_type.__name__} record: {error}; "
                         "mend or remove the line, or run the step that writes this file "
                         "again") from None
    if not number:
        raise InputError(f"{path}: is empty; run the step that writes it again")


def write_atomic(path: Path | str, chunks: Iterable[bytes]) -> None:
    """Write a whole file aside and rename it, so that an existing file is always a complete one.

    Raises:
        InputError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); check the folder's permissions "
            "or set run_dir to another one") from None
    try:
        with os.fdopen(handle, "wb", BUFFER) as file:
            file.writelines(chunks)
        # a file of mkstemp can be read by its owner only
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        # still there only where the write did not come to its end
        Path(temporary).unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write one value as a whole file for people to read, atomically."""
    write_atomic(path, [msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"])


def write_jsonl(path: Path | str, records: Iterable[Any]) -> int:
    """Write records as JSON lines, atomically; returns how many."""
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for record in records:
            count += 1
            yield encode_line(record)

    write_atomic(path, lines())
    return count


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
    # read twice side by side, as a record does not tell how long its line was
    for record, line in zip(read_some(path, record_type), _lines(path)):
        yield place, len(line), record
        place += len(line)


def _lines(path: Path | str) -> Iterator[bytes]:
    with open(path, "rb") as file:
        yield from file
