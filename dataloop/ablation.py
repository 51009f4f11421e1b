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

from dataloop.mixing import PARTS, Supply, mix_parts
from looptool.config import Ablation, Mix
from looptool.records import Sample


def ablate(ablation: Ablation, supply: Supply, mix: Mix, round: int, seed: int,
           first: list[Sample]) -> tuple[Supply, Mix]:
    """What D_round is mixed of, and how, in one variant.

    Args:
        first: D_1, for the static variant.
    """
    if round == 1 or ablation in ("none", "no_jglv"):
        return supply, mix
    if ablation == "static":
        return Supply(error_seeds=[], expanded=[], high_ppl=[], seed_new=first), replace(
            mix, seed_new=mix.size << round, high_ppl=0)
    if ablation == "no_high_ppl":
        mastered = sorted(supply.high_ppl, key=lambda sample: sample.id)
        random.Random(f"{seed}:{round}:mastered").shuffle(mastered)
        return replace(supply, high_ppl=mastered), mix
    places = mix_parts(supply, mix, round, seed).counts[PARTS["expanded"]]
    if ablation == "high_ppl_replace":
        return replace(supply, expanded=[]), replace(mix, high_ppl=mix.high_ppl + places)
    if ablation == "error_seed_repetition":
        return replace(supply, expanded=list(islice(repeated(supply.error_seeds), places))), mix
    return replace(supply, expanded=[]), mix


def repeated(samples: list[Sample]) -> Iterator[Sample]:
    """The samples again and again, each time under another id."""
    for number, sample in enumerate(cycle(samples)):
        yield replace(sample, id=f"{sample.id}-{2 + number // len(samples)}", parent=sample.id)
