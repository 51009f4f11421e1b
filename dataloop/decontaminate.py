"""What of a dataset is in a benchmark already: a report, and on request the dataset without it.

In: samples, and the files or folders of one or more benchmarks. Out: a count by reason and benchmark on the screen; with
--output the samples that none of them has, and aside, with their reasons, the others.

    python decontaminate.py --benchmark FOLDER [--benchmark FOLDER ...] [--input FILE] [--output FILE]

In a round, mix.benchmarks in the config does the same before D_{j+1} is mixed (next_round.py).
"""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dataloop.contamination import Benchmark, benchmark_files
from dataloop.loop_files import read_some
from looptool.config import argument_parser, load_config
from looptool.foreign import Refused, write_refused
from looptool.records import Sample, write_jsonl
from looptool.run_files import RunFiles
from looptool.sample_rules import fault_kind
from looptool.stage import run_main

_log = logging.getLogger(__name__)


def unseen(samples: Iterator[Sample], benchmark: Benchmark, counts: Counter[str], refused: list[Refused]) -> Iterator[Sample]:
    """The samples that the benchmark does not have; the others are kept aside and counted by reason."""
    for sample in samples:
        reason = benchmark.reason(sample)
        counts[fault_kind(reason or "unseen")] += 1
        if reason is None:
            yield sample
        else:
            refused.append(Refused(place=sample.id, code=fault_kind(reason), reason=reason, record={"id": sample.id}))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--benchmark", type=Path, action="append", required=True, metavar="PLACE",
                        help="a benchmark's data: a file, or a folder with all files in it; can be given again")
    parser.add_argument("--input", type=Path, metavar="FILE", help="samples (default: run_dir/seed.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="samples without those that were seen (default: none)")
    args = parser.parse_args()
    source = args.input or RunFiles(load_config(args.config, args.overrides)).seed
    benchmark = Benchmark(benchmark_files(args.benchmark))
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    kept = unseen(read_some(source, Sample), benchmark, counts, refused)
    if args.output:
        write_jsonl(args.output, kept)
        write_refused(args.output, refused)
    else:
        for _ in kept:
            pass
    for reason, count in Counter(entry.reason for entry in refused).most_common(10):
        _log.info("decontaminate: %s %d times", reason, count)
    _log.info("decontaminate: %s in -> %s; against %s tools", f"{sum(counts.values()):,}", ", ".join(
        f"{count:,} {reason}" for reason, count in counts.most_common()) or "nothing", f"{len(benchmark.tools):,}")


if __name__ == "__main__":
    run_main(main)
