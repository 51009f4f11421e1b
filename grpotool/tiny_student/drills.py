"""Random tokens to copy and to look up: what wakes the planted circuit (circuit.py). In: a seed.
Out: batches."""
from __future__ import annotations

import math
import random

import numpy as np
import torch

BATCH_TOKENS = 4096
Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Token ids, which of them are no padding, and which are answers, each [rows, tokens]."""


def repeated_strings(rng: random.Random, vocabulary: int) -> Batch:
    """Random token strings, each twice; the second copy is the answer.

    Each string has an alphabet of its own. In a small one tokens recur, and one token back does not
    tell the place.
    """
    length = rng.randint(16, 128)
    random_tokens = torch.Generator().manual_seed(rng.getrandbits(48))
    rows = []
    for _ in range(max(8, BATCH_TOKENS // (2 * length))):
        letters = round(10 ** rng.uniform(1, math.log10(vocabulary)))
        alphabet = torch.randint(vocabulary, (letters,), generator=random_tokens)
        rows.append(alphabet[torch.randint(letters, (length,), generator=random_tokens)])
    first = torch.stack(rows)
    ids = torch.cat([first, first], 1)
    answers = torch.zeros_like(ids, dtype=torch.bool)
    answers[:, length:] = True
    return ids, torch.ones_like(answers), answers


def recalled_pairs(rng: random.Random, vocabulary: int) -> Batch:
    """Rows of random names with values, "name is value and ...", then the same in other dress:
    "name: value, ...".

    The answers are the values of the second half, and its names where it keeps the order of the
    first.
    """
    random_tokens = np.random.default_rng(rng.getrandbits(48))
    count = rng.randint(2, 12)
    rows = []
    for _ in range(BATCH_TOKENS // (16 * count)):
        letters = random_tokens.integers(vocabulary,
                                         size=round(10 ** rng.uniform(1.3, math.log10(vocabulary))))

        def string(least: int, most: int) -> list[int]:
            return random_tokens.choice(letters, rng.randint(least, most)).tolist()

        pairs = [(string(1, 3), string(1, 4)) for _ in range(count)]
        copula, joiner, colon, comma = string(0, 2), string(1, 2), string(1, 1), string(1, 1)
        ids = [token for name, value in pairs for token in (*name, *copula, *value, *joiner)]
        answers = [False] * len(ids)
        in_order = rng.random() < 0.5
        for name, value in pairs if in_order else rng.sample(pairs, len(pairs)):
            ids += [*name, *colon, *value, *comma]
            answers += [in_order] * len(name) + [False] + [True] * len(value) + [False]
        rows.append((ids, answers))
    return pad(rows, 0)


DRILLS = (repeated_strings, recalled_pairs)


def pad(rows: list[tuple[list[int], list[bool]]], token: int) -> Batch:
    """Rows of one batch, padded on the right."""
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), token)
    mask, answers = torch.zeros(2, *ids.shape, dtype=torch.bool)
    for i, (row, written) in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
        mask[i, :len(row)] = True
        answers[i, :len(row)] = torch.tensor(written)
    return ids, mask, answers
