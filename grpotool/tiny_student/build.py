"""Build the tiny student: its tokenizer, its model, and its first skill, from a seed.

in   nothing but the simulation's training words
out  <out>/ a Qwen3ForCausalLM checkpoint of 3.1M parameters that calls tools

    python grpotool/tiny_student/build.py --out grpotool/tiny_student/checkpoint

Trained on tasks alone, a model of this size does not learn within hours to copy values and to tell which one belongs to
which name. So that comes first:
1. the weights start with a circuit that looks strings up and copies them, and drills with random tokens wake it;
2. tasks in the levels of curriculum.py, the easiest first; one batch in eight goes on drilling.
The last level is careless on purpose, as the text that a base model learns from is: values are written as strings whatever
the schema says, and nobody declines. So there is something that rewards can bring out in the few steps of a laptop's round.
"""
from __future__ import annotations

import argparse
import json
import logging
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import GenerationConfig, Qwen3Config, Qwen3ForCausalLM

from grpotool.tiny_student.circuit import plant
from grpotool.tiny_student.curriculum import EVERYTHING, LEVELS, Lesson, Level, draw_lesson
from grpotool.tiny_student.drills import BATCH_TOKENS, DRILLS, Batch, pad
from grpotool.tiny_student.tokenizer import build_tokenizer
from looptool.prompt import render_conversation, render_messages, render_system
from looptool.records import write_atomic
from looptool.simulation.catalogue import catalogue
from looptool.simulation.tasks import draw_task, draw_tools
from looptool.simulation.values import plain_words

LONGEST, LEARNING_RATE, OTHER_WEIGHT = 640, 2e-3, 0.2
STEPS = (200, 250, 600, 950, 3500, 600)
"""Of drills, then of each level of the curriculum."""
log = logging.getLogger("build")

def build_model(tokenizer, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 of 3.1M parameters; random weights, but for what `plant` does."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4, num_attention_heads=6,
        num_key_value_heads=6, head_dim=32, max_position_embeddings=4096, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1e6}, attn_implementation="sdpa",
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None))
    plant(model, tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    return model


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
    """Lessons of every kind, and tasks of the training catalogue so that its words are not torn to pieces."""
    pool = catalogue("train")
    for _ in range(2000):
        lesson = draw_lesson(rng, EVERYTHING)
        tools = draw_tools(rng, pool, 3)
        task = draw_task(rng, tools, "train")
        yield render_system(lesson.tools, lesson.date, "short") + render_system(tools, lesson.date, "short")
        yield render_conversation([*lesson.messages, *task.messages])
    yield from [" " + " ".join(plain_words())] * 20 + ["_".join(plain_words())] * 8


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
    """Drills for steps[0] steps, then each level of the curriculum; one batch in eight goes on drilling."""
    rng = random.Random(f"{seed}:curriculum")
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    lessons = [task_batches(rng, tokenizer, level) for level in LEVELS]
    plan = [lesson for lesson, count in enumerate(steps, -1) for _ in range(count)]
    smooth, start, decay = None, time.monotonic(), sum(steps) - sum(steps[:3])
    for step, lesson in enumerate(tqdm(plan, desc="build", disable=None)):
        drills = lesson < 0 or step % 8 == 0
        batch = rng.choice(DRILLS)(rng, len(tokenizer)) if drills else next(lessons[lesson])
        answer_loss, other_loss = losses(model, batch)
        (answer_loss + (0.0 if drills else OTHER_WEIGHT) * other_loss).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = LEARNING_RATE * min(1.0, (step + 1) / 50, (len(plan) - step) / decay)
        optimizer.step()
        optimizer.zero_grad()
        if not drills or lesson < 0:
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
                        help="of drills and of each level of the curriculum")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    tokenizer = build_tokenizer(tokenizer_texts(random.Random(f"{args.seed}:tokenizer")))
    model = build_model(tokenizer, args.seed)
    log.info("%d tokens, %.2fM parameters", len(tokenizer), sum(p.numel() for p in model.parameters()) / 1e6)
    train(model, tokenizer, args.seed, args.steps)
    save(model, tokenizer, args.out, {**vars(args), "out": None, "torch": torch.__version__})


if __name__ == "__main__":
    main()
