"""Build the tiny student: its tokenizer, its model, and its first skill, from a seed.

in   nothing but the simulation's training words
out  <out>/ a Qwen3ForCausalLM checkpoint of 2.7M parameters that calls tools on about half of held-out tasks

    python grpotool/tiny_student/build.py --out grpotool/tiny_student/checkpoint

Trained on tasks alone, a model of this size does not learn to copy values within hours. So copying comes first:
1. the weights start with an induction circuit, and random strings, repeated, wake it;
2. tasks in the levels of curriculum.py, the easiest first; one batch in eight goes on repeating.
It stops early on purpose: the loop has to have something left to teach.
"""
from __future__ import annotations

import argparse
import json
import logging
import math
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from grpotool.tiny_student.curriculum import LEVELS, WORDS, Lesson, Level, draw_lesson
from grpotool.tiny_student.tokenizer import build_tokenizer
from looptool.prompt import render_conversation, render_messages, render_system
from looptool.records import write_atomic
from looptool.simulation.catalogue import catalogue
from looptool.simulation.tasks import draw_task, draw_tools

BATCH_TOKENS, LONGEST, LEARNING_RATE, OTHER_WEIGHT = 4096, 640, 2e-3, 0.2
STEPS = (250, 250, 700, 900, 2400)
log = logging.getLogger("build")

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Token ids, which of them are no padding, and which are answers, each [rows, tokens]."""


def build_model(tokenizer, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 of 2.7M parameters; random weights, but for what `plant_embeddings` and `plant_induction` do."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=6, head_dim=32, max_position_embeddings=4096, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, attn_implementation="sdpa",
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None))
    plant_embeddings(model, tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    plant_induction(model)
    return model


SCALE = 0.06
"""Standard deviation of the embeddings."""


@torch.no_grad()
def plant_embeddings(model: Qwen3ForCausalLM, tokens: list[str]) -> None:
    """One direction for all tokens, one a word, and one each for a space before it and for a capital.

    So " Oslo" is nearly "Oslo" from the start: a value stands after a space in a sentence and after a quote in JSON.
    """
    hidden = model.config.hidden_size
    everywhere, spaced, capital = torch.nn.functional.normalize(torch.randn(3, hidden), dim=1) * SCALE * hidden ** 0.5
    words = {token.lstrip("Ġ").lower(): SCALE * torch.randn(hidden) for token in tokens}
    for token, embedding in zip(tokens, model.model.embed_tokens.weight, strict=True):
        word = token.lstrip("Ġ")
        embedding.copy_(words[word.lower()] + 0.5 * everywhere + 0.3 * spaced * (token != word)
                        + 0.3 * capital * (word != word.lower()))


PARTNERS = (None, None, None, 0, 1)
"""Planted heads of either layer: those without a partner compare the last token, the others the one before it, which at
the current place their partner remembers."""


def turned(vector: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """Rotated as rotary position embedding does it, by an angle for each pair of dimensions."""
    cosine, sine = torch.cat([angle.cos()] * 2), torch.cat([angle.sin()] * 2)
    half = len(vector) // 2
    return vector * cosine + torch.cat([-vector[half:], vector[:half]]) * sine


@torch.no_grad()
def plant_induction(model: Qwen3ForCausalLM) -> None:
    """Start from a two-layer circuit that copies: after "A B ... A" comes "B" (induction heads, Olsson et al. 2022).

    A head of layer 0 looks some tokens back and writes what it sees into directions of its own. A head of layer 1 looks
    for the place where these directions hold what the current place has, and votes for the token that stands there:
    some heads compare the last token, some the one before it, so that a place where both agree wins. Left to chance,
    the circuit took over two million tokens of random strings to begin to form; planted roughly, 250,000 make it work.
    """
    hidden, size = model.config.hidden_size, model.config.head_dim
    everywhere = torch.nn.functional.normalize(model.model.embed_tokens.weight.mean(0), dim=0)
    looking, matching = (model.model.layers[index].self_attn for index in (0, 1))

    def reader() -> torch.Tensor:
        random = torch.randn(size, hidden) / hidden ** 0.5
        return random - torch.outer(random @ everywhere, everywhere)

    here = torch.zeros(size)
    here[[0, 1, size // 2, size // 2 + 1]] = 1.0  # the fastest rotary pairs tell neighbors apart
    planted: list[tuple[torch.Tensor, torch.Tensor]] = []
    for head, partner in enumerate(PARTNERS):
        rows, copy = slice(head * size, (head + 1) * size), reader()
        memory = torch.linalg.qr(torch.randn(hidden, size))[0]
        token, seen = (new := reader(), new) if partner is None else (planted[partner][0], planted[partner][1].T)
        back = 1 if partner is None else 2
        looking.q_proj.weight[rows] = torch.outer(here, everywhere)
        looking.k_proj.weight[rows] = torch.outer(turned(here, back * model.model.rotary_emb.inv_freq), everywhere)
        looking.v_proj.weight[rows], looking.o_proj.weight[:, rows] = token, 2 * SCALE * memory
        matching.q_proj.weight[rows], matching.k_proj.weight[rows] = seen, memory.T
        matching.v_proj.weight[rows], matching.o_proj.weight[:, rows] = copy, 2 * SCALE * copy.T
        planted.append((token, memory))
    for attention, sharpness in ((looking, 2.0), (matching, 1.4)):
        attention.q_norm.weight.fill_(sharpness)
        attention.k_norm.weight.fill_(sharpness)


def repeated_strings(rng: random.Random, vocabulary: int) -> Batch:
    """Random token strings, each twice; the second copy is the answer.

    Each string has an alphabet of its own. In a small one tokens recur, and one token back does not tell the place.
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


def task_batches(rng: random.Random, tokenizer, level: Level) -> Iterator[Batch]:
    """Endless batches of at most BATCH_TOKENS tokens, rows of like length together."""
    while True:
        drawn = (encode(draw_lesson(rng, level), tokenizer) for _ in range(256))
        rows = sorted((row for row in drawn if len(row[0]) <= LONGEST), key=lambda row: -len(row[0]))
        batches = []
        while rows:
            fits = max(1, BATCH_TOKENS // len(rows[0][0]))
            batches.append(rows[:fits])
            rows = rows[fits:]
        rng.shuffle(batches)
        for batch in batches:
            yield pad(batch, tokenizer.pad_token_id)


def tokenizer_texts(rng: random.Random) -> Iterator[str]:
    """Lessons, and tasks of the training catalogue so that its words are not torn to pieces."""
    pool = catalogue("train")
    for _ in range(2000):
        lesson = draw_lesson(rng, LEVELS[-1])
        tools = draw_tools(rng, pool, 3)
        task = draw_task(rng, tools, "train")
        yield render_system(lesson.tools, lesson.date, "short") + render_system(tools, lesson.date, "short")
        yield render_conversation([*lesson.messages, *task.messages])
    yield from [" " + " ".join(WORDS)] * 20 + ["_".join(WORDS)] * 8


def encode(lesson: Lesson, tokenizer) -> tuple[list[int], list[bool]]:
    """Token ids of a whole conversation, and which of them the assistant wrote, end tokens included."""
    chat = [{"role": "system", "content": render_system(lesson.tools, lesson.date, "short")},
            *render_messages(lesson.messages)]
    ids, written = [], []
    for turn in chat:
        opening, content = f"<|im_start|>{turn['role']}\n", f"{turn['content']}<|im_end|>"
        for text, is_answer in ((opening, False), (content, turn["role"] == "assistant"), ("\n", False)):
            part = tokenizer(text)["input_ids"]
            ids += part
            written += [is_answer] * len(part)
    return ids, written


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


@torch.compile(dynamic=True)
def token_losses(model: Qwen3ForCausalLM, ids: torch.Tensor, rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    """Loss of the tokens behind these places. Rows are padded on the right, so causal attention needs no mask."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = model.lm_head(model.model(input_ids=ids).last_hidden_state[rows, columns])
    return torch.nn.functional.cross_entropy(logits.float(), ids[rows, columns + 1], reduction="none")


OTHERS = 0.15
"""Share of the tokens outside of answers that are learnt too; logits of all of them would take half of the time."""


def losses(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss on answers, and on a random share of the other tokens."""
    ids, mask, answers = batch
    chosen = (answers | (torch.rand(ids.shape) < OTHERS) & mask.bool())[:, 1:]
    rows, columns = chosen.nonzero(as_tuple=True)
    loss, is_answer = token_losses(model, ids, rows, columns), answers[rows, columns + 1]
    return loss[is_answer].mean(), loss[~is_answer].mean()


def train(model: Qwen3ForCausalLM, tokenizer, seed: int, steps: Sequence[int]) -> None:
    """Repetition for steps[0] steps, then each level of the curriculum; one batch in eight goes on repeating."""
    rng = random.Random(f"{seed}:curriculum")
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    lessons = [task_batches(rng, tokenizer, level) for level in LEVELS]
    plan = [lesson for lesson, count in enumerate(steps, -1) for _ in range(count)]
    smooth, start, decay = None, time.monotonic(), sum(steps) - sum(steps[:3])
    for step, lesson in enumerate(tqdm(plan, desc="build", disable=None)):
        repeats = lesson < 0 or step % 8 == 0
        batch = repeated_strings(rng, len(tokenizer)) if repeats else next(lessons[lesson])
        answer_loss, other_loss = losses(model, batch)
        (answer_loss + (0.0 if repeats else OTHER_WEIGHT) * other_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 50, (len(plan) - step) / decay)
        optimizer.step()
        optimizer.zero_grad()
        if not repeats or lesson < 0:
            smooth = answer_loss.item() if smooth is None else 0.95 * smooth + 0.05 * answer_loss.item()
        if step % 100 == 99:
            log.info("step %d, lesson %d: answer loss %.3f, %.0f s", step + 1, lesson + 1, smooth,
                     time.monotonic() - start)


def save(model: Qwen3ForCausalLM, tokenizer, out: Path, settings: dict) -> None:
    """Checkpoint in bfloat16 with a generation config that names the end token."""
    model.to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
                     do_sample=True).save_pretrained(out)
    write_atomic(out / "build.json", [json.dumps(settings, indent=1).encode() + b"\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs=1 + len(LEVELS), default=STEPS,
                        help="of repetition and of each level of the curriculum")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tokenizer = build_tokenizer(tokenizer_texts(random.Random(f"{args.seed}:tokenizer")))
    model = build_model(tokenizer, args.seed)
    log.info("%d tokens, %.2fM parameters", len(tokenizer), sum(p.numel() for p in model.parameters()) / 1e6)
    train(model, tokenizer, args.seed, args.steps)
    save(model, tokenizer, args.out, {**vars(args), "out": None, "torch": torch.__version__})


if __name__ == "__main__":
    main()
