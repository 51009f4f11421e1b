"""Decoding with a Hugging Face model: one or many answers to each prompt, likeliest or drawn.

In: token ids of prompts. Out: Answers, with the log-probability of every token. Several times
faster than `model.generate` on a CPU:
- a prompt is read once, however many answers it gets; a few prompts at a time, so that activations
  stay in the cache;
- keys and values are written in place, and never repeated per query head; attention over a prompt
  is one matrix product for all of its answers;
- finished answers leave the batch.

Prompts are padded on the right and padding is masked, so an answer does not depend on its
neighbours beyond rounding. Log-probabilities are those of the forward passes that chose the tokens,
in float32.
"""
from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F
from transformers import AttentionInterface

ATTENTION = "looptool_decoding"
"""The model must have been built with attn_implementation=ATTENTION."""
READ_AT_ONCE = 2048
"""Padded tokens of prompts that are read in one forward pass."""
COMPACT_EVERY = 8
"""Steps between two removals of finished answers; removing copies what is kept."""


@dataclass
class Answer:
    """One answer."""

    tokens: list[int]
    """Its end token included, if it came to one."""
    log_probs: list[float]
    """Of each token, as it was chosen."""
    ended: bool
    """Whether it ended by itself, and not by reaching the limit."""


Choose = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""(logits of the next token [row, token], which answer each row is) -> the token of each row, and
its log-probability. Called once a step."""


def likeliest(logits: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Greedy."""
    log_prob, token = logits.float().log_softmax(dim=-1).max(dim=-1)
    return token, log_prob


def draws(temperature: float, generator: torch.Generator) -> Choose:
    """Drawn at a temperature, whose log-probabilities they are; at 0 greedy."""
    def choose(logits: torch.Tensor, answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs = (logits.float() / temperature).log_softmax(dim=-1)
        throws = torch.rand(len(logits), generator=generator, device=logits.device)
        tokens = _hit(log_probs.exp(), throws)
        return tokens, log_probs.gather(1, tokens[:, None])[:, 0]

    return choose if temperature else likeliest


class Dice:
    """Drawn at a temperature by a seed for each answer, whatever batch it is in; log-probabilities
    are those at temperature 1."""

    def __init__(self, seeds: Sequence[int], temperature: float):
        self._dice = [random.Random(seed) for seed in seeds]
        self._temperature = temperature

    def __call__(self, logits: torch.Tensor,
                 answers: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        log_probs = logits.float().log_softmax(dim=-1)
        chances = (log_probs / self._temperature).softmax(dim=-1, dtype=torch.float64)
        throws = [self._dice[answer].random() for answer in answers.tolist()]
        tokens = _hit(chances, torch.tensor(throws, dtype=chances.dtype, device=logits.device))
        return tokens, log_probs.gather(1, tokens[:, None])[:, 0]


def _hit(chances: torch.Tensor, throws: torch.Tensor) -> torch.Tensor:
    """The token of each row on which its throw in [0, 1) falls, the tokens lying side by side."""
    ends = chances.cumsum(dim=-1)
    # ends[-1] is 1 but for rounding; right=True passes over tokens that have no chance at all,
    # and the clamp takes in a throw that rounding has put on the very end
    hit = torch.searchsorted(ends, throws[:, None] * ends[:, -1:], right=True)[:, 0]
    return hit.clamp_(max=chances.shape[-1] - 1)


class Memory:
    """Keys and values by layer: of the prompts, [prompt, head, position, dim], and of the answers.

    The batch is a grid of G prompts x R answers; answer r of prompt g is row g * R + r.
    """

    def __init__(self, lengths: torch.Tensor, max_tokens: int, dtype: torch.dtype):
        self.max_tokens = max_tokens
        self.prompts: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.answers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        self.reading: slice | None = None
        """Prompts that are being read; None while answers are written."""
        self.step = 0
        """Position of the answer token that is being read."""
        beyond = torch.arange(int(lengths.max()), device=lengths.device) >= lengths[:, None]
        self.mask = torch.zeros(beyond.shape, dtype=dtype, device=lengths.device).masked_fill_(
            beyond, float("-inf"))[:, None, None, :]

    def store_prompts(self, layer: int, key: torch.Tensor, value: torch.Tensor) -> None:
        """Keep what the prompts in `reading` hold."""
        if layer not in self.prompts:
            shape = (len(self.mask), key.shape[1], self.mask.shape[-1], key.shape[3])
            self.prompts[layer] = key.new_zeros(shape), value.new_zeros(shape)
        for stored, new in zip(self.prompts[layer], (key, value), strict=True):
            stored[self.reading, :, :new.shape[2]] = new

    def append(self, layer: int, key: torch.Tensor,
               value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Keep one token of every row, [row, head, 1, dim]; returns all so far, with this one."""
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


def attend(module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
           attention_mask: Any, scaling: float, dropout: float = 0.0, *, memory: Memory,
           **kwargs: Any) -> tuple[torch.Tensor, None]:
    """Attention over a Memory, as transformers calls it; query [row, head, token, dim].

    Causal attention alone keeps a prompt's tokens from seeing the padding, which is on the right.
    """
    layer = module.layer_idx
    if memory.reading is not None:
        memory.store_prompts(layer, key, value)
        out = F.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling,
                                             enable_gqa=True)
        return out.transpose(1, 2), None
    prompt_keys, prompt_values = memory.prompts[layer]
    keys, values = memory.append(layer, key, value)
    (grid, kv_heads, length, dim), (rows, heads) = prompt_keys.shape, query.shape[:2]
    answers, share = rows // grid, heads // kv_heads

    def by_prompt(of_rows: torch.Tensor) -> torch.Tensor:
        """[row, kv head, share, x] -> [prompt, kv head, answer x share, x]."""
        apart = of_rows.reshape(grid, answers, kv_heads, share, -1)
        return apart.transpose(1, 2).reshape(grid, kv_heads, answers * share, -1)

    def by_row(of_prompts: torch.Tensor) -> torch.Tensor:
        apart = of_prompts.view(grid, kv_heads, answers, share, -1)
        return apart.transpose(1, 2).reshape(rows, kv_heads, share, -1)

    asked = query.reshape(rows, kv_heads, share, dim) * scaling
    to_prompt = by_row(by_prompt(asked) @ prompt_keys.transpose(2, 3) + memory.mask)
    weights = torch.cat((to_prompt, asked @ keys.transpose(2, 3)), dim=-1).softmax(
        dim=-1, dtype=torch.float32).to(values.dtype)
    out = by_row(by_prompt(weights[..., :length]) @ prompt_values)
    return (out + weights[..., length:] @ values).reshape(rows, 1, heads, dim), None


AttentionInterface.register(ATTENTION, attend)


class Grid:
    """Which answer each row of the batch is, and whether it is still being written."""

    def __init__(self, counts: Sequence[int], device: torch.device):
        self.shape = len(counts), max(counts)
        columns = torch.arange(self.shape[1], device=device)
        self.identity = torch.arange(self.shape[0] * self.shape[1], device=device)
        self.live = (columns < torch.tensor(counts, device=device)[:, None]).flatten()

    def compact(self, memory: Memory) -> torch.Tensor | None:
        """Drop prompts without a live answer, and columns while every prompt has a finished answer
        to spare.

        Returns:
            The rows kept, in order; None when nothing could be dropped.
        """
        live = self.live.view(self.shape)
        prompts = live.any(dim=1).nonzero()[:, 0]
        answers = int(live.sum(dim=1).max())
        if (len(prompts), answers) == self.shape:
            return None
        # the live ones first, so that the columns behind the longest row hold none
        columns = live[prompts].to(torch.int8).argsort(dim=1, descending=True, stable=True)
        rows = (prompts[:, None] * self.shape[1] + columns[:, :answers]).flatten()
        memory.keep(prompts, rows)
        self.identity, self.live, self.shape = (
            self.identity[rows], self.live[rows], (len(prompts), answers))
        return rows


@torch.inference_mode()
def decode(model: torch.nn.Module, prompts: Sequence[Sequence[int]], max_tokens: int,
           ends: Sequence[int], choose: Choose = likeliest,
           counts: Sequence[int] | None = None) -> list[list[Answer]]:
    """Write counts[i] answers to prompts[i], by default one.

    Args:
        prompts: at least one; prompts of like length next to each other are read fastest.
        max_tokens: limit of an answer.
        ends: tokens that end an answer.
        choose: what token comes next.
    """
    device, counts = model.device, counts or [1] * len(prompts)
    decoder, head = model.get_decoder(), model.get_output_embeddings()
    lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
    memory, grid = Memory(lengths, max_tokens, model.dtype), Grid(counts, device)
    rows, width = len(grid.identity), max(counts)
    logits = head(_read_prompts(decoder, prompts, memory)).repeat_interleave(width, dim=0)
    positions = lengths.repeat_interleave(width)
    tokens = torch.zeros(rows, max_tokens, dtype=torch.long, device=device)
    log_probs = torch.zeros(rows, max_tokens, device=device)
    written = torch.zeros(rows, dtype=torch.long, device=device)
    ended, end_tokens = written.bool(), torch.tensor(ends, device=device)
    for step in range(max_tokens):
        token, log_prob = choose(logits, grid.identity)
        live = grid.identity[grid.live]
        tokens[live, step], log_probs[live, step] = token[grid.live], log_prob[grid.live]
        written[live] += 1
        has_ended = torch.isin(token, end_tokens)
        ended[grid.identity[grid.live & has_ended]] = True
        grid.live &= ~has_ended
        # before the forward pass, which a last token does not need
        if not grid.live.any() or step + 1 == max_tokens:
            break
        if (step + 1) % COMPACT_EVERY == 0 and (kept := grid.compact(memory)) is not None:
            token, positions = token[kept], positions[kept]
        memory.step = step
        hidden = decoder(input_ids=token[:, None], position_ids=(positions + step)[:, None],
                         use_cache=False, memory=memory).last_hidden_state
        logits = head(hidden[:, 0])
    answers = [Answer(row[:count], each[:count], end) for row, each, count, end in zip(
        tokens.tolist(), log_probs.tolist(), written.tolist(), ended.tolist(), strict=True)]
    return [answers[i * width:i * width + count] for i, count in enumerate(counts)]


def _read_prompts(decoder: torch.nn.Module, prompts: Sequence[Sequence[int]],
                  memory: Memory) -> torch.Tensor:
    """The last hidden state of each prompt, [prompt, hidden]; keys and values go to the memory."""
    last = []
    # assigned by the loop itself: `attend` looks at it in each forward pass
    for memory.reading in _portions(prompts):
        portion = prompts[memory.reading]
        width = max(map(len, portion))
        ids = torch.tensor([[*prompt, *[0] * (width - len(prompt))] for prompt in portion],
                           device=decoder.device)
        hidden = decoder(input_ids=ids, use_cache=False, memory=memory).last_hidden_state
        last += [hidden[row, len(prompt) - 1] for row, prompt in enumerate(portion)]
    memory.reading = None
    return torch.stack(last)


def _portions(prompts: Sequence[Sequence[int]]) -> list[slice]:
    """Runs of prompts with at most READ_AT_ONCE padded tokens, at least one prompt each."""
    portions, start, width = [], 0, 0
    for index, prompt in enumerate(prompts):
        width = max(width, len(prompt))
        if index > start and (index - start + 1) * width > READ_AT_ONCE:
            portions.append(slice(start, index))
            start, width = index, len(prompt)
    return [*portions, slice(start, len(prompts))]
