"""Entries of BFCL v3 whose ground truth is known to be wrong: wrong_truths.yaml, with sources.

Only what is certain stands there: entries that the official scorer refuses whatever is answered,
and entries whose truth contradicts their own task and was mended by the benchmark's maintainers
after bfcl-eval 2025.6.14. Tasks that they reworded, and those of changed simulated systems, do not.
The official score counts all of them; what is measured without them stands second.
"""
from __future__ import annotations

import functools
import statistics
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

import msgspec

from bfcl.official.scores import Tally


class WrongTruth(msgspec.Struct, forbid_unknown_fields=True):
    """A fault, and the entries that have it."""

    ids: list[str]
    why: str
    source: str
    """Who says so: an address, or our own test."""
    shows: str
    """A piece of the entry's line in the package's data that shows it, as JSON."""


@functools.cache
def wrong_truths() -> list[WrongTruth]:
    text = Path(__file__).with_suffix(".yaml").read_bytes()
    return msgspec.yaml.decode(text, type=list[WrongTruth])


def sound_tallies(refused: Sequence[Set[str]],
                  ids: Mapping[str, Sequence[str]]) -> dict[str, Tally]:
    """Right entries and all, by category, without the wrong truths; the mean of the draws.

    Args:
        refused: ids that the official scorer found wrong, by draw.
        ids: what was asked, by category.
    """
    wrong = {id for each in wrong_truths() for id in each.ids}
    tallies = {}
    for category, asked in ids.items():
        kept = [id for id in asked if id not in wrong]
        right = statistics.fmean(sum(id not in draw for id in kept) for draw in refused)
        tallies[category] = Tally(right, len(kept))
    return tallies
