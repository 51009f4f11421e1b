"""The variants of Table 4: the same loop without one part of the method, chosen by `ablation` in the config.

In: what round j has left for D_{j+1}, and how it would be mixed. Out: both, changed. All stages run in each variant, so
that the report has their figures; only no_jglv changes one (no judge is asked: judgement_label_verification.py).

no_high_ppl             random mastered samples in place of those with high perplexity
no_jglv                 every mismatch counts as an error of the model, and its label is kept
no_edde                 no expanded samples
high_ppl_replace        as many high-perplexity samples in place of the expanded ones
error_seed_repetition   the error seeds again, as many times as it takes, in place of the expanded ones
static                  the seed dataset D_1 again in every round
"""
from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import cycle, islice

from msgspec.structs import replace

from dataloop.listing import Listed
from dataloop.mixing import PARTS, Supply, mix_parts, planned
from looptool.config import Ablation, Mix


def ablate(ablation: Ablation, supply: Supply, mix: Mix, round: int, seed: int,
           first: list[Listed]) -> tuple[Supply, Mix]:
    """What D_round is mixed of, and how, in one variant.

    Args:
        first: D_1, for the static variant.
    """
    if round == 1 or ablation in ("none", "no_jglv"):
        return supply, mix
    if ablation == "static":
        return Supply(error_seeds=[], expanded=[], high_ppl=[], seed_new=first), replace(mix, seed_new=[mix.size], high_ppl=0)
    if ablation == "no_high_ppl":
        mastered = sorted(by_id(supply.high_ppl, supply.mastered).values(), key=lambda sample: sample.id)
        random.Random(f"{seed}:{round}:mastered").shuffle(mastered)
        count = len(supply.high_ppl)
        return replace(supply, high_ppl=mastered[:count], mastered=mastered[count:]), mix
    places = mix_parts(supply, mix, round, seed).counts[PARTS["expanded"]]
    if ablation == "high_ppl_replace":
        high_ppl = list(by_id(supply.high_ppl, supply.mastered).values())
        own = min(planned(mix, round)["high_ppl"], len(supply.high_ppl))
        return replace(supply, expanded=[], high_ppl=high_ppl), replace(mix, high_ppl=[own + places])
    if ablation == "error_seed_repetition":
        return replace(supply, expanded=list(islice(repeated(supply.error_seeds), places))), mix
    return replace(supply, expanded=[]), mix


def by_id(*parts: list[Listed]) -> dict[str, Listed]:
    """The samples of all parts in their order, each once."""
    return {sample.id: sample for part in parts for sample in part}


def repeated(samples: list[Listed]) -> Iterator[Listed]:
    """The samples again and again, each time under another id."""
    for number, sample in enumerate(cycle(samples)):
        yield replace(sample, id=f"{sample.id}-{2 + number // len(samples)}", parent=sample.id)
