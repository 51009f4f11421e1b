"""The variants of Table 4: the same loop without one part of the method, chosen by `ablation` in
the config.

In: what round j has left for D_{j+1}, and how it would be mixed. Out: both, changed. All stages run
in each variant, so that the report has their figures; only no_jglv changes one (no judge is asked:
judgement_label_verification.py).

no_high_ppl             random mastered samples in place of those with high perplexity
no_jglv                 every mismatch counts as an error of the model, and its label is kept
no_edde                 no expanded samples
high_ppl_replace        as many high-perplexity samples in place of the expanded ones
error_seed_repetition   the error seeds again, as many times as it takes, in place of the expanded
                        ones
static                  the seed dataset D_1 again in every round
"""
from __future__ import annotations

from itertools import cycle, islice

import numpy as np
from msgspec.structs import replace

from dataloop.mixing.equation_5 import PARTS, Supply, mix_parts, planned, without_repeats
from looptool.config import Ablation, Mix
from looptool.sample_table import NO_ROWS, Listing, Rows


def ablate(ablation: Ablation, supply: Supply, mix: Mix, round: int, seed: int,
           first: Rows) -> tuple[Supply, Mix]:
    """What D_round is mixed of, and how, in one variant.

    Args:
        first: D_1, for the static variant.
    """
    if round == 1 or ablation in ("none", "no_jglv"):
        return supply, mix
    listing = supply.listing
    if ablation == "static":
        return Supply(listing=listing, seed_new=first), replace(mix, seed_new=[mix.size],
                                                                high_ppl=0)
    if ablation == "no_high_ppl":
        mastered = listing.shuffled(all_mastered(supply), f"{seed}:{round}:mastered")
        count = len(supply.high_ppl)
        return replace(supply, high_ppl=mastered[:count], mastered=mastered[count:]), mix
    places = mix_parts(supply, mix, round, seed).counts[PARTS["expanded"]]
    if ablation == "high_ppl_replace":
        own = min(planned(mix, round)["high_ppl"], len(supply.high_ppl))
        return replace(supply, expanded=NO_ROWS,
                       high_ppl=all_mastered(supply)), replace(mix, high_ppl=[own + places])
    if ablation == "error_seed_repetition":
        return replace(supply, expanded=repeated(listing, supply.error_seeds, places)), mix
    return replace(supply, expanded=NO_ROWS), mix


def all_mastered(supply: Supply) -> Rows:
    """Those of high perplexity and the further ones, each once."""
    return np.concatenate(without_repeats(supply.listing, [supply.high_ppl, supply.mastered]))


def repeated(listing: Listing, rows: Rows, count: int) -> Rows:
    """So many samples: these again and again, each time under another id."""
    again = (listing.add_again(row, 2 + number // len(rows))
             for number, row in enumerate(islice(cycle(rows), count)))
    return np.fromiter(again, np.uint32)
