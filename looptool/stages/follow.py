"""A stage that works ahead: it follows the journal of the stage before while that one still runs.

What it finishes so goes into its own journal. When the stage before has ended, the ordinary run
finds it there and does what is left, from the whole file and in its order; so the output is that of
a serial run whatever happened on the way. An input counts as finished under an id that holds all of
its content (`id_with`), so nothing old is taken for new.
"""
from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from looptool.errors import InputError
from looptool.json_lines import decoder
from looptool.stages.journal import Entry, journal_path
from looptool.stages.meta import read_meta

LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Follow:
    """What a stage works ahead on."""

    output: Path
    """Of the stage before; its journal is read."""
    record_type: type
    process: int
    """The one that runs the stage before; when it has ended, nothing more comes."""
    inputs_of: Callable[[Any], Iterable[tuple[str, Any]]]
    """The stage's (id, record) pairs that one record of the stage before leads to."""
    source: Path
    """The stage's own input file: the output itself, or what the process makes from it at its
    end."""

    async def inputs(self) -> AsyncIterator[tuple[str, Any]]:
        """All inputs as they come.

        Raises:
            InputError: the process has ended and its output is not there, or its journal was begun
                anew.
        """
        tail, decode, running = Tail(journal_path(self.output)), decoder(self.record_type), True
        while running:
            # asked before reading, so that its last lines are read too
            running = is_running(self.process)
            for entry in tail.new_entries():
                for record in entry.records:
                    for pair in self.inputs_of(decode(record)):
                        yield pair
            await asyncio.sleep(LOOK_SECONDS if running else 0)
        if not self._is_finished():
            raise InputError(f"{self.source}: is not finished, and process {self.process}, which "
                             "was to write it, has ended; run its step again, and then this one")

    def _is_finished(self) -> bool:
        """Whether the source is there, and made from the output as it is now."""
        made = self.source.exists() and self.output.exists() and read_meta(self.output) is not None
        # an older source was made from an output before this one
        return made and self.source.stat().st_mtime_ns >= self.output.stat().st_mtime_ns


class Tail:
    """The end of a journal that somebody writes."""

    def __init__(self, path: Path):
        self._path, self._place = path, 0

    def new_entries(self) -> Iterator[Entry]:
        """Those of the lines that are whole by now and were not read before.

        Raises:
            InputError: the journal was begun anew in between.
        """
        decode = msgspec.json.Decoder(Entry).decode
        try:
            with self._path.open("rb") as file:
                file.seek(self._place)
                for line in file:
                    if not line.endswith(b"\n"):
                        return
                    # place 0 is that of the header
                    is_header, self._place = not self._place, self._place + len(line)
                    if not is_header:
                        yield decode(line)
        except FileNotFoundError:  # not begun yet, or finished
            return
        except msgspec.DecodeError as error:
            raise InputError(
                f"{self._path}: was begun anew meanwhile ({error}); run this step again") from None


def is_running(process: int) -> bool:
    """Whether there is such a process, other than one that has ended and was not asked for its exit
    code."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    # the state stands behind the program's name, which is in brackets and may hold some
    return stat.rpartition(") ")[2][:1] not in ("Z", "X")


def id_with(id: str, content: Any) -> str:
    """`id`, and a digest of a record, so that another content is another id."""
    return f"{id}@{hashlib.blake2b(msgspec.json.encode(content), digest_size=8).hexdigest()}"
