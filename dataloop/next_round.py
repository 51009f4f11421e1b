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
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from dataloop.ablation import ablate
from dataloop.contamination import Benchmark, benchmark_files
from dataloop.loop_files import read_some
from dataloop.mixing import Mixture, Supply, mix_parts, run_order, unused
from dataloop.seeds import near_boundary
from looptool.config import ROOT, Config, argument_parser, load_config
from looptool.meta import make_header, read_meta
from looptool.records import ErrorSeed, InputError, Probe, Record, Sample, encode_line, read_jsonl, write_atomic
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


def used_ids(files: RoundFiles) -> set[str]:
    """Ids of all samples of rounds 1 to j, and of the samples that they were made from."""
    used: set[str] = set()
    for number in range(1, files.round + 1):
        for sample in read_jsonl(RoundFiles(files.run_dir, number).dataset, Sample):
            used.update((sample.id, sample.parent or sample.id))
    return used


def check_one_round(files: RoundFiles, seeds: Iterable[ErrorSeed], expanded: Iterable[Sample],
                    high_ppl: Iterable[Probe], probes: Iterable[Probe]) -> None:
    """Refuse what does not come from D_j and from the probes of its policy.

    Raises:
        InputError: some record does not; names its kind and id.
    """
    ids = {sample.id for sample in read_jsonl(files.dataset, Sample)}
    again = f"not made from D_{files.round}; run scripts/05_probe.sh, 06_verify.sh and 07_expand.sh for this round again"
    perplexity = {probe.sample.id: probe.perplexity for probe in probes}
    for id in perplexity:
        if id not in ids:
            raise InputError(f"probe {id}: its file was {again}")
    for probe in high_ppl:
        if perplexity.get(probe.sample.id) != probe.perplexity:
            raise InputError(f"high-perplexity probe {probe.sample.id}: its file was {again}")
    seed_ids = set()
    for seed in seeds:
        sample = seed.sample
        seed_ids.add(sample.id)
        is_known = sample.parent in ids and sample.round == files.round if seed.cause == "relabeled" else sample.id in ids
        if not is_known:
            raise InputError(f"error seed {sample.id}: its file was {again}")
    for sample in expanded:
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


def round_supply(args: argparse.Namespace, config: Config, files: RoundFiles) -> tuple[Supply, list[Path]]:
    """What round j has left for D_{j+1}, and the files that it comes from; of round 0 the seed samples only.

    Raises:
        InputError: a file is absent, unreadable, or of another round.
    """
    seed_path = args.seed_samples or RunFiles(config).seed
    supply = Supply(error_seeds=[], expanded=[], high_ppl=[], seed_new=[])
    sources = [seed_path]
    if files.round:
        paths = {"error_seeds": args.error_seeds or files.error_seeds, "expanded": args.expanded or files.expanded,
                 "high_ppl": args.high_ppl or files.high_ppl, "probes": args.probes or files.probes}
        seeds = list(read_some(paths["error_seeds"], ErrorSeed))
        supply.expanded = list(read_some(paths["expanded"], Sample))
        high_ppl = list(read_some(paths["high_ppl"], Probe))
        check_fresh(files)
        check_one_round(files, seeds, supply.expanded, high_ppl, read_jsonl(paths["probes"], Probe))
        supply.error_seeds = [seed.sample for seed in seeds]
        supply.high_ppl = [probe.sample for probe in high_ppl]
        most = sys.maxsize if config.ablation == "no_high_ppl" else config.mix.size
        supply.mastered = [probe.sample for probe in near_boundary(read_jsonl(paths["probes"], Probe), (), most)]
        sources += [*paths.values(), *(RoundFiles(files.run_dir, n).dataset for n in range(1, files.round + 1))]
    fresh = unused(read_jsonl(seed_path, Sample), used_ids(files))
    supply.seed_new = sorted(fresh, key=lambda sample: run_order(config.seed, sample.id))
    if config.mix.benchmarks:
        seen = benchmark_files(ROOT / place for place in config.mix.benchmarks)
        supply, sources = supply.without(Benchmark(seen)), [*sources, *seen]
    return supply, sources


def write_dataset(mixture: Mixture, manifest: Manifest, output: Path, fresh: bool) -> bool:
    """Write the manifest, then the dataset: where a dataset is, its manifest is too. False if it is there already.

    Raises:
        InputError: another dataset is there, and not `fresh`.
    """
    def lines() -> Iterator[bytes]:
        return (encode_line(sample) for sample in mixture.samples)

    if output.exists() and not fresh:
        if output.read_bytes() == b"".join(lines()):
            return False
        raise InputError(f"{output}: is there already and would change; use --fresh to replace it, and then train its "
                         "round anew")
    write_atomic(output.with_suffix(".meta.json"),
                 [msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"])
    write_atomic(output, lines())
    return True


def build(args: argparse.Namespace, config: Config, files: RoundFiles) -> Mixture:
    """Make D_{j+1} and its manifest.

    Raises:
        InputError: an input is wrong, see above, or there is no sample at all.
    """
    output = args.output or files.next().dataset
    number = files.round + 1
    supply, sources = round_supply(args, config, files)
    first = list(read_jsonl(RoundFiles(files.run_dir, 1).dataset, Sample)) if files.round else []
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
    if not write_dataset(mixture, manifest, output, args.fresh):
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
