"""Build the tiny student: its tokenizer, its model, and its first skill, from a seed.

in   nothing but the simulation's training words
out  <out>/ a Qwen3ForCausalLM checkpoint of about 2M parameters that calls tools on about half of held-out tasks

    python grpotool/tiny_student/build.py --out grpotool/tiny_student/checkpoint

Trained on tasks alone, a model of this size does not learn to copy values within hours. So copying comes first:
1. the weights start with an induction circuit, and random strings, repeated, wake it;
2. tasks with one or two tools; one batch in eight still repeats;
3. tasks with up to four tools, the learning rate falling to zero.
It stops early on purpose: the loop has to have something left to teach.
"""
from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from grpotool.tiny_student.curriculum import draw_sample
from grpotool.tiny_student.tokenizer import build_tokenizer
from looptool.prompt import render_answer, render_conversation, render_sample, render_system
from looptool.records import write_atomic
from looptool.simulation.catalogue import catalogue
from looptool.simulation.tasks import draw_task, draw_tools

BATCH, IGNORED = 16, -100
log = logging.getLogger("build")

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Token ids, attention mask and which tokens are answers, each [rows, tokens]."""


def build_model(tokenizer, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 of about 2M parameters with random weights but for the circuit of `plant_induction`."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=2, head_dim=32, max_position_embeddings=4096, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, attn_implementation="sdpa",
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None))
    plant_induction(model)
    return model


@torch.no_grad()
def plant_induction(model: Qwen3ForCausalLM) -> None:
    """Start from the two-layer circuit that copies: after "A B ... A" comes "B" (induction heads, Olsson et al. 2022).

    Heads of layer 0 look one token back and write what they see into directions of their own; heads of layer 1 look for
    the place whose predecessor is the current token, and copy what stands there. Left to chance, the circuit took over
    two million tokens of random strings to begin to form; planted roughly, 250,000 make it work.
    """
    config, scale = model.config, 0.06
    hidden, size = config.hidden_size, config.head_dim
    heads = config.num_attention_heads // config.num_key_value_heads
    everywhere = torch.nn.functional.normalize(torch.randn(hidden), dim=0)
    model.model.embed_tokens.weight.normal_(std=scale).add_(0.5 * scale * hidden ** 0.5 * everywhere)
    previous, matching = (model.model.layers[index].self_attn for index in (0, 1))

    here = torch.zeros(size)
    here[[0, 1, size // 2, size // 2 + 1]] = 1.0  # the fastest rotary pairs tell neighbors apart
    angle = model.model.rotary_emb.inv_freq
    cosine, sine = torch.cat([angle.cos()] * 2), torch.cat([angle.sin()] * 2)
    one_later = here * cosine + torch.cat([-here[size // 2:], here[:size // 2]]) * sine

    def reader() -> torch.Tensor:
        random = torch.randn(size, hidden) / hidden ** 0.5
        return random - torch.outer(random @ everywhere, everywhere)

    token, copy, memory = reader(), reader(), torch.linalg.qr(torch.randn(hidden, size))[0]
    previous.k_proj.weight[:size], previous.v_proj.weight[:size] = torch.outer(one_later, everywhere), token
    matching.k_proj.weight[:size], matching.v_proj.weight[:size] = memory.T, copy
    for rows in (slice(head * size, (head + 1) * size) for head in range(heads)):
        previous.q_proj.weight[rows], previous.o_proj.weight[:, rows] = torch.outer(here, everywhere), 2 * scale * memory
        matching.q_proj.weight[rows], matching.o_proj.weight[:, rows] = token, 4 * scale * copy.T
    for attention, sharpness in ((previous, 2.0), (matching, 1.4)):
        attention.q_norm.weight.fill_(sharpness)
        attention.k_norm.weight.fill_(sharpness)


def repeated_strings(rng: random.Random, vocabulary: int) -> Batch:
    """Random token strings, each twice; the second copy is the answer."""
    length = rng.randint(16, 64)
    first = torch.tensor([[rng.randrange(vocabulary) for _ in range(length)] for _ in range(BATCH * 2)])
    ids = torch.cat([first, first], 1)
    answers = torch.zeros_like(ids)
    answers[:, length:] = 1
    return ids, torch.ones_like(ids), answers


def task_batches(rng: random.Random, tokenizer, most_tools: int) -> Iterator[Batch]:
    """Endless batches of tasks, rows of like length together."""
    while True:
        rows = sorted((_encode(draw_sample(rng, most_tools), tokenizer) for _ in range(BATCH * 8)),
                      key=lambda row: len(row[0]))
        batches = [rows[start:start + BATCH] for start in range(0, len(rows), BATCH)]
        rng.shuffle(batches)
        for batch in batches:
            yield _pad(batch, tokenizer.pad_token_id)


def tokenizer_texts(rng: random.Random) -> Iterator[str]:
    """Lessons, and tasks of the training catalogue so that its words are not torn to pieces."""
    pool = catalogue("train")
    for _ in range(2000):
        lesson = draw_sample(rng, 3)
        tools = draw_tools(rng, pool, 3)
        task = draw_task(rng, tools, "train")
        yield render_system(lesson.tools, lesson.date, "short") + render_system(tools, lesson.date, "short")
        yield render_conversation([*lesson.messages, lesson.label, *task.messages])


def _encode(sample, tokenizer) -> tuple[list[int], int]:
    prompt = tokenizer.apply_chat_template(render_sample(sample, "short"), add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer(prompt)["input_ids"]
    return prompt_ids + tokenizer(render_answer(sample.label) + tokenizer.eos_token)["input_ids"], len(prompt_ids)


def _pad(rows: list[tuple[list[int], int]], pad: int) -> Batch:
    width = max(len(ids) for ids, _ in rows)
    ids = torch.full((len(rows), width), pad)
    mask, answers = torch.zeros_like(ids), torch.zeros_like(ids)
    for i, (row, prompt) in enumerate(rows):
        ids[i, :len(row)] = torch.tensor(row)
        mask[i, :len(row)] = 1
        answers[i, prompt:len(row)] = 1
    return ids, mask, answers


@torch.compile(dynamic=True)
def losses(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss on answers, and on all tokens."""
    ids, mask, answers = batch
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(input_ids=ids).logits  # rows are padded on the right, so causal attention needs no mask
    token_loss = torch.nn.functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), ids[:, 1:], reduction="none")
    on_answers, on_all = answers[:, 1:], mask[:, 1:]
    return (token_loss * on_answers).sum() / on_answers.sum(), (token_loss * on_all).sum() / on_all.sum()


def train(model: Qwen3ForCausalLM, tokenizer, seed: int, repeat_steps: int, few_steps: int, many_steps: int) -> None:
    """The three lessons of the curriculum."""
    rng = random.Random(f"{seed}:curriculum")
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    few, many = task_batches(rng, tokenizer, 2), task_batches(rng, tokenizer, 4)
    total = repeat_steps + few_steps + many_steps
    smooth, start = None, time.monotonic()
    for step in tqdm(range(total), desc="build", disable=None):
        if step < repeat_steps or (step < repeat_steps + few_steps and step % 8 == 0):
            batch, on_all_share = repeated_strings(rng, len(tokenizer)), 0.0
        else:
            batch, on_all_share = next(few if step < repeat_steps + few_steps else many), 0.2
        left = (total - step) / (many_steps / 2 + 1)
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, (step + 1) / 50, left)
        answer_loss, all_loss = losses(model, batch)
        optimizer.zero_grad()
        (answer_loss + on_all_share * all_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        if on_all_share or step < repeat_steps:
            smooth = answer_loss.item() if smooth is None else 0.95 * smooth + 0.05 * answer_loss.item()
        if step % 100 == 99:
            log.info("step %d: answer loss %.3f, %.0f s", step + 1, smooth, time.monotonic() - start)


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
    parser.add_argument("--repeat-steps", type=int, default=300)
    parser.add_argument("--few-steps", type=int, default=800)
    parser.add_argument("--many-steps", type=int, default=1500)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tokenizer = build_tokenizer(tokenizer_texts(random.Random(f"{args.seed}:tokenizer")))
    model = build_model(tokenizer, args.seed)
    log.info("%d tokens, %.2fM parameters", len(tokenizer), sum(p.numel() for p in model.parameters()) / 1e6)
    train(model, tokenizer, args.seed, args.repeat_steps, args.few_steps, args.many_steps)
    save(model, tokenizer, args.out, {**vars(args), "out": None, "torch": torch.__version__})


if __name__ == "__main__":
    main()
