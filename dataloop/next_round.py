"""The next round's dataset (equation 5): D_{j+1} = D_ES + D_EE + D_HPPL + D_Seed-new.

In, of round j: error_seeds.jsonl, expanded.jsonl, high_ppl.jsonl, probes.jsonl; of the run: seed.jsonl and the datasets
of rounds 1 to j. Out: round_{j+1}/dataset.jsonl, Sample records whose `origin` says by which part they entered, and
beside it dataset.meta.json: counts by part, what was left out and why, hashes of all inputs, the checkpoint that was
probed. Round 0 makes D_1 from seed.jsonl alone.

    python next_round.py [--round J] [--error-seeds FILE] [--expanded FILE] [--high-ppl FILE] [--output FILE]

How many of each part, and what gives way or fills up: dataloop/mixing.py. Files of different rounds are refused. A
dataset that is there already and would change is only replaced with --fresh: the policy may have been trained on it.
"""
from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dataloop.ablation import ablate
from dataloop.contamination import Benchmark, benchmark_files
from dataloop.listing import Listed, list_records, read_samples
from dataloop.loop_files import read_some
from dataloop.mixing import Mixture, Supply, is_used, mix_parts, run_order
from dataloop.seeds import near_boundary
from looptool.config import ROOT, Config, argument_parser, load_config
from looptool.fingerprints import IdSet
from looptool.meta import make_header, read_meta
from looptool.records import (
    ErrorSeed, InputError, Origin, Probe, Record, Sample, encode_line, read_jsonl, write_atomic)
from looptool.run_files import RoundFiles, RunFiles, round_files
from looptool.stage import run_main

_log = logging.getLogger(__name__)


class Manifest(Record):
    """The content of dataset.meta.json."""

    round: int
    size: int
    counts: dict[str, int]
    """Samples by part: ES, EE, HPPL, Seed-new."""
    left_out: dict[str, int]
    notes: list[str]
    """Where a part gave way or was filled up, in words."""
    seed: int
    mix: Any
    """The config's section."""
    sources: dict[str, str]
    """Sha256 of each input file, by its path relative to the dataset's folder."""
    checkpoint: dict[str, str]
    """The same for the checkpoint whose probes the round is made of; before round 1 there is none."""


def used_ids(files: RoundFiles) -> IdSet:
    """Ids of all samples of rounds 1 to j, and of the samples that they were made from."""
    used = IdSet()
    for number in range(1, files.round + 1):
        for sample in read_jsonl(RoundFiles(files.run_dir, number).dataset, Sample):
            used.add(sample.id)
            if sample.parent is not None:
                used.add(sample.parent)
    return used


def check_one_round(files: RoundFiles, paths: Mapping[str, Path]) -> None:
    """Refuse what does not come from D_j and from the probes of its policy.

    Raises:
        InputError: some record does not; names its kind and id.
    """
    ids = IdSet(sample.id for sample in read_jsonl(files.dataset, Sample))
    again = f"not made from D_{files.round}; run scripts/05_probe.sh, 06_verify.sh and 07_expand.sh for this round again"
    unsure = {probe.sample.id: probe.perplexity for probe in read_some(paths["high_ppl"], Probe)}
    for probe in read_jsonl(paths["probes"], Probe):
        if probe.sample.id not in ids:
            raise InputError(f"probe {probe.sample.id}: its file was {again}")
        if unsure.get(probe.sample.id) == probe.perplexity:
            del unsure[probe.sample.id]
    if unsure:
        raise InputError(f"high-perplexity probe {min(unsure)}: its file was {again}")
    seed_ids = IdSet()
    for seed in read_some(paths["error_seeds"], ErrorSeed):
        sample = seed.sample
        seed_ids.add(sample.id)
        is_known = sample.parent in ids and sample.round == files.round if seed.cause == "relabeled" else sample.id in ids
        if not is_known:
            raise InputError(f"error seed {sample.id}: its file was {again}")
    for sample in read_some(paths["expanded"], Sample):
        if sample.parent not in seed_ids or sample.round != files.round:
            raise InputError(f"expanded sample {sample.id}: its file was {again}")


def check_fresh(files: RoundFiles) -> None:
    """Refuse a file that was made from another version of its source than the one that now lies beside it.

    Raises:
        InputError: one was; names both.
    """
    for made, source in ((files.probes, files.dataset), (files.verdicts, files.probes),
                         (files.expanded, files.error_seeds)):
        meta = read_meta(made)
        if meta is not None and source.name in meta.sources:
            now = make_header(meta.stage, None, [source], made).sources
            if meta.sources[source.name] != now[source.name]:
                raise InputError(f"{made}: was made from another {source.name}; run its step again with --fresh")


def list_origin(path: Path, record_type: type[Sample] | type[Probe] | type[ErrorSeed], origin: Origin) -> list[Listed]:
    return [listed for listed, _ in list_records(path, record_type, origin)]


def round_supply(args: argparse.Namespace, config: Config, files: RoundFiles) -> tuple[Supply, dict[Path, type], list[Path]]:
    """What round j has left for D_{j+1}, what the records of its files are, and all files that were read; of round 0 the
    seed samples only.

    Raises:
        InputError: a file is absent, unreadable, or of another round.
    """
    seed_path = args.seed_samples or RunFiles(config).seed
    supply = Supply(error_seeds=[], expanded=[], high_ppl=[], seed_new=[])
    kinds, datasets, seen = {seed_path: Sample}, [], []
    if files.round:
        kinds_of = {"error_seeds": ErrorSeed, "expanded": Sample, "high_ppl": Probe, "probes": Probe}
        paths = {name: getattr(args, name) or getattr(files, name) for name in kinds_of}
        kinds |= {path: kinds_of[name] for name, path in paths.items()}
        supply.error_seeds = list_origin(paths["error_seeds"], ErrorSeed, "error_seed")
        supply.expanded = list_origin(paths["expanded"], Sample, "expanded")
        supply.high_ppl = list_origin(paths["high_ppl"], Probe, "high_ppl")
        check_fresh(files)
        check_one_round(files, paths)
        datasets = [RoundFiles(files.run_dir, number).dataset for number in range(1, files.round + 1)]
    used = used_ids(files)
    fresh = [listed for listed, sample in list_records(seed_path, Sample) if not is_used(sample, used)]
    supply.seed_new = sorted(fresh, key=lambda sample: run_order(config.seed, sample.id))
    if files.round:
        known = IdSet(sample.id for part in supply.parts().values() for sample in part)
        mastered = (listed for listed, probe in list_records(paths["probes"], Probe, "high_ppl")
                    if probe.matches and listed.id not in known)
        supply.mastered = near_boundary(mastered, filling(config, len(known)))
    if config.mix.benchmarks:
        seen = benchmark_files(ROOT / place for place in config.mix.benchmarks)
        benchmark = Benchmark(seen)
        supply = supply.without({sample.id for listed in supply.parts().values() for sample in read_samples(listed, kinds)
                                 if benchmark.reason(sample) is not None})
    return supply, kinds, [*kinds, *datasets, *seen]


def filling(config: Config, known: int) -> int:
    """How many mastered samples may be needed beside the `known` ones of all parts: in the variants of Table 4 more."""
    if config.ablation == "no_high_ppl":
        return sys.maxsize
    if config.ablation not in ("none", "no_jglv") or config.mix.benchmarks:
        return config.mix.size
    return max(config.mix.size - known, 0)


def write_dataset(samples: Callable[[], Iterator[Sample]], manifest: Manifest, output: Path, fresh: bool) -> bool:
    """Write the manifest, then the dataset: where a dataset is, its manifest is too. False if it is there already.

    Raises:
        InputError: another dataset is there, and not `fresh`.
    """
    if output.exists() and not fresh:
        with output.open("rb") as there:
            if all(there.readline() == encode_line(sample) for sample in samples()) and not there.read(1):
                return False
        raise InputError(f"{output}: is there already and would change; use --fresh to replace it, and then train its "
                         "round anew")
    write_atomic(output.with_suffix(".meta.json"),
                 [msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"])
    write_atomic(output, (encode_line(sample) for sample in samples()))
    return True


def build(args: argparse.Namespace, config: Config, files: RoundFiles) -> Mixture:
    """Make D_{j+1} and its manifest.

    Raises:
        InputError: an input is wrong, see above, or there is no sample at all.
    """
    output = args.output or files.next().dataset
    number = files.round + 1
    supply, kinds, sources = round_supply(args, config, files)
    first: list[Listed] = []
    if files.round and config.ablation == "static":
        start = RoundFiles(files.run_dir, 1).dataset
        first, kinds = list_origin(start, Sample, "seed"), {**kinds, start: Sample}
    mixture = mix_parts(*ablate(config.ablation, supply, config.mix, number, config.seed, first), number, config.seed)
    if not mixture.samples:
        raise InputError(f"{output}: not written, as there is no sample for D_{number}; check seed.jsonl and the round's "
                         "files")
    probed = read_meta(args.probes or files.probes) if files.round else None
    manifest = Manifest(round=number, size=len(mixture.samples), counts=mixture.counts, left_out=mixture.left_out,
                        notes=mixture.notes, seed=config.seed, mix=config.mix,
                        sources=make_header("next_round", None, sources, output).sources,
                        checkpoint={path: digest for path, digest in (probed.sources if probed else {}).items()
                                    if not path.endswith(files.dataset.name)})
    if not write_dataset(lambda: read_samples(mixture.samples, kinds), manifest, output, args.fresh):
        _log.info("next_round: %s is complete, nothing to do", output)
    return mixture


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--seed-samples", type=Path, metavar="FILE", help="D_seed (default: run_dir/seed.jsonl)")
    for name in ("error-seeds", "expanded", "high-ppl", "probes"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help="default: the round's own file")
    parser.add_argument("--output", type=Path, metavar="FILE", help="dataset (default: round_{j+1}/dataset.jsonl)")
    parser.add_argument("--fresh", action="store_true", help="replace a dataset that is there already")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    config = load_config(args.config, args.overrides)
    files = round_files(args, config)
    mixture = build(args, config, files)
    for note in mixture.notes:
        _log.info("next_round: %s", note)
    parts = " + ".join(f"{count:,} {name}" for name, count in mixture.counts.items())
    _log.info("next_round: D_%d: %s = %s", files.round + 1, f"{len(mixture.samples):,}", parts)


if __name__ == "__main__":
    run_main(main)
