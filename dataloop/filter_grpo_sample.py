"""The optional filter step of the data loop: new samples that break a rule, or that a judge
refuses, are taken out.

In: round_j/expanded.jsonl. Out: the same file without the samples that break a rule of
looptool/calling/sample_rules.py, without repetitions, and with --judge without those whose label a
model does not find correct; where one was refused, expanded_refused.jsonl keeps it with its reason.
Expansion does both itself, so this finds something only where samples were edited by hand, come
from elsewhere, or were expanded without a check (expand.check):

    python filter_grpo_sample.py [--judge [--fresh]] [--input FILE] [--output FILE]

Rules and judge are those of grpotool/dataset/utils/filter_grpo_sample.py.
"""
from __future__ import annotations

import asyncio
import logging
from collections import Counter
from pathlib import Path

from looptool.calling.sample_rules import keep_valid
from looptool.command import argument_parser, run_main
from looptool.config_file import load_config
from looptool.foreign.files import write_refused
from looptool.json_lines import read_some, write_jsonl
from looptool.judging.checker import refusals
from looptool.records import Refused, Sample
from looptool.run_files import round_files
from looptool.stages.meta import meta_path

_log = logging.getLogger(__name__)


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--input", type=Path, metavar="FILE",
                        help="samples (default: round_j/expanded.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="default: the input file itself")
    parser.add_argument("--judge", action="store_true",
                        help="ask a model about each sample that keeps to the rules")
    parser.add_argument("--fresh", action="store_true",
                        help="forget what a model has said of the samples before")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    source = args.input or round_files(args, config).expanded
    output = args.output or source
    checks = output.with_name(f"{output.stem}_judged.jsonl")
    # a judge's step refuses an empty file
    asks = args.judge and any(read_some(source, Sample))
    judged = asyncio.run(refusals(config, source, checks, args.fresh)) if asks else {}
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    write_jsonl(output, keep_valid(read_some(source, Sample), counts, refused, judged))
    if output == source:  # what was judged is no more
        for path in (checks, meta_path(checks)):
            path.unlink(missing_ok=True)
    if refused or output != source:  # else what an earlier run has taken out stays to be seen
        write_refused(output, refused)
    _log.info("filter: %s in -> %s", f"{sum(counts.values()):,}",
              ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
              or "nothing")


if __name__ == "__main__":
    run_main(main)
