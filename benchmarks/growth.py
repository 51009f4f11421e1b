"""Whether a stage's time a record and its memory stay what they are from 10,000 to 1,000,000
samples of D_j.

    python benchmarks/growth.py [--counts 10000 1000000] [--steps probe verify ...] [--folder DIR]

One round's steps in their order, each in a process of its own, on the files that the step before
wrote: filter (D_seed), rows (json2parquet), probe, verify, expand, mix (D_{j+1}, as large as D_j).
Policy, judge, generator and checker are functions that answer at once; all else is what a real
round runs: reading, records, prompts, journal, outputs. The policy errs in one of five; of its
errors 60% lead to an error seed that keeps its label, 20% to a new label. "answers" is the cache of
the client by itself: one answer a sample is put and looked up again.

Time is CPU time of the process, user and system, after its imports and a run on 200 samples, over
the samples of D_j. The smaller count is run twice before the larger and twice after it, and their
median counts, as a machine is not always equally fast. Memory is the process's peak. Samples are
SIMULATED tasks of about 1.5 KB; a million need about 12 GB in --folder. The last line is one JSON
object; targets: time a sample at most 1.1 of the smaller count's, memory flat.
"""
from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import types
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from dataloop import (
    error_data_expansion, greedy_capability_prob, judgement_label_verification, next_round)
from dataloop.expanding.scenarios import SCENARIOS
from dataloop.probing.job import Generation
from grpotool.dataset.utils import filter_grpo_sample, json2parquet
from looptool.calling.reply import render_calls
from looptool.config import Config, Mix, Probing, Student, Teacher, Train
from looptool.json_lines import write_jsonl
from looptool.models.answer_cache import AnswerCache
from looptool.models.completion import Reply
from looptool.records import Message, Sample
from looptool.run_files import RoundFiles, RunFiles
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.tasks import draw_task, draw_tools

TASKS = 500
WARM = 200
TIMES = 2
"""Runs of the smaller count before the larger one, and after it."""
REFUSAL = "REFUSED"
"""What a policy that errs says in place of a call."""


def draw_samples(count: int, what: str) -> Iterator[Sample]:
    """Samples of the simulated world, TASKS tasks in turn, each with another number in its
    request."""
    tasks = []
    for index in range(TASKS):
        rng = random.Random(f"growth:{index}")
        tools = draw_tools(rng, catalogue("train"), 2)
        drawn = draw_task(rng, tools, "train")
        while not drawn.truth.calls:
            drawn = draw_task(rng, tools, "train")
        tasks.append((tools, drawn))
    for number in range(count):
        tools, drawn = tasks[number % TASKS]
        asked = msgspec.structs.replace(drawn.messages[-1],
                                        content=f"{drawn.messages[-1].content} Case {number}.")
        yield Sample(id=hashlib.sha256(f"{what}{number}".encode()).hexdigest()[:16], tools=tools,
                     date="2024-05-01", messages=[*drawn.messages[:-1], asked],
                     source=f"growth#{number}",
                     label=Message(role="assistant", calls=list(drawn.truth.calls)))


class ScriptedPolicy:
    """Answers with the label, or in one of five with a text; see
    dataloop.probing.transformers_policy."""

    def __init__(self, *_: Any, **__: Any):
        self._replies: dict[int, str] = {}

    def encode(self, sample: Sample) -> list[int]:
        number = int(sample.id, 16)
        self._replies[number] = REFUSAL if number % 5 == 0 else render_calls(sample.label.calls)
        return [number]

    def generate(self, prompts: list[list[int]]) -> list[Generation]:
        return [Generation(self._replies.pop(number), round(1 + number % 100_000 / 1e5, 6), 20,
                           "stop")
                for number, in prompts]


def block(name: str, text: str) -> str:
    return re.search(rf"<{name}>\n(.*?)\n</{name}>", text, re.S)[1]


async def ask(role: str, chat: list[dict[str, str]], draw: int, model: str) -> Reply:
    """Judge, generator and checker."""
    text = chat[-1]["content"]
    if role == "checker":
        return Reply(text='{"correct": true, "analysis": ""}')
    number = int(re.search(r"Case (\d+)", text)[1])
    if role == "judge":
        text_stands_first = REFUSAL in block("candidate_1", text)
        label_wins = number % 5 < 3
        better = "both" if number % 5 == 4 else "2" if text_stands_first == label_wins else "1"
        return Reply(text=json.dumps({"analysis": "seen", "approach": "", "better": better}))
    rng = random.Random(f"{number}:{block('scenario', text)}")
    asked = {"role": "user", "content": " ".join(f"{rng.getrandbits(20):x}" for _ in range(12))
             + f" Case {number}."}
    return Reply(
        text=f"<conversation>\n{json.dumps(asked)}\n</conversation>\n"
             f"<answer>\n{block('right', text)}\n</answer>")


def fits(*_: Any) -> bool:
    """Tokenizing is measured by benchmarks/transform.py."""
    return True


def make_config(folder: Path, count: int) -> Config:
    return Config(run_dir=str(folder), student=Student(model="none", instructions="short"),
                  teacher=Teacher(base_urls=["simulated"], models=["m"]),
                  probe=Probing(engine="transformers"),
                  mix=Mix(size=count, seed_new=0.25, high_ppl=0.2, error_seeds=0.1), train=Train())


def probe(config: Config, files: RoundFiles) -> None:
    # probe_samples imports it when it begins: so neither torch nor a model is loaded
    module = types.ModuleType("dataloop.probing.transformers_policy")
    module.TransformersPolicy = ScriptedPolicy
    sys.modules[module.__name__] = module
    asyncio.run(greedy_capability_prob.probe_samples(config, files.dataset, files.probes,
                                                     "scripted/policy"))


def verify(config: Config, files: RoundFiles) -> None:
    judgement_label_verification.make_ask = lambda *_: ask
    asyncio.run(judgement_label_verification.verify_probes(config, files.probes, files.verdicts))
    judgement_label_verification.write_consequences(config, files.probes, files.folder, 1)


def expand(config: Config, files: RoundFiles) -> None:
    error_data_expansion.make_ask = lambda *_: ask
    asyncio.run(error_data_expansion.expand_seeds(config, files.error_seeds, SCENARIOS,
                                                  files.expanded, 1, fits))


def mix(config: Config, files: RoundFiles) -> None:
    args = argparse.Namespace(**dict.fromkeys(
        ("seed_samples", "error_seeds", "expanded", "high_ppl", "probes", "output")),
                              fresh=False)
    next_round.build(args, config, files)


def seed(config: Config, files: RoundFiles) -> None:
    filter_grpo_sample.filter_samples(RunFiles(config).samples, RunFiles(config).seed)


def rows(config: Config, files: RoundFiles) -> None:
    json2parquet.convert(files.dataset, files.train_parquet, files.test_parquet, config, fits)


def answers(config: Config, files: RoundFiles) -> None:
    cache, reply = (AnswerCache(RunFiles(config).answers),
                    Reply(text="so it is " * 20, prompt_tokens=900, completion_tokens=40))
    for number in range(config.mix.size):
        key = hashlib.sha256(str(number).encode()).digest()
        cache.put(key, reply)
        cache.get(key)
    cache.close()


STEPS: dict[str, Callable[[Config, RoundFiles], None]] = {
    "filter": seed, "rows": rows, "probe": probe, "verify": verify, "expand": expand, "mix": mix,
    "answers": answers}


def prepare(folder: Path, count: int) -> None:
    """What comes before the steps: samples of which D_seed is made, and D_1."""
    config = make_config(folder, count)
    write_jsonl(RunFiles(config).samples, draw_samples(count, "seed"))
    write_jsonl(RoundFiles(folder, 1).dataset, draw_samples(count, "first"))


def run_step(step: str, folder: Path, count: int, warm: Path | None) -> None:
    """One step in this process, after one on the files in `warm`; prints microseconds a sample and
    MB as JSON."""
    if warm:
        STEPS[step](make_config(warm, WARM), RoundFiles(warm, 1))
    begun = resource.getrusage(resource.RUSAGE_SELF)
    STEPS[step](make_config(folder, count), RoundFiles(folder, 1))
    ended = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps(
        {"us": (ended.ru_utime + ended.ru_stime - begun.ru_utime - begun.ru_stime) / count * 1e6,
         "mb": ended.ru_maxrss / 1024}))


class Runs:
    """The steps on `count` samples, one after another, and what each run of them took."""

    def __init__(self, folder: Path, count: int, warm: Runs | None = None):
        self.folder, self.count, self._warm = folder, count, warm
        self.found: defaultdict[str, list[tuple[float, float]]] = defaultdict(list)
        prepare(folder, count)

    def measure(self, step: str, keep: bool) -> None:
        """Run a step in a process of its own; without `keep` on a copy of the files, so that it can
        be run again."""
        folder = self.folder if keep else self.copy()
        command = [sys.executable, __file__, "--step", step, "--folder", str(folder), "--counts",
                   str(self.count)]
        if self._warm:
            command += ["--warm", str(self._warm.copy())]
        environment = {**os.environ, "CI": "1", "OMP_NUM_THREADS": "1"}  # CI: no bars
        shown = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL, env=environment).stdout
        done = json.loads(shown.splitlines()[-1])
        self.found[step].append((done["us"], done["mb"]))
        print(f"{self.count:>10,} {step:8} {done['us']:8.1f} us {done['mb']:7.0f} MB",
              file=sys.stderr, flush=True)

    def copy(self) -> Path:
        """A copy of the files in place of the last one."""
        copy = self.folder.with_name(f"{self.folder.name}.copy")
        shutil.rmtree(copy, ignore_errors=True)
        return Path(shutil.copytree(self.folder, copy))

    def median(self, step: str) -> tuple[float, float]:
        """Microseconds a sample, and MB."""
        times, sizes = zip(*self.found[step])
        return statistics.median(times), statistics.median(sizes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 1_000_000])
    parser.add_argument("--steps", nargs="+", choices=list(STEPS), default=list(STEPS),
                        help="the first ones of them")
    parser.add_argument("--folder", type=Path,
                        help="disk to work on (default: the temporary folder)")
    parser.add_argument("--step", choices=list(STEPS), help=argparse.SUPPRESS)
    parser.add_argument("--warm", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        run_step(args.step, args.folder, args.counts[0], args.warm)
        return
    few, many = args.counts
    print(
        f"{'step':10}{f'us at {few:,}':>16}{f'us at {many:,}':>18}{'ratio':>8}"
        f"{f'MB at {few:,}':>16}{f'MB at {many:,}':>18}"
        f"{'bytes a sample':>16}")
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(dir=args.folder) as place:
        warm = Runs(Path(place) / "warm", WARM)
        small, large = Runs(Path(place) / "small", few,
                            warm), Runs(Path(place) / "large", many, warm)
        for step in args.steps:
            for run in range(TIMES):
                small.measure(step, keep=False)
            large.measure(step, keep=True)
            # the last run keeps its files, which the next step reads
            for run in range(TIMES):
                small.measure(step, keep=run == TIMES - 1)
            warm.measure(step, keep=True)
            (us, mb), (us_many, mb_many) = small.median(step), large.median(step)
            each = (mb_many - mb) * 2**20 / max(many - few, 1)
            print(
                f"{step:10}{us:16.1f}{us_many:18.1f}{us_many / us:8.2f}"
                f"{mb:16.0f}{mb_many:18.0f}{each:16.0f}", flush=True)
            figures[step] = {"us": round(us, 1), "us_many": round(us_many, 1),
                             "ratio": round(us_many / us, 3), "mb": round(mb),
                             "mb_many": round(mb_many), "bytes_a_sample": round(each)}
    print(json.dumps({"counts": args.counts, **figures}))


if __name__ == "__main__":
    main()
