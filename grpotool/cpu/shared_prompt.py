"""Sampling many answers to few prompts on a CPU: each prompt is read once, however many rollouts it has.

In: a Hugging Face causal language model, token ids of prompts, how many answers of each. Out: token ids and their
log-probabilities. No verl here. Three things make it several times faster than `model.generate` on repeated prompts:
keys and values of a prompt are computed and stored once, attention over them is one matrix product for all rollouts
of the prompt, and finished answers leave the batch.
"""
from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface

ATTENTION = "shared_prompt"
COMPACT_EVERY = 8
"""Steps between two removals of finished answers; removing copies what is kept."""


@dataclass
class Answer:
    """One sampled answer."""

    tokens: list[int]
    """Its end token included, if it came to one."""
    log_probs: list[float]
    """Of each token, under the distribution it was drawn from, temperature included."""
    finished: bool
    """Whether it ended by itself, and not by reaching the limit."""


class Memory:
    """Keys and values: of the prompts, [prompt, head, position, dim], and of the answers so far.

    The batch is a grid of G prompts x R answers; answer r of prompt g is row g * R + r.
    """

    def __init__(self, lengths: torch.Tensor, max_tokens: int):
        self.max_tokens = max_tokens
        self.prompts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.answers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.step = -1
        """Position of the answer token that is being read; -1 while the prompts are read."""
        beyond = torch.arange(int(lengths.max()))[None, :] >= lengths[:, None]
        self.mask = torch.zeros(beyond.shape).masked_fill_(beyond, float("-inf"))[:, None, None, :]

    def append(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Store one token of every row, [row, head, 1, dim]; returns all stored so far, this token included."""
        if layer not in self.answers:
            rows, heads, _, dim = key.shape
            self.answers[layer] = (key.new_empty(rows, heads, self.max_tokens, dim),
                                   key.new_empty(rows, heads, self.max_tokens, dim))
        keys, values = self.answers[layer]
        keys[:, :, self.step] = key[:, :, 0]
        values[:, :, self.step] = value[:, :, 0]
        return keys[:, :, :self.step + 1], values[:, :, :self.step + 1]

    def keep(self, prompts: torch.Tensor, rows: torch.Tensor) -> None:
        """Drop all but these prompts and these rows of the grid."""
        self.prompts = {layer: (k[prompts], v[prompts]) for layer, (k, v) in self.prompts.items()}
        self.answers = {layer: (k[rows], v[rows]) for layer, (k, v) in self.answers.items()}
        self.mask = self.mask[prompts]


def attend(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: Any,
           scaling: float, dropout: float = 0.0, *, memory: Memory, **kwargs: Any) -> tuple[torch.Tensor, None]:
    """Attention with a Memory, in the form transformers calls it; query [row, head, token, dim].

    Prompts are padded on the right, so causal attention alone keeps their tokens from seeing the padding.
    """
    layer = module.layer_idx
    if memory.step < 0:
        memory.prompts[layer] = (key, value)
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
        return out.transpose(1, 2), None
    prompt_keys, prompt_values = memory.prompts[layer]
    keys, values = memory.append(layer, key, value)
    (grid, kv_heads, length, dim), (rows, heads) = prompt_keys.shape, query.shape[:2]
    answers, share = rows // grid, heads // kv_heads
    by_row = query.view(rows, kv_heads, share, dim) * scaling
    by_prompt = by_row.view(grid, answers, kv_heads, share, dim).transpose(1, 2).reshape(grid, kv_heads, -1, dim)
    to_prompt = (by_prompt @ prompt_keys.transpose(2, 3) + memory.mask).view(grid, kv_heads, answers, share, length)
    to_prompt = to_prompt.transpose(1, 2).reshape(rows, kv_heads, share, length)
    weights = torch.cat((to_prompt, by_row @ keys.transpose(2, 3)), dim=-1).softmax(dim=-1)
    on_prompt = weights[..., :length].view(grid, answers, kv_heads, share, length).transpose(1, 2)
    out = on_prompt.reshape(grid, kv_heads, -1, length) @ prompt_values
    out = out.view(grid, kv_heads, answers, share, dim).transpose(1, 2).reshape(rows, kv_heads, share, dim)
    return (out + weights[..., length:] @ values).reshape(rows, 1, heads, dim), None


AttentionInterface.register(ATTENTION, attend)


class Grid:
    """Which answer each row of the batch is, and whether it is still being written."""

    def __init__(self, prompts: int, answers: int, live: torch.Tensor):
        self.identity = torch.arange(prompts * answers)
        self.live = live
        self.shape = (prompts, answers)

    def compact(self, memory: Memory) -> torch.Tensor | None:
        """Drop prompts without a live answer, and columns while every prompt has a finished answer to spare.

        Returns:
            The rows kept, in order; None when nothing could be dropped.
        """
        live = self.live.view(self.shape)
        prompts = live.any(dim=1).nonzero()[:, 0]
        answers = int(live.sum(dim=1).max())
        if (len(prompts), answers) == self.shape:
            return None
        columns = live[prompts].to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :answers]
        rows = (prompts[:, None] * self.shape[1] + columns).flatten()
        memory.keep(prompts, rows)
        self.identity, self.live, self.shape = self.identity[rows], self.live[rows], (len(prompts), answers)
        return rows


def draw(logits: torch.Tensor, temperature: float, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """One token for each row of logits and its log-probability; temperature 0 takes the most likely."""
    log_probs = (logits.float() / (temperature or 1.0)).log_softmax(dim=-1)
    if temperature:
        cumulated = log_probs.exp().cumsum(dim=-1)
        below = torch.rand(len(logits), 1, generator=generator) * cumulated[:, -1:]
        tokens = torch.searchsorted(cumulated, below, right=True).clamp_(max=logits.shape[-1] - 1)
    else:
        tokens = log_probs.argmax(dim=-1, keepdim=True)
    return tokens[:, 0], log_probs.gather(1, tokens)[:, 0]


def pad_prompts(prompts: list[list[int]], pad: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids [prompt, position], padded on the right, and lengths [prompt]."""
    lengths = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.full((len(prompts), int(lengths.max())), pad)
    for row, prompt in zip(ids, prompts, strict=True):
        row[:len(prompt)] = torch.tensor(prompt)
    return ids, lengths


@torch.inference_mode()
def sample(model: torch.nn.Module, prompts: list[list[int]], counts: list[int], max_tokens: int, ends: list[int],
           temperature: float, generator: torch.Generator) -> list[list[Answer]]:
    """Draw counts[i] answers to prompts[i]; the model must have been built with attn_implementation=ATTENTION.

    Args:
        max_tokens: limit of an answer.
        ends: tokens that end an answer.
    """
    ids, lengths = pad_prompts(prompts, ends[0])
    width = max(counts)
    memory = Memory(lengths, max_tokens)
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    hidden = decoder(input_ids=ids, use_cache=False, memory=memory).last_hidden_state
    logits = head(hidden[torch.arange(len(prompts)), lengths - 1]).repeat_interleave(width, dim=0)
    positions = lengths.repeat_interleave(width)
    grid = Grid(len(prompts), width, (torch.arange(width)[None, :] < torch.tensor(counts)[:, None]).flatten())
    tokens = torch.zeros(len(prompts) * width, max_tokens, dtype=torch.long)
    log_probs = torch.zeros(len(prompts) * width, max_tokens)
    written = torch.zeros(len(prompts) * width, dtype=torch.long)
    finished = torch.zeros(len(prompts) * width, dtype=torch.bool)
    end_tokens = torch.tensor(ends)
    for step in range(max_tokens):
        token, log_prob = draw(logits, temperature, generator)
        rows = grid.identity[grid.live]
        tokens[rows, step], log_probs[rows, step] = token[grid.live], log_prob[grid.live]
        written[rows] += 1
        ended = torch.isin(token, end_tokens)
        finished[grid.identity[grid.live & ended]] = True
        grid.live &= ~ended
        if not grid.live.any() or step + 1 == max_tokens:
            break
        if step % COMPACT_EVERY == COMPACT_EVERY - 1 and (kept := grid.compact(memory)) is not None:
            token, positions = token[kept], positions[kept]
        memory.step = step
        hidden = decoder(input_ids=token[:, None], position_ids=(positions + step)[:, None], use_cache=False,
                         memory=memory).last_hidden_state
        logits = head(hidden[:, 0])
    return [[Answer(tokens[row, :written[row]].tolist(), log_probs[row, :written[row]].tolist(), bool(finished[row]))
             for row in range(i * width, i * width + count)] for i, count in enumerate(counts)]
