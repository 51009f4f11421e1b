"""What of a dataset is in a benchmark already: a report, and on request the dataset without it.

In: samples, and the files or folders of one or more benchmarks. Out: on the screen how many samples
are seen by which reason; with --report each of them with its tool or request and its place in the
benchmark; with --output the samples that no benchmark has, and aside, with their reasons, the
others.

    python decontaminate.py [--benchmark PLACE ...] [--input FILE] [--report FILE] [--output FILE]

BFCL's data are the folder bfcl_eval/data of its package, ACEBench's the folder data_all of its
repository. In a round, mix.benchmarks in the config does the same before D_{j+1} is mixed
(next_round.py).
"""
from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dataloop.mixing.contamination import Benchmark, benchmark_files
from looptool.calling.sample_rules import fault_kind
from looptool.command import argument_parser, run_main
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.foreign.files import write_refused
from looptool.json_lines import read_some, write_jsonl
from looptool.records import Refused, Sample
from looptool.run_files import RunFiles

_log = logging.getLogger(__name__)


def unseen(samples: Iterator[Sample], benchmark: Benchmark, counts: Counter[str],
           refused: list[Refused]) -> Iterator[Sample]:
    """The samples that the benchmark does not have; the others are kept aside and counted by
    reason."""
    for sample in samples:
        reason = benchmark.reason(sample)
        counts[fault_kind(reason or "unseen")] += 1
        if reason is None:
            yield sample
        else:
            refused.append(Refused(place=sample.id, code=fault_kind(reason), reason=reason,
                                   record={"id": sample.id, "source": sample.source}))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--benchmark", type=Path, action="append", default=[], metavar="PLACE",
                        help="a benchmark's data: a file, or a folder with all files in it; can be "
                             "given again (default: mix.benchmarks)")
    parser.add_argument("--input", type=Path, metavar="FILE",
                        help="samples (default: run_dir/seed.jsonl)")
    parser.add_argument("--report", type=Path, metavar="FILE",
                        help="the samples that were seen, with reasons (default: none)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="samples without those that were seen (default: none)")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    places = args.benchmark or [ROOT / place for place in config.mix.benchmarks]
    if not places:
        raise InputError(
            "no benchmark: name its data with --benchmark, or in the config under mix.benchmarks")
    files = benchmark_files(places)
    benchmark = Benchmark(files)
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    kept = list(unseen(read_some(args.input or RunFiles(config).seed, Sample), benchmark, counts,
                       refused))
    if args.report:
        write_jsonl(args.report, refused)
    if args.output:
        write_jsonl(args.output, kept)
        write_refused(args.output, refused)
    for reason, count in Counter(entry.reason for entry in refused).most_common(10):
        _log.info("decontaminate: %s %d times", reason, count)
    _log.info("decontaminate: %s in -> %s; against %s tools and %s requests of %d files",
              f"{sum(counts.values()):,}",
              ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
              or "nothing", f"{benchmark.found['tools']:,}", f"{benchmark.found['requests']:,}",
              len(files))


if __name__ == "__main__":
    run_main(main)
