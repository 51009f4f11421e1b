"""Build the tiny student: its tokenizer, its model, its skills, and the habits that hide them, from
a seed.

in   nothing but the simulation's training words
out  <out>/ a Qwen3ForCausalLM checkpoint of 3.1M parameters that calls tools, with habits
     <skilled>/ (if asked for) the same before the last lesson, without habits
     <out>.state.pt while it runs: a build that was killed goes on from there

    python grpotool/tiny_student/build.py --out grpotool/tiny_student/checkpoint --skilled
        runs/skilled
    python grpotool/tiny_student/build.py --begin habits --model runs/skilled --out
        grpotool/tiny_student/checkpoint

Trained on tasks alone, a model of this size does not learn within hours to copy values and to tell
which one belongs to which name. So that comes first:
1. the weights start with a circuit that looks strings up and copies them, and drills with random
   tokens wake it;
2. tasks in the levels of curriculum.py, the easiest first; one batch in eight goes on drilling;
3. a review of all of them, the learning rate raised once more, and a lesson on what is still hard;
4. a short last lesson lays habits over it (habits.py), each in most replies, never in all: so there
   are skills that the student has and rarely shows, for rewards to bring out in the few steps of a
   laptop's round.
"""
from __future__ import annotations

import argparse
import copy
import json
import logging
import os
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import (
    AttentionInterface, AutoTokenizer, GenerationConfig, PreTrainedTokenizerFast, Qwen3Config,
    Qwen3ForCausalLM)
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from grpotool.tiny_student.circuit import plant
from grpotool.tiny_student.curriculum import HABITS, HARD, LEVELS, REVIEW, Level
from grpotool.tiny_student.drills import DRILLS, Batch
from grpotool.tiny_student.lessons import task_batches, tokenizer_texts
from grpotool.tiny_student.tokenizer import build_tokenizer
from looptool.json_lines import write_atomic

LEARNING_RATE, REVIEW_RATE, HABIT_RATE, OTHER_WEIGHT = 2e-3, 1.5e-3, 5e-4, 0.2
STEPS, REVIEW_STEPS, HARD_STEPS, HABIT_STEPS = (200, 200, 400, 700, 8500), 1000, 5000, 200
"""Of drills and of each level of the curriculum; of the review; of the hard
kinds; of the lesson on habits."""
STAGES = ("drills", "review", "hard", "habits")
LEG = 500
"""Steps after which a build is kept."""
log = logging.getLogger("build")


def build_model(tokenizer: PreTrainedTokenizerFast, seed: int) -> Qwen3ForCausalLM:
    """A Qwen3 of 3.1M parameters; random weights, but for what `plant` does."""
    torch.manual_seed(seed)
    model = Qwen3ForCausalLM(Qwen3Config(
        vocab_size=len(tokenizer), hidden_size=192, intermediate_size=512, num_hidden_layers=4,
        num_attention_heads=6, num_key_value_heads=6, head_dim=32, max_position_embeddings=4096,
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6},
        attn_implementation="sdpa", eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=None))
    plant(model, tokenizer.convert_ids_to_tokens(range(len(tokenizer))))
    return model


def _attention(module: torch.nn.Module, *tensors: torch.Tensor | None,
               **options) -> tuple[torch.Tensor, None]:
    """PyTorch's attention in float32: on a CPU its backward takes half the time that it does in
    bfloat16."""
    with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
        return sdpa_attention_forward(module, *(tensor if tensor is None else tensor.float()
                                                for tensor in tensors), **options)


@torch.compile(dynamic=True)
def token_losses(model: Qwen3ForCausalLM, ids: torch.Tensor, rows: torch.Tensor,
                 columns: torch.Tensor) -> torch.Tensor:
    """Loss of the tokens behind these places. Rows are padded on the right, so causal attention
    needs no mask."""
    with torch.autocast(ids.device.type, torch.bfloat16):
        logits = model.lm_head(model.model(input_ids=ids).last_hidden_state[rows, columns])
    return torch.nn.functional.cross_entropy(logits.float(), ids[rows, columns + 1],
                                             reduction="none")


OTHERS = 0.1
"""Share of the tokens outside of answers that are learnt too; logits of all of them would take half
of the time."""


def losses(model: Qwen3ForCausalLM, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean loss on answers, and on a random share of the other tokens."""
    ids, mask, answers = batch
    chosen = (answers | (torch.rand(ids.shape) < OTHERS) & mask)[:, 1:]
    rows, columns = chosen.nonzero(as_tuple=True)
    is_answer = answers[rows, columns + 1].to(model.device)
    loss = token_losses(model, *(part.to(model.device) for part in (ids, rows, columns)))
    return loss[is_answer].mean(), loss[~is_answer].mean()


def course(rng: random.Random, tokenizer: PreTrainedTokenizerFast, plan: Sequence[Level | None],
           drills_every: int) -> Iterator[tuple[bool, Batch]]:
    """A batch for each level of the plan, None being drills, with drills between; whether a batch
    is of drills, and the batch."""
    lessons = {id(level): level and task_batches(rng, tokenizer, level) for level in plan}
    for step, level in enumerate(plan):
        drills = level is None or drills_every and step % drills_every == 0
        yield bool(drills), (rng.choice(DRILLS)(rng, len(tokenizer)) if drills
                             else next(lessons[id(level)]))


@dataclass(frozen=True)
class Stage:
    """One AdamW run; the rate falls to nothing over its last `decay` steps."""

    name: str
    plan: list[Level | None]
    rate: float
    decay: int
    drills_every: int = 8


def stages(args: argparse.Namespace) -> list[Stage]:
    drills = [level for level, count in zip([None, *LEVELS], args.steps, strict=True)
              for _ in range(count)]
    return [Stage("drills", drills, LEARNING_RATE, sum(args.steps[3:])),
            Stage("review", [REVIEW] * args.review_steps, REVIEW_RATE, args.review_steps),
            Stage("hard", [HARD] * args.hard_steps, REVIEW_RATE, args.hard_steps),
            Stage("habits", [HABITS] * args.habit_steps, HABIT_RATE, max(1, args.habit_steps // 2),
                  drills_every=0)]


def train(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, stage: Stage, seed: int,
          state: Path) -> None:
    """The stage in legs of LEG steps, each with randomness of its own and kept at its end, so that
    a build that was killed goes on with its next leg as if nothing had been."""
    optimizer = torch.optim.AdamW(model.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    first, smooth, start = 0, None, time.monotonic()
    if state.exists():
        kept = torch.load(state, weights_only=True)
        model.load_state_dict(kept["model"])
        if kept["stage"] == stage.name:
            first = kept["step"]
            optimizer.load_state_dict(kept["optimizer"])
    steps = len(stage.plan)
    bar = tqdm(desc=stage.name, total=steps, initial=first, disable=None)
    for leg in range(first, steps, LEG):
        torch.manual_seed(seed + leg)
        batches = course(random.Random(f"{seed}:{stage.name}:{leg}"), tokenizer,
                         stage.plan[leg:leg + LEG], stage.drills_every)
        for step, (drills, batch) in enumerate(batches, leg):
            answer_loss, other_loss = losses(model, batch)
            (answer_loss + (0.0 if drills else OTHER_WEIGHT) * other_loss).backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.param_groups[0]["lr"] = stage.rate * min(1.0, (step + 1) / 50,
                                                               (steps - step) / stage.decay)
            optimizer.step()
            optimizer.zero_grad()
            bar.update()
            if not drills or smooth is None:
                smooth = (answer_loss.item() if smooth is None
                          else 0.95 * smooth + 0.05 * answer_loss.item())
            if step % 100 == 99:
                log.info("%s, step %d of %d: answer loss %.3f, %.0f s", stage.name, step + 1, steps,
                         smooth, time.monotonic() - start)
        keep(state, {"stage": stage.name, "step": min(leg + LEG, steps),
                     "model": model.state_dict(), "optimizer": optimizer.state_dict()})


def keep(path: Path, state: dict) -> None:
    """Write the state so that a kill leaves the old one or the new one."""
    written = path.with_suffix(".new")
    torch.save(state, written)
    os.replace(written, path)


def teach(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, args: argparse.Namespace,
          settings: dict) -> None:
    """The stages from args.begin on, or from where a killed build stood; the student without habits
    is saved on the way."""
    state = args.out.with_name(f"{args.out.name}.state.pt")
    state.parent.mkdir(parents=True, exist_ok=True)
    names = [stage.name for stage in stages(args)]
    kept = torch.load(state, weights_only=True)["stage"] if state.exists() else args.begin
    for stage in stages(args)[max(names.index(args.begin), names.index(kept)):]:
        train(model, tokenizer, stage, args.seed, state)
        if stage.name in ("review", "hard") and args.skilled:
            save(model, tokenizer, args.skilled, settings)
    state.unlink()


def save(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, out: Path,
         settings: dict) -> None:
    """Checkpoint in bfloat16 with a generation config that names the end token; the model keeps its
    precision."""
    copy.deepcopy(model).to(torch.bfloat16).save_pretrained(out)
    tokenizer.save_pretrained(out)
    GenerationConfig(eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
                     do_sample=True).save_pretrained(out)
    write_atomic(out / "build.json", [json.dumps(settings, indent=1).encode() + b"\n"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--skilled", type=Path, help="keep the student without habits here")
    parser.add_argument("--begin", choices=STAGES, default="drills",
                        help="go on from --model with this stage")
    parser.add_argument("--model", type=Path, help="what an earlier build kept as --skilled")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, nargs=1 + len(LEVELS), default=STEPS,
                        help="of drills and of each level of the curriculum")
    parser.add_argument("--review-steps", type=int, default=REVIEW_STEPS)
    parser.add_argument("--hard-steps", type=int, default=HARD_STEPS)
    parser.add_argument("--habit-steps", type=int, default=HABIT_STEPS)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    if (args.model is None) != (args.begin == "drills"):
        parser.error("--begin with anything but drills goes on from a --model; drills begin with "
                     "none")
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.model:
        model = Qwen3ForCausalLM.from_pretrained(args.model, dtype=torch.float32).to(args.device)
        tokenizer = AutoTokenizer.from_pretrained(args.model)
    else:
        tokenizer = build_tokenizer(tokenizer_texts(random.Random(f"{args.seed}:tokenizer")))
        model = build_model(tokenizer, args.seed).to(args.device)
    AttentionInterface.register("sdpa_float32", _attention)
    model.set_attn_implementation("sdpa_float32")
    log.info("%d tokens, %.2fM parameters", len(tokenizer),
             sum(p.numel() for p in model.parameters()) / 1e6)
    settings = {"seed": args.seed, "steps": list(args.steps), "review_steps": args.review_steps,
                "hard_steps": args.hard_steps, "habit_steps": args.habit_steps,
                "device": args.device, "torch": torch.__version__}
    teach(model, tokenizer, args, settings)
    save(model, tokenizer, args.out, settings)


if __name__ == "__main__":
    main()
