"""The circuit that the tiny student starts with: attention heads that look strings up and copy
them.

In: a model with random weights. Out: the same model with embeddings and the attention of its first
two layers written by hand, so roughly that training still has to make it work. Left to chance, such
a circuit took over two million tokens of random strings to begin to form, and one that tells which
value belongs to which name did not form within an hour.
"""
from __future__ import annotations

import torch
from transformers import Qwen3ForCausalLM

SCALE = 0.06
"""Standard deviation of the embeddings."""

LOOKERS = ((1, 0), (1, 1), (2, 0), (3, 0), (2, 1))
"""Planted heads of layer 0: how many tokens back each looks, and with which of two readings of a
token."""

MATCHERS = ((None, 0), (None, 1), (0, 2), (0, 0), (0, 3), (1, 4))
"""Planted heads of layer 1: what is compared at the current place (its token, or what a looker
remembers there), and with which looker's memory of the other places."""

NEAR, CONTENT = 3, 7
"""Rotary pairs before NEAR turn fast and tell places apart; from CONTENT on they hardly turn within
a prompt."""


AWAY = 0.4
"""How strongly a planted head that compares a place with itself is kept from finding just that."""


@torch.no_grad()
def plant(model: Qwen3ForCausalLM, tokens: list[str]) -> None:
    """Start from a two-layer circuit that copies: after "A B ... A" comes "B" (induction heads,
    Olsson et al. 2022).

    A head of layer 0 looks some tokens back and writes what it sees into directions of its own. A
    head of layer 1 looks for the place where these directions hold what the current place has, and
    votes for the token that stands there. With (None, 0) that is induction; (0, 2) compares the
    token before the last; (0, 0) and (0, 3) find B in "A B" and in "A c d B" after "A x", so the
    value in "size is 3" after '"size": '.
    """
    hidden, size = model.config.hidden_size, model.config.head_dim
    looking, matching = (model.model.layers[index].self_attn for index in (0, 1))
    frequencies = model.model.rotary_emb.inv_freq
    near = torch.cat([torch.arange(size // 2) < NEAR] * 2).float()
    content = torch.cat([torch.arange(size // 2) >= CONTENT] * 2)
    width = int(content.sum())
    directions = torch.linalg.qr(torch.randn(hidden, hidden))[0]
    memories = [directions[:, i * width:(i + 1) * width] for i in range(len(LOOKERS))]
    free = directions[:, len(LOOKERS) * width:]
    everywhere = embed(model, tokens, free)

    def reader(rows: int) -> torch.Tensor:
        random = torch.randn(rows, free.shape[1]) / hidden ** 0.5 @ free.T
        return random - torch.outer(random @ everywhere, everywhere)

    readings = reader(width), reader(width)
    for head, ((back, reading), memory) in enumerate(zip(LOOKERS, memories, strict=True)):
        rows = slice(head * size, (head + 1) * size)
        looking.q_proj.weight[rows] = torch.outer(near, everywhere)
        looking.k_proj.weight[rows] = torch.outer(turned(near, back * frequencies), everywhere)
        looking.v_proj.weight[rows], looking.o_proj.weight[:, rows] = 0, 0
        looking.v_proj.weight[rows][:width] = readings[reading]
        looking.o_proj.weight[:, rows][:, :width] = 4 * SCALE * memory
    for head, (compared, looker) in enumerate(MATCHERS):
        rows, copy = slice(head * size, (head + 1) * size), reader(size)
        matching.q_proj.weight[rows], matching.k_proj.weight[rows] = 0, 0
        wanted = readings[LOOKERS[looker][1]] if compared is None else memories[compared].T
        matching.q_proj.weight[rows][content] = wanted
        matching.k_proj.weight[rows][content] = memories[looker].T
        if compared == looker:  # or each place would find itself
            matching.q_proj.weight[rows] -= AWAY * torch.outer(near, everywhere)
            matching.k_proj.weight[rows] += AWAY * torch.outer(near, everywhere)
        matching.v_proj.weight[rows], matching.o_proj.weight[:, rows] = copy, 6 * SCALE * copy.T
    for attention, sharpness in ((looking, 2.0), (matching, 1.4)):
        attention.q_norm.weight.fill_(sharpness)
        attention.k_norm.weight.fill_(sharpness)


def embed(model: Qwen3ForCausalLM, tokens: list[str], free: torch.Tensor) -> torch.Tensor:
    """Write embeddings in the `free` directions [hidden, some]; returns the direction that all have
    in common [hidden].

    One direction for all tokens, one a word, and one each for a space before it and for a capital.
    So " Oslo" is nearly "Oslo" from the start: a value stands after a space in a sentence and after
    a quote in JSON.
    """
    hidden = model.config.hidden_size
    one = torch.nn.functional.normalize(torch.randn(3, free.shape[1]), dim=1) @ free.T
    everywhere, spaced, capital = one * SCALE * hidden ** 0.5
    spread = SCALE * (hidden / free.shape[1]) ** 0.5
    words = {token.lstrip("Ġ").lower(): spread * torch.randn(free.shape[1]) @ free.T
             for token in tokens}
    for token, embedding in zip(tokens, model.model.embed_tokens.weight, strict=True):
        word = token.lstrip("Ġ")
        embedding.copy_(words[word.lower()] + 0.5 * everywhere + 0.3 * spaced * (token != word)
                        + 0.3 * capital * (word != word.lower()))
    return one[0]


def turned(vector: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Rotated as rotary position embedding does it, by an angle for each pair of dimensions."""
    cosine, sine = torch.cat([angle.cos()] * 2), torch.cat([angle.sin()] * 2)
    half = len(vector) // 2
    return vector * cosine + torch.cat([-vector[half:], vector[:half]]) * sine
