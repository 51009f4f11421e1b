"""Equation 5: D_{j+1} = D_ES + D_EE + D_HPPL + D_Seed-new, at a given size.

In: what round j has left, and the seed samples that no round has used. Out: the samples of D_{j+1} and what was left
out. A sample is taken once, by the first part in the order above that has it.

- D_Seed-new comes in the run's own fixed order, D_HPPL by perplexity, the highest first, each up to its number.
- D_ES and D_EE take the rest, both in an order drawn by the seed. Where there is more of both than room, D_ES has its
  number, and at most a third: the paper's model errs on 10 to 20% of D_j, another one may err on half of it, and there has
  to be room for what was made of that. Where D_EE is short, D_ES takes more.
- Too little: more seed samples in their order, then more mastered samples by perplexity; then D_{j+1} is smaller.
"""
from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Container, Iterable

import msgspec

from dataloop.listing import Listed
from looptool.config import Mix, Part
from looptool.records import Origin, Sample

ERROR_SEED_SHARE = 1 / 3
"""Of D_ES in D_ES + D_EE, where there is more of both than room; Table 3 has 23 to 31%."""
PARTS: dict[Origin, str] = {"error_seed": "ES", "expanded": "EE", "high_ppl": "HPPL", "seed": "Seed-new"}
"""The parts of equation 5 by the origin of their samples."""


class Supply(msgspec.Struct, kw_only=True):
    """What D_{j+1} can be made of; each list in the order in which it is used."""

    error_seeds: list[Listed]
    expanded: list[Listed]
    high_ppl: list[Listed]
    """D_HPPL, the highest perplexity first."""
    seed_new: list[Listed]
    """Seed samples that no round has used, in the run's order."""
    mastered: list[Listed] = []
    """Further mastered samples, the highest perplexity first: to fill up with."""
    contaminated: int = 0
    """Samples that were taken out of the lists, as a benchmark has them."""

    def parts(self) -> dict[str, list[Listed]]:
        """The lists by their names."""
        return {name: getattr(self, name) for name in ("error_seeds", "expanded", "high_ppl", "seed_new", "mastered")}

    def without(self, seen: set[str]) -> Supply:
        """What a benchmark has not; `seen` are the ids of the samples that it has."""
        return Supply(**{name: [sample for sample in samples if sample.id not in seen]
                         for name, samples in self.parts().items()}, contaminated=len(seen))


class Mixture(msgspec.Struct, kw_only=True):
    """D_{j+1}, shuffled, and how it came about."""

    samples: list[Listed]
    counts: dict[str, int]
    """Samples by part."""
    left_out: dict[str, int]
    """Samples that were there but not taken: "duplicate", "contaminated", and ES and EE for which there was no room."""
    notes: list[str]
    """Where the parts did not give what was asked, in words."""


def run_order(seed: int, id: str) -> bytes:
    """Sorts the seed samples of a run: a random order that does not depend on their number or place in a file."""
    return hashlib.sha256(f"{seed}:{id}".encode()).digest()


def planned(mix: Mix, round: int) -> dict[Origin, int]:
    """Samples of D_round by part, where there is enough of all, EE taking the rest; D_1 has seed samples only (Table 3)."""
    if round == 1:
        return {"seed": mix.size, "high_ppl": 0, "error_seed": 0}
    seed_new = _count(mix.seed_new, mix.size, round)
    return {"seed": seed_new if isinstance(mix.seed_new, list) else seed_new >> (round - 2),
            "high_ppl": _count(mix.high_ppl, mix.size, round), "error_seed": _count(mix.error_seeds, mix.size, round)}


def _count(part: Part, size: int, number: int) -> int:
    if isinstance(part, list):
        part = part[min(number - 2, len(part) - 1)]
    return round(part * size) if isinstance(part, float) else part


def mix_parts(supply: Supply, mix: Mix, round: int, seed: int) -> Mixture:
    """The samples of D_round."""
    draw = random.Random(f"{seed}:{round}:mix")
    taken: set[str] = set()
    left_out: Counter[str] = Counter({"contaminated": supply.contaminated} if supply.contaminated else {})
    expanded, error_seeds = (draw.sample(part, len(part)) for part in (supply.expanded, supply.error_seeds))
    parts = {origin: _unique(samples, taken, origin, left_out) for origin, samples in (
        ("error_seed", error_seeds), ("expanded", expanded), ("high_ppl", supply.high_ppl),
        ("seed", supply.seed_new))}
    mastered = _unique(supply.mastered, taken, "high_ppl", Counter())
    notes: list[str] = []
    chosen = _take(parts, mastered, planned(mix, round), mix.size, notes)
    if room := mix.size - len(chosen):
        notes.append(f"{room} samples short of {mix.size}, as nothing is left to fill D_{round} with")
    counts = Counter(sample.origin for sample in chosen)
    for origin in ("error_seed", "expanded"):
        if len(parts[origin]) > counts[origin]:
            left_out[PARTS[origin]] = len(parts[origin]) - counts[origin]
    chosen.sort(key=lambda sample: sample.id)
    draw.shuffle(chosen)
    return Mixture(samples=chosen, counts={name: counts[origin] for origin, name in PARTS.items()},
                   left_out=dict(sorted(left_out.items())), notes=notes)


def _take(parts: dict[Origin, list[Listed]], mastered: list[Listed], plan: dict[Origin, int], size: int,
          notes: list[str]) -> list[Listed]:
    """At most `size` samples: what is wanted of each part, in their order; then the filling."""
    chosen: list[Listed] = []
    rest: dict[Origin, list[Listed]] = {}
    for origin in ("seed", "high_ppl", "error_seed", "expanded"):
        room, asked = size - len(chosen), len(parts[origin])
        if origin in ("seed", "high_ppl"):
            asked = min(plan[origin], asked)
        count = min(asked, room)
        if origin == "error_seed":
            share = min(plan[origin], round(ERROR_SEED_SHARE * room))
            count = min(count, max(room - len(parts["expanded"]), share))
        if count < asked:
            notes.append(f"{asked - count} of {asked} {PARTS[origin]} left out, as there is no more room")
        chosen += parts[origin][:count]
        rest[origin] = parts[origin][count:]
    for origin, filling in (("seed", rest["seed"]), ("high_ppl", rest["high_ppl"] + mastered)):
        more = filling[:size - len(chosen)]
        if more:
            notes.append(f"{len(more)} more {PARTS[origin]} than planned, as the other parts are short")
        chosen += more
    return chosen


def _unique(samples: Iterable[Listed], taken: set[str], origin: Origin, left_out: Counter[str]) -> list[Listed]:
    """The samples that no part has yet, marked with their origin."""
    part = []
    for sample in samples:
        if sample.id in taken:
            left_out["duplicate"] += 1
            continue
        taken.add(sample.id)
        part.append(sample if sample.origin == origin else msgspec.structs.replace(sample, origin=origin))
    return part


def is_used(sample: Sample, used: Container[str]) -> bool:
    """Whether a dataset has had it, by its id or by that of the sample it was relabeled from."""
    return sample.id in used or sample.parent in used
