"""The optional filter step of the data loop: new samples that break a rule are taken out.

In: round_j/expanded.jsonl. Out: the same file without the samples that break a rule of looptool/sample_rules.py, and
without repetitions; where one was refused, expanded_refused.jsonl keeps it with its reason. Expansion applies the rules
itself, so this finds something only where samples were edited by hand or come from elsewhere:

    python filter_grpo_sample.py [--input FILE] [--output FILE]
"""
from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

from dataloop.loop_files import read_some
from looptool.config import argument_parser, load_config
from looptool.foreign import Refused, write_refused
from looptool.records import Sample, write_jsonl
from looptool.run_files import round_files
from looptool.sample_rules import keep_valid
from looptool.stage import run_main

_log = logging.getLogger(__name__)


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--input", type=Path, metavar="FILE", help="samples (default: round_j/expanded.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: the input file itself")
    args = parser.parse_args()
    source = args.input or round_files(args, load_config(args.config, args.overrides)).expanded
    output = args.output or source
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    write_jsonl(output, keep_valid(read_some(source, Sample), counts, refused))
    write_refused(output, refused)
    _log.info("filter: %s in -> %s", f"{sum(counts.values()):,}",
              ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common()) or "nothing")


if __name__ == "__main__":
    run_main(main)
