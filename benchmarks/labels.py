"""Are replaced labels right, and accepted new samples? Both orders of the candidates against the
paper's one.

    python benchmarks/labels.py [--probes 1600] [--seeds 0 1 2] [--accuracy 0.5] [--expand 150]

Probes of a scripted student over tasks of the SIMULATED world: labels are made wrong at the rates
of NOISES (that of D_1 and of a later round), predictions right at the rate `--accuracy`, with
errors of the kinds of looptool/simulation/world/noise.py; only samples that keep to the rules are
taken, as in D_seed, which leaves 15% and 5% wrong labels. They go through the stages of the loop,
with a judge that errs in 10% and prefers the first candidate in 10%, and a generator that errs in
10%; every answer is held against the known truth. The judge's errors are drawn anew for each vote.

The last line is one JSON object: by noise and preset hits and totals of replaced labels, decided
verdicts, new samples.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import tempfile
from collections import Counter
from collections.abc import Iterator

from dataloop.error_data_expansion import expand_seeds
from dataloop.expanding.scenarios import SCENARIOS
from dataloop.judgement_label_verification import verify_probes, write_consequences
from dataloop.report import simulated_world
from dataloop.reporting.figures import Rate
from dataloop.reporting.measures import Answers, expansion_figures, rate, verdict_figures
from looptool.calling.match import tool_match
from looptool.calling.reply import render_calls
from looptool.calling.sample_rules import sample_faults
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.ids import sample_id
from looptool.json_lines import read_jsonl, read_some, write_jsonl
from looptool.records import ErrorSeed, LabelChange, Message, Probe, Sample, Verdict
from looptool.run_files import RoundFiles
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.noise import corrupt
from looptool.simulation.world.tasks import draw_task, draw_tools

NOISES = (0.2, 0.07)
"""Share of the labels that are made wrong."""
PRESETS = {"paper: one order": ["verify.preset=paper"],
           "both orders": ["verify.confirming_votes=0"], "both orders, confirmed": [],
           "both orders, 3 judges": ["teacher.judges=[a, b, c]", "verify.confirming_votes=0"]}
"""The defaults are "confirmed": further votes where the label is about to be replaced."""
EXPANDED = ("paper: one order", "both orders, confirmed")
"""Presets whose error seeds are expanded."""
KNOWN = simulated_world().right


def scripted(count: int, seed: int, noise: float, accuracy: float) -> Iterator[Probe]:
    """Probes of a student that is right at this rate, over labels that are wrong at this rate."""
    pool, seen = catalogue("train"), set()
    for index in range(count):
        rng = random.Random(f"labels:{seed}:{index}")
        tools = draw_tools(rng, pool, rng.randint(2, 4))
        drawn = draw_task(rng, tools, "train")
        right = Message(role="assistant", calls=list(drawn.truth.calls),
                        content="" if drawn.truth.calls else "I see.")
        label, prediction = (Message(role="assistant", calls=corrupt(rng, right.calls, tools)[1])
                             if rng.random() < share else right for share in (noise, 1 - accuracy))
        sample = Sample(id=sample_id(tools, "2024-05-01", drawn.messages, label), tools=tools,
                        date="2024-05-01", messages=drawn.messages, label=label,
                        source=f"labels#{index}")
        if sample.id not in seen and not sample_faults(sample):
            seen.add(sample.id)
            yield Probe(sample=sample, text=prediction.content or render_calls(prediction.calls),
                        prediction=prediction, faults=[], reason=tool_match(prediction, label),
                        perplexity=1 + rng.random(), tokens=1, finish="stop")


async def judged(config: Config, files: RoundFiles) -> dict[str, Answers]:
    """What one preset makes of a round's probes: counts of right and wrong by what is counted."""
    meta = await verify_probes(config, files.probes, files.verdicts)
    write_consequences(config, files.probes, files.folder, files.round)
    verdicts, replaced = verdict_figures(read_jsonl(files.verdicts, Verdict),
                                         read_some(files.label_changes, LabelChange), KNOWN)
    seeds = Counter(KNOWN(seed.sample, seed.sample.label)
                    for seed in read_some(files.error_seeds, ErrorSeed))
    return {"new labels right": answers(replaced.right), "verdicts right": answers(verdicts.right),
            "decided": Counter(
                {True: verdicts.right.total, False: verdicts.verdicts.get("UNDECIDED", 0)}),
            "error seeds right": seeds,
            "calls": Counter({True: meta.usage["judge"].calls, False: 0})}


async def expanded(config: Config, files: RoundFiles, count: int) -> dict[str, Answers]:
    """The same for what is made of `count` error seeds drawn from a round's."""
    seeds = list(read_some(files.error_seeds, ErrorSeed))
    few = files.folder / "some_seeds.jsonl"
    write_jsonl(few, random.Random(config.seed).sample(seeds, min(count, len(seeds))))
    meta = await expand_seeds(config, few, SCENARIOS, files.expanded, files.round,
                              lambda sample: True)
    figures = expansion_figures(read_some(few, ErrorSeed), read_some(files.expanded, Sample),
                                meta.counts, KNOWN)
    return {"new samples right": answers(figures.right),
            "accepted": Counter({True: figures.accepted, False: meta.inputs - figures.accepted})}


def answers(share: Rate) -> Answers:
    return Counter({True: share.hits, False: share.total - share.hits})


async def measure(sources: dict[int, list[Probe]], expand: int) -> dict[str, dict[str, Answers]]:
    """By preset, what adds up over all seeds."""
    sums: dict[str, dict[str, Answers]] = {}
    for preset, overrides in PRESETS.items():
        sums[preset] = {}
        for seed, probes in sources.items():
            with tempfile.TemporaryDirectory() as folder:
                config = load_config(ROOT / "configs" / "laptop.yaml",
                                     [f"run_dir={folder}", f"seed={seed}", *overrides])
                files = RoundFiles(folder, 1)
                write_jsonl(files.probes, probes)
                found = await judged(config, files)
                if expand and preset in EXPANDED:
                    found |= await expanded(config, files, expand)
            for name, counted in found.items():
                sums[preset].setdefault(name, Counter()).update(counted)
    return sums


def shown(counted: Answers | None) -> str:
    """"97.9% of 812 (96.7-98.7)", with Wilson's 95% interval."""
    share = rate(counted or Counter())
    return (f"{share.share:.1%} of {share.total:,} ({100 * share.low:.1f}-{100 * share.high:.1f})"
            if share.total else "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=int, default=1600, help="for each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--accuracy", type=float, default=0.5)
    parser.add_argument("--expand", type=int, default=150,
                        help="error seeds to expand, for each seed; 0 for none")
    args = parser.parse_args()
    # no bars, and none of the stages' last lines
    os.environ["CI"] = "1"
    logging.disable(logging.INFO)
    figures = {}
    for noise in NOISES:
        world = f"labels corrupted at {noise:.0%}"
        sources = {seed: list(scripted(args.probes, seed, noise, args.accuracy))
                   for seed in args.seeds}
        probes = [probe for found in sources.values() for probe in found]
        mismatches = sum(not probe.matches for probe in probes)
        wrong = Counter(KNOWN(probe.sample, probe.sample.label) is False for probe in probes)
        print(f"\nSIMULATED, {world}: {len(probes):,} probes of {len(sources)} seeds, "
              f"{mismatches:,} mismatches, labels wrong: {shown(wrong)}")
        print(
            f"{'':26}{'new labels right':>29}{'verdicts right':>31}{'decided':>9}"
            f"{'calls':>7}{'error seeds right':>30}"
            f"{'new samples right':>30}{'accepted':>9}")
        figures[world] = {}
        for preset, sums in asyncio.run(measure(sources, args.expand)).items():
            print(
                f"{preset:26}{shown(sums['new labels right']):>29}"
                f"{shown(sums['verdicts right']):>31}"
                f"{rate(sums['decided']).share:>9.1%}{sums['calls'][True] / mismatches:>7.1f}"
                f"{shown(sums['error seeds right']):>30}{shown(sums.get('new samples right')):>30}"
                + (f"{rate(sums['accepted']).share:>9.1%}" if "accepted" in sums else ""))
            figures[world][preset] = {name: [counted[True], counted[True] + counted[False]]
                                      for name, counted in sums.items()}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
