"""Samples by their id and their place in a file, some 200 bytes each whatever they hold: so a million can be mixed.

In: files of records that hold a sample (Sample, Probe, ErrorSeed). Out: a Listed for each, and records read back.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

import msgspec

from dataloop.loop_files import read_placed
from looptool.records import ErrorSeed, Origin, Probe, Sample, decoder

R = TypeVar("R", Sample, Probe, ErrorSeed)


class Listed(msgspec.Struct, gc=False):
    """A sample without its content."""

    id: str
    path: Path
    place: int
    """Of its record's line in the file."""
    origin: Origin
    parent: str | None = None
    """Only of one that is listed again under another id."""
    perplexity: float = 0.0


def list_records(path: Path, record_type: type[R], origin: Origin = "seed") -> Iterator[tuple[Listed, R]]:
    """Every record of a file, which may be empty, with how it is listed.

    Raises:
        InputError: the file is absent, or a line does not hold such a record.
    """
    for place, record in read_placed(path, record_type):
        perplexity = record.perplexity if isinstance(record, Probe) else 0.0
        yield Listed(sample_of(record).id, path, place, origin, perplexity=perplexity), record


def read_listed(listed: Iterable[Listed], kinds: Mapping[Path, type[R]]) -> Iterator[R]:
    """The records again, in this order.

    Args:
        kinds: what the records of each file are.
    """
    with ExitStack() as stack:
        opened = {path: (stack.enter_context(path.open("rb")), decoder(kind)) for path, kind in kinds.items()}
        for one in listed:
            file, decode = opened[one.path]
            file.seek(one.place)
            yield decode(file.readline())


def read_samples(listed: Sequence[Listed], kinds: Mapping[Path, type[R]]) -> Iterator[Sample]:
    """The samples of the records, under the ids and with the origins that they are listed with."""
    for one, record in zip(listed, read_listed(listed, kinds), strict=True):
        sample = sample_of(record)
        parent = sample.parent if one.parent is None else one.parent
        yield msgspec.structs.replace(sample, id=one.id, parent=parent, origin=one.origin)


def sample_of(record: Sample | Probe | ErrorSeed) -> Sample:
    return record if isinstance(record, Sample) else record.sample
