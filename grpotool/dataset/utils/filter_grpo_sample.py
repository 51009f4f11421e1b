"""The seed dataset D_seed: samples that keep to the rules (section 3.2, first tier), each once.

In: run_dir/samples.jsonl. Out: run_dir/seed.jsonl, the samples that may be trained on, in their order; beside it, where
one was refused, seed_refused.jsonl with the reason of each. The rules are those of looptool/sample_rules.py: the label
calls tools that exist, with all required parameters, no unknown ones, and values of the right types.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from looptool.config import RunFiles, argument_parser, load_config
from looptool.foreign import Refused, write_refused
from looptool.meta import StageMeta
from looptool.records import Sample, read_jsonl
from looptool.sample_rules import fault_kind, sample_faults
from looptool.stage import run_main
from looptool.transform import run_transform


def keep_valid(samples: Iterable[Sample], counts: Counter[str], refused: list[Refused]) -> Iterator[Sample]:
    """The samples without a fault, without repetitions; the others are counted by the kind of their first fault."""
    seen: set[str] = set()
    for sample in samples:
        faults = ["duplicate"] if sample.id in seen else sample_faults(sample)
        seen.add(sample.id)
        counts[fault_kind(faults[0]) if faults else "kept"] += 1
        if faults:
            refused.append(Refused(place=sample.source or sample.id, code=fault_kind(faults[0]),
                                   reason=", ".join(faults), record={"id": sample.id, "label": sample.label}))
        else:
            yield sample


def filter_samples(source: Path, output: Path) -> StageMeta:
    """Write the seed dataset, and aside what was refused."""
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    meta = run_transform("seed", keep_valid(read_jsonl(source, Sample), counts, refused), output, counts, settings={},
                         sources=[source])
    write_refused(output, refused)
    return meta


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path, metavar="FILE", help="samples (default: run_dir/samples.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="seed dataset (default: run_dir/seed.jsonl)")
    args = parser.parse_args()
    files = RunFiles(load_config(args.config, args.overrides))
    filter_samples(args.input or files.samples, args.output or files.seed)


if __name__ == "__main__":
    run_main(main)
