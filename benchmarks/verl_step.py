"""A training step by verl on this CPU against the bare work: sampling the same batch, and one
update of the same size.

    python benchmarks/verl_step.py [--steps 6] [--config FILE --round J]

First the round's Parquet files (default: round 1 of configs/laptop.yaml; run scripts/04_train.sh's
first command before) are trained on by grpotool/train.py in a folder of its own. Then this process
does the same steps with the project's own sampler and plain torch: no Ray, no queue, no
checkpoints. Both are timed over the steps after the first one.

The last line is one JSON object. Targets: a step within 1.15 times of the bare one, first step
begun within 30 s.
"""
from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from grpotool.reward import compute_score
from grpotool.rows import read_rows
from grpotool.verl_run.overrides import PROMPTS_A_MICRO_BATCH
from looptool.config import Config
from looptool.config_file import ROOT, load_config, student_path
from looptool.models.decoding import ATTENTION, Answer, decode, draws
from looptool.run_files import RoundFiles


def train_by_verl(config: Config, config_file: str, source: RoundFiles,
                  steps: int) -> tuple[list[float], float]:
    """Seconds of each step, and from the start of the process to the first one."""
    with tempfile.TemporaryDirectory() as folder:
        files = RoundFiles(folder, 1)
        files.folder.mkdir(parents=True)
        shutil.copy(source.test_parquet, files.test_parquet)
        take(source.train_parquet, files.train_parquet, steps * config.train.batch_size)
        begun = time.monotonic()
        process = subprocess.Popen([sys.executable, ROOT / "grpotool" / "train.py", "--config",
                                    config_file, "--round", "1", "--set", f"run_dir={folder}"],
                                   stderr=subprocess.DEVNULL)
        path, first = files.training / "metrics.jsonl", 0.0
        while process.poll() is None:
            if not first and path.exists() and path.stat().st_size:
                first = time.monotonic() - begun
            time.sleep(0.05)
        data = [json.loads(line)["data"] for line in path.read_text().splitlines()]
    seconds = [record["timing_s/step"] for record in data]
    # a step is logged at its end
    return seconds, first - seconds[0]


def take(source: Path, target: Path, count: int) -> None:
    """The first rows of a Parquet file."""
    import pyarrow.parquet as pq

    pq.write_table(pq.read_table(source).slice(0, count), target)


class Bare:
    """Sampler and learner of one policy in this process."""

    def __init__(self, config: Config):
        self.train, path = config.train, student_path(config)
        self.limit = config.student.max_response_tokens
        self.tokenizer = AutoTokenizer.from_pretrained(path)
        self.sampler = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32,
                                                            attn_implementation=ATTENTION).eval()
        self.learner = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32,
                                                            attn_implementation="sdpa")
        self.optimizer = torch.optim.AdamW(self.learner.parameters(), lr=self.train.learning_rate)

    def step(self, rows: list[dict[str, Any]], seed: int) -> None:
        """Sample and score all rollouts, and make one update, on prompts sorted by length."""
        self.sampler.load_state_dict(self.learner.state_dict())
        tokens_of = {row["extra_info"]["id"]: self.tokenizer(self.tokenizer.apply_chat_template(
            row["prompt"], add_generation_prompt=True, tokenize=False), add_special_tokens=False)[
                "input_ids"] for row in rows}
        # little padding, as the rollouts have it
        rows = sorted(rows, key=lambda row: len(tokens_of[row["extra_info"]["id"]]))
        chats = [tokens_of[row["extra_info"]["id"]] for row in rows]
        drawn = decode(self.sampler, chats, self.limit, [self.tokenizer.eos_token_id],
                       draws(self.train.temperature, torch.Generator().manual_seed(seed)),
                       [self.train.rollouts] * len(rows))
        tokens = sum(len(answer.tokens) for some in drawn for answer in some)
        for start in range(0, len(rows), PROMPTS_A_MICRO_BATCH):
            part = slice(start, start + PROMPTS_A_MICRO_BATCH)
            self.learn(chats[part], drawn[part],
                       [self.advantages(row, some) for row, some in zip(rows[part], drawn[part])],
                       tokens)
        torch.nn.utils.clip_grad_norm_(self.learner.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad()

    def advantages(self, row: dict[str, Any], answers: list[Answer]) -> list[float]:
        """Scores relative to their group."""
        scores = [compute_score("", self.tokenizer.decode(answer.tokens, skip_special_tokens=True),
                                row["reward_model"]["ground_truth"])["score"] for answer in answers]
        spread = statistics.pstdev(scores) + 1e-6
        return [(score - statistics.mean(scores)) / spread for score in scores]

    def learn(self, prompts: list[list[int]], drawn: list[list[Answer]],
              advantages: list[list[float]], tokens: int) -> None:
        """Add the gradient of one micro batch."""
        from grpotool.cpu.verl_engine import Packed

        answers = [torch.tensor(answer.tokens) for some in drawn for answer in some]
        packed = Packed([torch.tensor(prompt) for prompt, some in zip(prompts, drawn)
                         for _ in some], answers, 0)
        logits = self.learner(input_ids=packed.input_ids, attention_mask=packed.attention_mask,
                              position_ids=packed.position_ids,
                              logits_to_keep=packed.logits_to_keep).logits
        loss = torch.zeros(())
        for (row, columns), answer, advantage in zip(packed.places, answers,
                                                     [one for some in advantages for one in some]):
            chosen = logits[row, columns].log_softmax(-1).gather(1, answer[:, None])
            loss = loss - advantage * chosen.sum() / tokens
        loss.backward()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "laptop.yaml"))
    parser.add_argument("--round", type=int, default=1)
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    config = load_config(args.config)
    source, size = RoundFiles(config.run_dir, args.round), config.train.batch_size
    verl, start = train_by_verl(config, args.config, source, args.steps)
    bare, seconds = Bare(config), []
    rows = list(read_rows(source.train_parquet))
    for step in range(args.steps):
        begun = time.monotonic()
        bare.step(rows[step * size:(step + 1) * size], step)
        seconds.append(time.monotonic() - begun)
    figures = {"verl_s": round(statistics.mean(verl[1:]), 2),
               "bare_s": round(statistics.mean(seconds[1:]), 2),
               "ratio": round(statistics.mean(verl[1:]) / statistics.mean(seconds[1:]), 3),
               "start_s": round(start, 1)}
    print(f"a step of {size} x {config.train.rollouts} rollouts: {figures['verl_s']} s by verl, "
          f"{figures['bare_s']} s bare, {figures['ratio']} times; {figures['start_s']} s to the "
          "first step")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
