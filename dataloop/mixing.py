"""Equation 5: D_{j+1} = D_ES + D_EE + D_HPPL + D_Seed-new, at a given size.

In: what round j has left, and the seed samples that no round has used. Out: the samples of D_{j+1} and what was left
out. A sample is taken once, by the first part in the order above that has it.

- D_Seed-new comes in the run's own fixed order, D_HPPL by perplexity, the highest first, each up to its number.
- D_ES is taken whole and D_EE fills the rest, both in an order drawn by the seed. The paper's model errs on 10 to 20% of
  D_j; where one errs on half of it, D_ES has at most a third of the rest, so that there is room for what was made of it.
- Too little: more seed samples in their order, then more mastered samples by perplexity; then D_{j+1} is smaller.
"""
from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from dataloop.contamination import Benchmark
from looptool.config import Mix
from looptool.records import Origin, Sample

ERROR_SEED_SHARE = 1 / 3
"""Of D_ES in D_ES + D_EE, where there is more of both than room; Table 3 has 23 to 31%."""
PARTS: dict[Origin, str] = {"error_seed": "ES", "expanded": "EE", "high_ppl": "HPPL", "seed": "Seed-new"}
"""The parts of equation 5 by the origin of their samples."""


class Supply(msgspec.Struct, kw_only=True):
    """What D_{j+1} can be made of; each list in the order in which it is used."""

    error_seeds: list[Sample]
    expanded: list[Sample]
    high_ppl: list[Sample]
    """All mastered samples and those with two correct answers, the highest perplexity first."""
    seed_new: list[Sample]
    """Seed samples that no round has used, in the run's order."""
    contaminated: int = 0
    """Samples that were taken out of the lists, as a benchmark has them."""

    def without(self, benchmark: Benchmark) -> Supply:
        """What the benchmark has not."""
        lists = {name: getattr(self, name) for name in ("error_seeds", "expanded", "high_ppl", "seed_new")}
        unseen = {name: [sample for sample in samples if benchmark.reason(sample) is None]
                  for name, samples in lists.items()}
        return Supply(**unseen, contaminated=sum(map(len, lists.values())) - sum(map(len, unseen.values())))


class Mixture(msgspec.Struct, kw_only=True):
    """D_{j+1}, shuffled, and how it came about."""

    samples: list[Sample]
    counts: dict[str, int]
    """Samples by part."""
    left_out: dict[str, int]
    """Samples that were there but not taken: "duplicate", "contaminated", and ES and EE for which there was no room."""
    notes: list[str]
    """Where the parts did not give what was asked, in words."""


def run_order(seed: int, id: str) -> bytes:
    """Sorts the seed samples of a run: a random order that does not depend on their number or place in a file."""
    return hashlib.sha256(f"{seed}:{id}".encode()).digest()


def seed_new_count(mix: Mix, round: int) -> int:
    """New seed samples in D_round: all of D_1, mix.seed_new in D_2, half as many in every later one (Table 3)."""
    return mix.size if round == 1 else mix.seed_new >> (round - 2)


def mix_parts(supply: Supply, mix: Mix, round: int, seed: int) -> Mixture:
    """The samples of D_round."""
    draw = random.Random(f"{seed}:{round}:mix")
    taken: set[str] = set()
    left_out: Counter[str] = Counter({"contaminated": supply.contaminated} if supply.contaminated else {})
    expanded, error_seeds = (draw.sample(part, len(part)) for part in (supply.expanded, supply.error_seeds))
    parts = {origin: _unique(samples, taken, origin, left_out) for origin, samples in (
        ("error_seed", error_seeds), ("expanded", expanded), ("high_ppl", supply.high_ppl),
        ("seed", supply.seed_new))}
    wanted = {"seed": seed_new_count(mix, round), "high_ppl": mix.high_ppl if round > 1 else 0,
              "error_seed": len(parts["error_seed"]), "expanded": len(parts["expanded"])}
    notes: list[str] = []
    chosen = _take(parts, wanted, mix.size, notes)
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


def _take(parts: dict[Origin, list[Sample]], wanted: dict[Origin, int], size: int, notes: list[str]) -> list[Sample]:
    """At most `size` samples: what is wanted of each part, in their order; then the filling."""
    chosen: list[Sample] = []
    rest: dict[Origin, list[Sample]] = {}
    for origin in wanted:
        asked = min(wanted[origin], len(parts[origin]))
        count = min(asked, room := size - len(chosen))
        if origin == "error_seed":
            count = min(count, max(room - len(parts["expanded"]), round(ERROR_SEED_SHARE * room)))
        if count < asked:
            notes.append(f"{asked - count} of {asked} {PARTS[origin]} left out, as there is no more room")
        chosen += parts[origin][:count]
        rest[origin] = parts[origin][count:]
    for origin in ("seed", "high_ppl"):
        more = rest[origin][:size - len(chosen)]
        if more:
            notes.append(f"{len(more)} more {PARTS[origin]} than planned, as the other parts are short")
        chosen += more
    return chosen


def _unique(samples: Iterable[Sample], taken: set[str], origin: Origin, left_out: Counter[str]) -> list[Sample]:
    """The samples that no part has yet, marked with their origin."""
    part = []
    for sample in samples:
        if sample.id in taken:
            left_out["duplicate"] += 1
            continue
        taken.add(sample.id)
        part.append(msgspec.structs.replace(sample, origin=origin))
    return part


def unused(samples: Sequence[Sample], used: set[str]) -> list[Sample]:
    """The samples that no dataset has had, by their id or by that of the sample they were relabeled from."""
    return [sample for sample in samples if sample.id not in used and sample.parent not in used]
