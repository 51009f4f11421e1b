"""Greedy decoding of many prompts with a Hugging Face model, with the log-probability of every
token it writes; or drawing, by dice that depend on a prompt's own seed and not on the batch that it
is in.

In: token ids of prompts. Out: an Answer for each. Several times faster than `model.generate` on a CPU: prompts are read
a few at a time so that activations stay in the cache, all of them are then decoded as one batch, keys and values are
written in place and never copied or repeated per query head, and finished rows leave the batch.

Rows of one batch are padded on the right and padding is masked, so an answer does not depend on its neighbours beyond
rounding. The log-probabilities are those of the forward passes that chose the tokens, in float32.
"""
from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface

ATTENTION = "greedy_decoding"
"""The model must have been built with attn_implementation=ATTENTION."""
READ_AT_ONCE = 2048
"""Padded tokens of prompts that are read in one forward pass."""
KEEP_SHARE = 0.75
"""Finished rows leave the batch when no more than this share of it is still being written; leaving costs a copy."""


@dataclass(frozen=True)
class Answer:
    """What the model wrote to one prompt."""

    tokens: list[int]
    """Its end token included, if it came to one."""
    log_probability: float
    """Sum over all tokens."""
    ended: bool
    """Whether it ended by itself, and not by reaching the limit."""


@dataclass(frozen=True)
class Dice:
    """How tokens are drawn: at a temperature, by a seed for each prompt."""

    seeds: Sequence[int]
    temperature: float

    def of(self, part: slice) -> Dice:
        """Those of some of the prompts."""
        return Dice(self.seeds[part], self.temperature)

    def throws(self, count: int) -> torch.Tensor:
        """Numbers in [0, 1), so many for each prompt, [prompt, count]."""
        drawn = (random.Random(seed) for seed in self.seeds)
        return torch.tensor([[dice.random() for _ in range(count)] for dice in drawn],
                            dtype=torch.float64)


class Memory:
    """Keys and values of a batch by layer, [row, head, position, dim]; answers stand behind the widest prompt."""

    def __init__(self, rows: int, width: int, max_tokens: int):
        self.rows, self.width, self.length = rows, width, width + max_tokens
        self.layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.reading: slice | None = None
        """Rows whose prompts are being read; None while answers are written."""
        self.position = width - 1
        """Where the token that is being read stands."""
        self.mask = torch.empty(0)
        """Minus infinity at the padding of each row's prompt, [row, 1, 1, position]."""

    def store_prompts(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep what the rows in `reading` hold."""
        if layer not in self.layers:
            shape = (self.rows, key.shape[1], self.length, key.shape[3])
            self.layers[layer] = key.new_zeros(shape), value.new_zeros(shape)
        for stored, new in zip(self.layers[layer], (key, value), strict=True):
            stored[self.reading, :, :new.shape[2]] = new

    def append(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep one token of every row; returns all that is kept, without the room that is left."""
        keys, values = self.layers[layer]
        keys[:, :, self.position] = key[:, :, 0]
        values[:, :, self.position] = value[:, :, 0]
        return keys[:, :, :self.position + 1], values[:, :, :self.position + 1]

    def hide_padding(self, lengths: torch.Tensor, dtype: torch.dtype) -> None:
        """Set the mask from the lengths of the prompts."""
        positions = torch.arange(self.length, device=lengths.device)
        padding = (positions >= lengths[:, None]) & (positions < self.width)
        self.mask = torch.zeros(padding.shape, dtype=dtype, device=lengths.device).masked_fill_(
            padding, float("-inf"))[:, None, None, :]

    def keep(self, rows: torch.Tensor) -> None:
        """Drop all other rows."""
        for layer, (keys, values) in self.layers.items():
            self.layers[layer] = keys[rows], values[rows]
        self.mask = self.mask[rows]


def attend(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any,
           scaling: float, dropout: float = 0.0, *, memory: Memory, **kwargs: Any) -> tuple[torch.Tensor, None]:
    """Attention over a Memory, in the form transformers calls it; query [row, head, token, dim]."""
    layer = module.layer_idx
    if memory.reading is not None:
        memory.store_prompts(layer, key, value)
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
        return out.transpose(1, 2), None
    keys, values = memory.append(layer, key, value)
    rows, heads, _, dim = query.shape
    grouped = query.reshape(rows, keys.shape[1], -1, dim) * scaling
    scores = grouped @ keys.transpose(2, 3) + memory.mask[..., :memory.position + 1]
    weights = scores.softmax(dim=-1, dtype=torch.float32).to(values.dtype)
    return (weights @ values).reshape(rows, 1, heads, dim), None


AttentionInterface.register(ATTENTION, attend)


class Writing:
    """What has been written of each answer, and which rows of the batch still stand for which of them."""

    def __init__(self, lengths: torch.Tensor, max_tokens: int, dice: Dice | None):
        count, device = len(lengths), lengths.device
        self.tokens = torch.zeros(count, max_tokens, dtype=torch.long, device=device)
        self.log_probability = torch.zeros(count, dtype=torch.float64, device=device)
        self.written = torch.zeros(count, dtype=torch.long, device=device)
        self.ended = torch.zeros(count, dtype=torch.bool, device=device)
        self.answer_of_row = torch.arange(count, device=device)
        self.live = torch.ones(count, dtype=torch.bool, device=device)
        self.lengths = lengths
        self.dice = dice
        self.throws = None if dice is None else dice.throws(max_tokens).to(device)

    def note(self, logits: torch.Tensor, step: int, ends: torch.Tensor) -> torch.Tensor:
        """The most likely token of each row, or a drawn one, noted where the answer is still being
        written."""
        log_probabilities = logits.float().log_softmax(dim=-1)
        if self.dice is None:
            log_probability, token = log_probabilities.max(dim=-1)
        else:
            token = self._drawn(log_probabilities, step)
            log_probability = log_probabilities.gather(-1, token[:, None])[:, 0]
        answers = self.answer_of_row[self.live]
        self.tokens[answers, step] = token[self.live]
        self.log_probability[answers] += log_probability[self.live]
        self.written[answers] += 1
        has_ended = torch.isin(token, ends)
        self.ended[self.answer_of_row[self.live & has_ended]] = True
        self.live &= ~has_ended
        return token

    def _drawn(self, log_probabilities: torch.Tensor, step: int) -> torch.Tensor:
        """The token of each row on which its throw falls, the tokens lying side by side from 0 to
        1."""
        chances = (log_probabilities / self.dice.temperature).softmax(dim=-1, dtype=torch.float64)
        ends = chances.cumsum(dim=-1)
        throw = self.throws[self.answer_of_row, step][:, None] * ends[:, -1:]
        return torch.searchsorted(ends, throw, right=True)[:, 0]

    def drop_finished(self, memory: Memory, token: torch.Tensor, left: int) -> torch.Tensor:
        """The tokens of the rows that stay in the batch."""
        if left > KEEP_SHARE * len(self.live):
            return token
        memory.keep(self.live)
        token, self.lengths = token[self.live], self.lengths[self.live]
        self.answer_of_row, self.live = self.answer_of_row[self.live], self.live[self.live]
        return token

    def answers(self) -> list[Answer]:
        return [Answer(row[:count], total, ended) for row, count, total, ended in zip(
            self.tokens.tolist(), self.written.tolist(), self.log_probability.tolist(), self.ended.tolist(), strict=True)]


@torch.inference_mode()
def decode(model: torch.nn.Module, prompts: Sequence[Sequence[int]], max_tokens: int,
           ends: Sequence[int], dice: Dice | None = None) -> list[Answer]:
    """The most likely continuation of each prompt, token by token.

    Args:
        prompts: at least one; prompts of like length next to each other are read fastest.
        max_tokens: limit of an answer.
        ends: tokens that end an answer.
        dice: draw the tokens in place of the most likely ones.
    """
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
    memory = Memory(len(prompts), int(lengths.max()), max_tokens)
    logits = head(_read_prompts(decoder, prompts, memory))
    memory.hide_padding(lengths, logits.dtype)
    writing, end_tokens = Writing(lengths, max_tokens, dice), torch.tensor(ends,
        device=model.device)
    for step in range(max_tokens):
        token = writing.note(logits, step, end_tokens)
        left = int(writing.live.sum())
        if not left or step + 1 == max_tokens:
            break
        token = writing.drop_finished(memory, token, left)
        memory.position += 1
        positions = (writing.lengths + step)[:, None]
        hidden = decoder(input_ids=token[:, None], position_ids=positions, use_cache=False, memory=memory)
        logits = head(hidden.last_hidden_state[:, 0])
    return writing.answers()


def _read_prompts(decoder: torch.nn.Module, prompts: Sequence[Sequence[int]], memory: Memory) -> torch.Tensor:
    """The last hidden state of each prompt, [row, hidden]; its keys and values go to the memory."""
    last = []
    for start, stop in _portions(prompts):
        portion = prompts[start:stop]
        width = max(map(len, portion))
        ids = torch.tensor([[*prompt, *[0] * (width - len(prompt))] for prompt in portion], device=decoder.device)
        memory.reading = slice(start, stop)
        hidden = decoder(input_ids=ids, use_cache=False, memory=memory).last_hidden_state
        last += [hidden[row, len(prompt) - 1] for row, prompt in enumerate(portion)]
    memory.reading = None
    return torch.stack(last)


def _portions(prompts: Sequence[Sequence[int]]) -> list[tuple[int, int]]:
    """(start, stop) of runs of prompts with at most READ_AT_ONCE padded tokens, at least one prompt each."""
    portions, start, width = [], 0, 0
    for index, prompt in enumerate(prompts):
        width = max(width, len(prompt))
        if index > start and (index - start + 1) * width > READ_AT_ONCE:
            portions.append((start, index))
            start, width = index, len(prompt)
    return [*portions, (start, len(prompts))]
