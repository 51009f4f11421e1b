"""The seed dataset D_seed: samples that keep to the rules (section 3.2, first tier), each once.

In: run_dir/samples.jsonl. Out: run_dir/seed.jsonl, the samples that may be trained on, in their
order; beside it, where one was refused, seed_refused.jsonl with the reason of each. The rules are
those of looptool/calling/sample_rules.py: the label calls tools that exist, with all required
parameters, no unknown ones, and values of the right types. With --judge a model must find each
label correct, too (second tier); dialogs of 02 have had both tiers (dialogs.verify: both), imported
tasks none.
"""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from looptool.calling.sample_rules import keep_valid
from looptool.command import argument_parser, run_main
from looptool.config_file import load_config
from looptool.json_lines import read_jsonl
from looptool.judging.checker import checker_of, refusals
from looptool.records import Refused, Sample
from looptool.run_files import RunFiles
from looptool.stages.meta import StageMeta
from looptool.stages.transform import run_transform


def filter_samples(source: Path, output: Path, judge: str | None = None,
                   judged: Mapping[str, str] = {}) -> StageMeta:
    """Write the seed dataset, and aside what was refused, by a rule or by the model `judge`
    (looptool.judging.checker.refusals)."""
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    return run_transform("seed", keep_valid(read_jsonl(source, Sample), counts, refused, judged),
                         output, counts, settings={"judge": judge}, sources=[source],
                         refused=refused)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path, metavar="FILE",
                        help="samples (default: run_dir/samples.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="seed dataset (default: run_dir/seed.jsonl)")
    parser.add_argument("--judge", action="store_true",
                        help="ask a model about each sample that keeps to the rules")
    parser.add_argument("--fresh", action="store_true",
                        help="forget what a model has said of the samples before")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    files = RunFiles(config)
    source, output = args.input or files.samples, args.output or files.seed
    if not args.judge:
        filter_samples(source, output)
        return
    checks = output.with_name(f"{output.stem}_judged.jsonl")
    filter_samples(source, output, checker_of(config),
                   asyncio.run(refusals(config, source, checks, args.fresh)))


if __name__ == "__main__":
    run_main(main)
