"""The journal of a stage: one line for each finished input, so that a killed run loses none and
repeats none.

The first line says what the run is (stage, settings, sources); each further one is an Entry. A line
is one write at the end of the file. A process that is killed leaves at most one torn line, the
last; it is dropped on opening. Only one process at a time has the journal open.
"""
from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from looptool.errors import InputError
from looptool.fingerprints import Places, fingerprint
from looptool.stages.meta import FOLLOWED, Header


class Entry(msgspec.Struct, kw_only=True):
    """One finished input."""

    id: str
    reason: str
    records: list[msgspec.Raw]
    usage: dict[str, dict[str, int | float]] = {}
    """What calls have cost since the line before, by role; as calls overlap, only the sum over
    lines means much."""
    seconds: float = 0.0
    """Time since the line before."""


def journal_path(output: Path) -> Path:
    return output.with_name(output.name + ".journal")


def is_made_from_whole(output: Path) -> bool:
    """Whether an output is there, or was begun from whole sources, not by following a step that
    still ran.

    Raises:
        InputError: the journal's first line is damaged.
    """
    if output.exists():
        return True
    path = journal_path(output)
    try:
        with path.open("rb") as file:
            line = file.readline()
        return (line.endswith(b"\n")
                and FOLLOWED not in msgspec.json.decode(line, type=Header).sources.values())
    except FileNotFoundError:
        return False
    except msgspec.DecodeError as error:
        raise InputError(
            f"{path}:1: damaged line ({error}); remove the file, and run again") from None


class Journal:
    """A locked, open journal. It holds in memory 16 bytes for each finished input."""

    def __init__(self, path: Path):
        """Open or create it, and drop a torn last line.

        Raises:
            InputError: the folder cannot be written, another process has the journal open, or a
                line is damaged.
        """
        self.path = path
        self.header: Header | None = None
        self._places = Places()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(path)
        except OSError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror}); check the folder's "
                             "permissions, or set run_dir to another one") from None
        self._end = self._scan()
        self._places.sort()
        os.ftruncate(self._file, self._end)

    def __contains__(self, id: str) -> bool:
        """Whether this input was finished when the journal was opened."""
        return self._places.find(fingerprint(id)) is not None

    def __len__(self) -> int:
        return len(self._places)

    def start(self, header: Header) -> None:
        """Empty the journal and write its first line."""
        self._places = Places()
        self._end = 0
        os.ftruncate(self._file, 0)
        self._write(header)
        self.header = header

    def append(self, entry: Entry) -> None:
        offset = self._end
        self._write(entry)
        self._places.add(fingerprint(entry.id), offset)

    def read(self, order: Iterable[int]) -> Iterator[Entry]:
        """The entries of these fingerprints, in this order; those that are not finished are left
        out."""
        decoder = msgspec.json.Decoder(Entry)
        self._places.sort()
        with self.path.open("rb") as file:
            for number in order:
                offset = self._places.find(number)
                if offset is not None:
                    file.seek(offset)
                    yield decoder.decode(file.readline())

    def close(self, remove: bool = False) -> None:
        if remove:
            # still locked: who opens it now finds out in _open_locked that it is gone
            os.unlink(self.path)
        os.close(self._file)

    def _write(self, line: Header | Entry) -> None:
        data = msgspec.json.encode(line) + b"\n"
        try:
            written = os.write(self._file, data)
            if written < len(data):  # the disk is full: the next write says so
                os.write(self._file, data[written:])
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror}); free space and "
                             "run again, nothing finished is lost") from None
        self._end += len(data)

    def _scan(self) -> int:
        """Read the header and the place of each entry; returns the length without a torn last
        line."""
        entries = msgspec.json.Decoder(Entry)
        end = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    if number == 1:
                        self.header = msgspec.json.decode(line, type=Header)
                    else:
                        self._places.add(fingerprint(entries.decode(line).id), end)
                except msgspec.DecodeError as error:
                    raise InputError(f"{self.path}:{number}: damaged line ({error}); remove this "
                                     "line, or the whole file, and run again") from None
                end += len(line)
        return end


def _open_locked(path: Path) -> int:
    """Open for appending and lock; again where the file was removed before it was locked."""
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            raise InputError(
                f"{path}: is being written by another process; wait for it, or stop it") from None
        try:
            if os.fstat(file).st_ino == os.stat(path).st_ino:
                return file
        except FileNotFoundError:
            pass
        os.close(file)
