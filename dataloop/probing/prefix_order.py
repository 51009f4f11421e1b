"""In which order samples are probed, by every engine: those that begin alike next to each other.

In: a file of samples. Out: their places in it, samples of one dialog together, the shortest context
first. An engine with a prefix cache then computes once what they share, which is their tools at
least. Probes come in this order, too.
"""
from __future__ import annotations

import struct
from array import array
from collections.abc import Iterable, Iterator
from pathlib import Path

from looptool.ids import content_id
from looptool.json_lines import decoder, read_placed
from looptool.records import Sample


def prefix_order(path: Path) -> array[int]:
    """Where the lines of a file of samples begin, in the order above; some 70 bytes a sample while
    they are sorted.

    Raises:
        InputError: the file cannot be read, or a line holds no sample.
    """
    keys = []
    for place, _, sample in read_placed(path, Sample):
        first = sample.messages[0].content if sample.messages else ""
        beginning = bytes.fromhex(content_id(sample.date, sample.tools) + content_id(first))
        # big-endian, so that bytes sort as numbers do; the place comes back out of the last 8
        keys.append(beginning + struct.pack(">IQ", len(sample.messages), place))
    keys.sort()
    return array("Q", (int.from_bytes(key[-8:], "big") for key in keys))


def read_at(path: Path, places: Iterable[int]) -> Iterator[Sample]:
    """The samples that begin at these places of the file."""
    decode = decoder(Sample)
    with path.open("rb") as file:
        for place in places:
            file.seek(place)
            yield decode(file.readline())
