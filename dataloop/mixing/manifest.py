"""What dataset.meta.json says of a D_j."""
from __future__ import annotations

from typing import Any

from looptool.records import Record


class Manifest(Record):
    """The content of dataset.meta.json."""

    round: int
    size: int
    counts: dict[str, int]
    """Samples by part: ES, EE, HPPL, Seed-new."""
    left_out: dict[str, int]
    notes: list[str]
    """Where a part gave way or was filled up, in words."""
    seed: int
    mix: Any
    """The config's section."""
    sources: dict[str, str]
    """Sha256 of each input file, by its path relative to the dataset's folder."""
    checkpoint: dict[str, str]
    """The same for the checkpoint whose probes the round is made of; before round 1 there is
    none."""
