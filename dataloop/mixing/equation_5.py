"""Equation 5: D_{j+1} = D_ES + D_EE + D_HPPL + D_Seed-new, at a given size.

In: what round j has left, and the seed samples that no round has used. Out: the samples of D_{j+1}
and what was left out. A sample is taken once, by the first part in the order above that has it.

- D_Seed-new comes in the run's own fixed order, D_HPPL by perplexity, the highest first, each up to
  its number.
- D_ES and D_EE take the rest, both in an order drawn by the seed. Where there is more of both than
  room, D_ES has its number, and at most a third: the paper's model errs on 10 to 20% of D_j,
  another one may err on half of it, and there has to be room for what was made of that. Where D_EE
  is short, D_ES takes more.
- Too little: more seed samples in their order, then more mastered samples by perplexity; then
  D_{j+1} is smaller.
"""
from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from looptool.config import Mix, Part
from looptool.fingerprints import IdSet
from looptool.records import Origin, Sample
from looptool.sample_table import NO_ROWS, ORIGINS, Listing, Rows

ERROR_SEED_SHARE = 1 / 3
"""Of D_ES in D_ES + D_EE, where there is more of both than room; Table 3 has 23 to 31%."""
PARTS: dict[Origin, str] = {"error_seed": "ES", "expanded": "EE", "high_ppl": "HPPL",
                            "seed": "Seed-new"}
"""The parts of equation 5 by the origin of their samples."""


class Supply(msgspec.Struct, kw_only=True):
    """What D_{j+1} can be made of; each part in the order in which it is used."""

    listing: Listing
    """All of its samples."""
    error_seeds: Rows = NO_ROWS
    expanded: Rows = NO_ROWS
    high_ppl: Rows = NO_ROWS
    """D_HPPL, as high_ppl.jsonl has it."""
    seed_new: Rows = NO_ROWS
    """Seed samples that no round has used, in the run's order."""
    mastered: Rows = NO_ROWS
    """Further mastered samples, the highest perplexity first: to fill up with."""
    contaminated: int = 0
    """Samples that were taken out of the parts, as a benchmark has them."""

    def parts(self) -> dict[str, Rows]:
        """The parts by their names."""
        return {name: getattr(self, name)
                for name in ("error_seeds", "expanded", "high_ppl", "seed_new", "mastered")}

    def without(self, seen: Rows) -> Supply:
        """What a benchmark has not; `seen` are the samples that it has, under any row."""
        ids = np.unique(self.listing.ids(seen))
        unseen = {name: rows[~np.isin(self.listing.ids(rows), ids)]
                  for name, rows in self.parts().items()}
        return msgspec.structs.replace(self, **unseen, contaminated=len(ids))


class Mixture(msgspec.Struct, kw_only=True):
    """D_{j+1}, shuffled, and how it came about."""

    samples: Rows
    origins: NDArray[np.uint8]
    """Of each of them, as numbers in ORIGINS."""
    counts: dict[str, int]
    """Samples by part."""
    left_out: dict[str, int]
    """Samples that were there but not taken: "duplicate", "contaminated", and ES and EE for which
    there was no room."""
    notes: list[str]
    """Where the parts did not give what was asked, in words."""


def planned(mix: Mix, round: int) -> dict[Origin, int]:
    """Samples of D_round by part, where there is enough of all, EE taking the rest; D_1 has seed
    samples only (Table 3)."""
    if round == 1:
        return {"seed": mix.size, "high_ppl": 0, "error_seed": 0}
    seed_new = _count(mix.seed_new, mix.size, round)
    # halved from D_3 on: 5,632, 2,816, 1,408 in Table 3
    return {"seed": seed_new if isinstance(mix.seed_new, list) else seed_new >> (round - 2),
            "high_ppl": _count(mix.high_ppl, mix.size, round),
            "error_seed": _count(mix.error_seeds, mix.size, round)}


def _count(part: Part, size: int, number: int) -> int:
    if isinstance(part, list):
        part = part[min(number - 2, len(part) - 1)]
    return round(part * size) if isinstance(part, float) else part


def mix_parts(supply: Supply, mix: Mix, round: int, seed: int) -> Mixture:
    """The samples of D_round."""
    listing, draw = supply.listing, f"{seed}:{round}:mix"
    listed: dict[Origin, Rows] = {
        "error_seed": listing.shuffled(supply.error_seeds, draw),
        "expanded": listing.shuffled(supply.expanded, draw), "high_ppl": supply.high_ppl,
        "seed": supply.seed_new}
    *unique, mastered = without_repeats(listing, [*listed.values(), supply.mastered])
    parts = dict(zip(listed, unique, strict=True))
    notes: list[str] = []
    chosen = _take(parts, mastered, planned(mix, round), mix.size, notes)
    counts = {origin: sum(len(rows) for part, rows in chosen if part == origin) for origin in PARTS}
    if room := mix.size - sum(counts.values()):
        notes.append(
            f"{room} samples short of {mix.size}, as nothing is left to fill D_{round} with")
    left_out = {"EE": len(parts["expanded"]) - counts["expanded"],
                "ES": len(parts["error_seed"]) - counts["error_seed"],
                "contaminated": supply.contaminated,
                "duplicate": sum(map(len, listed.values())) - sum(map(len, unique))}
    samples = np.concatenate([rows for _, rows in chosen])
    numbers = np.array([ORIGINS.index(origin) for origin, _ in chosen], np.uint8)
    origins = numbers.repeat([len(rows) for _, rows in chosen])
    order = listing.random_order(samples, f"{draw}:order")
    return Mixture(samples=samples[order], origins=origins[order],
                   counts={name: counts[origin] for origin, name in PARTS.items()},
                   left_out={reason: count for reason, count in left_out.items() if count},
                   notes=notes)


def _take(parts: dict[Origin, Rows], mastered: Rows, plan: dict[Origin, int], size: int,
          notes: list[str]) -> list[tuple[Origin, Rows]]:
    """At most `size` samples: what is wanted of each part, in their order; then the filling."""
    chosen: list[tuple[Origin, Rows]] = []
    rest: dict[Origin, Rows] = {}
    room = size
    # the two with a number of their own first; repeats were settled before, in equation 5's order
    for origin in ("seed", "high_ppl", "error_seed", "expanded"):
        asked = len(parts[origin])
        if origin in ("seed", "high_ppl"):
            asked = min(plan[origin], asked)
        count = min(asked, room)
        if origin == "error_seed":
            share = min(plan[origin], round(ERROR_SEED_SHARE * room))
            # all that fits beside EE, and at least their share
            count = min(count, max(room - len(parts["expanded"]), share))
        if count < asked:
            notes.append(
                f"{asked - count} of {asked} {PARTS[origin]} left out, as there is no more room")
        chosen.append((origin, parts[origin][:count]))
        rest[origin] = parts[origin][count:]
        room -= count
    for origin, filling in (("seed", rest["seed"]),
                            ("high_ppl", np.concatenate([rest["high_ppl"], mastered]))):
        more = filling[:room]
        if len(more):
            notes.append(
                f"{len(more)} more {PARTS[origin]} than planned, as the other parts are short")
        chosen.append((origin, more))
        room -= len(more)
    return chosen


def without_repeats(listing: Listing, parts: Sequence[Rows]) -> list[Rows]:
    """The parts, each without the samples that come before in it or in a part before it."""
    ids = listing.ids(np.concatenate(parts))
    # stable, so that of equal ids the one in the earliest part is the first
    order = ids.argsort(kind="stable")
    ids = ids[order]
    is_first = np.ones(len(ids), bool)
    is_first[order[1:][ids[1:] == ids[:-1]]] = False
    ends = np.cumsum([len(part) for part in parts])
    return [part[first] for part, first in zip(parts, np.split(is_first, ends[:-1]), strict=True)]


def is_used(sample: Sample, used: IdSet) -> bool:
    """Whether a dataset has had it, by its id or by that of the sample it was relabeled from."""
    return sample.id in used or sample.parent in used
