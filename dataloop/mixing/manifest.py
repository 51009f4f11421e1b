"""What dataset.meta.json says of a D_j."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from looptool.errors import InputError
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


def read_manifest(dataset: Path) -> Manifest | None:
    """The manifest of a dataset; None where there is none.

    Raises:
        InputError: it cannot be read.
    """
    path = dataset.with_suffix(".meta.json")
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: is damaged ({error}); remove it with its dataset, and run "
                         "scripts/08_next_round.sh for the round before") from None
