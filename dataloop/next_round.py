"""The next round's dataset (equation 5): D_{j+1} = D_ES + D_EE + D_HPPL + D_Seed-new.

In, of round j: error_seeds.jsonl, expanded.jsonl, high_ppl.jsonl, probes.jsonl; of the run:
seed.jsonl and the datasets of rounds 1 to j. Out: round_{j+1}/dataset.jsonl, Sample records whose
`origin` says by which part they entered, and beside it dataset.meta.json: counts by part, what was
left out and why, hashes of all inputs, the checkpoint that was probed; and dataset_card.md, the
same for people and for the hub. Round 0 makes D_1 from seed.jsonl alone.

    python next_round.py [--round J] [--error-seeds FILE] [--expanded FILE] [--high-ppl FILE]
        [--output FILE]

How many of each part, and what gives way or fills up: dataloop/mixing/equation_5.py. Files of
different rounds are refused. A dataset that is there already and would change is only replaced with
--fresh: the policy may have been trained on it.
"""
from __future__ import annotations

import argparse
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from dataloop.ablations.mixture import ablate
from dataloop.mixing.contamination import Benchmark, benchmark_files
from dataloop.mixing.equation_5 import Mixture, Supply, is_used, mix_parts
from dataloop.mixing.manifest import Manifest
from dataloop.reporting.card import card_path, render_card
from dataloop.verifying.auditing import refuted
from dataloop.verifying.relabel import select_high_perplexity
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.fingerprints import IdSet
from looptool.json_lines import (
    encode_line, read_jsonl, read_some, write_atomic, write_json)
from looptool.records import ErrorSeed, Probe, Sample, Verdict
from looptool.run_files import RoundFiles, RunFiles, round_files
from looptool.sample_table import NO_ROWS, Listing
from looptool.stages.meta import make_header, read_meta

_log = logging.getLogger(__name__)


def dataset_ids(files: RoundFiles) -> tuple[IdSet, IdSet]:
    """Ids of D_j; and ids of all samples of rounds 1 to j, and of the samples that they were made
    from."""
    own, used = IdSet(), IdSet()

    def ids(number: int) -> Iterator[str]:
        for sample in read_jsonl(RoundFiles(files.run_dir, number).dataset, Sample):
            # with a new label it has a new id; its old version must not come back as a seed sample
            if sample.parent is not None:
                used.add(sample.parent)
            yield sample.id

    for number in range(1, files.round + 1):
        own = IdSet(ids(number))
        used.update(own)
    return own, used


class RoundCheck:
    """Refuses what does not come from D_j and from the probes of its policy; error seeds come
    before what was made of them, high-perplexity probes before all probes. Its methods are True for
    a record that comes from there.

    Raises:
        InputError: a record does not; names its kind and id.
    """

    def __init__(self, round: int, ids: IdSet):
        """`ids` are those of D_j."""
        self._round, self._ids = round, ids
        self._seeds, self._unsure, self._found = IdSet(), IdSet(), IdSet()

    def error_seed(self, seed: ErrorSeed) -> bool:
        sample = seed.sample
        self._seeds.add(sample.id)
        is_known = (sample.parent in self._ids and sample.round == self._round
                    if seed.cause == "relabeled" else sample.id in self._ids)
        return self._need(is_known, "error seed", sample)

    def expanded(self, sample: Sample) -> bool:
        return self._need(sample.parent in self._seeds and sample.round == self._round,
                          "expanded sample", sample)

    def high_ppl(self, probe: Probe) -> bool:
        self._unsure.add(_measured(probe))
        return True

    def probe(self, probe: Probe) -> bool:
        if (measured := _measured(probe)) in self._unsure:
            self._found.add(measured)
        return self._need(probe.sample.id in self._ids, "probe", probe.sample)

    def all_found(self, high_ppl: Iterable[Probe]) -> None:
        """Once all probes were seen: whether the high-perplexity ones are among them."""
        if len(self._found) < len(self._unsure):
            for probe in high_ppl:
                self._need(_measured(probe) in self._found, "high-perplexity probe", probe.sample)

    def _need(self, is_known: bool, kind: str, sample: Sample) -> bool:
        if not is_known:
            raise InputError(f"{kind} {sample.id}: its file was not made from D_{self._round}; run "
                             "scripts/05_probe.sh, 06_verify.sh and 07_expand.sh for this round "
                             "again")
        return True


def _measured(probe: Probe) -> str:
    # two policies are probed on samples of the same ids, hardly ever with the same perplexity
    return f"{probe.sample.id} {probe.perplexity}"


def check_there(paths: Mapping[str, Path]) -> None:
    """Refuse a file of the round that is absent, so that it is named before one of an earlier round
    is; only the probes may not be empty.

    Raises:
        InputError: one is absent, or its first line does not hold such a record.
    """
    for name, record_type in (("error_seeds", ErrorSeed), ("expanded", Sample),
                              ("high_ppl", Probe)):
        next(read_some(paths[name], record_type), None)
    next(read_jsonl(paths["probes"], Probe))


def check_fresh(files: RoundFiles) -> None:
    """Refuse a file that was made from another version of its source than the one that now lies
    beside it.

    Raises:
        InputError: one was; names both.
    """
    for made, source in ((files.probes, files.dataset), (files.verdicts, files.probes),
                         (files.expanded, files.error_seeds)):
        meta = read_meta(made)
        if meta is not None and source.name in meta.sources:
            now = make_header(meta.stage, None, [source], made).sources
            if meta.sources[source.name] != now[source.name]:
                raise InputError(
                    f"{made}: was made from another {source.name}; run its step again with --fresh")


def round_supply(args: argparse.Namespace, config: Config,
                 files: RoundFiles) -> tuple[Supply, list[Path]]:
    """What round j has left for D_{j+1}, and all files that were read; of round 0 the seed samples
    only.

    Raises:
        InputError: a file is absent, unreadable, or of another round.
    """
    listing = Listing()
    supply = Supply(listing=listing)
    seed_path = args.seed_samples or RunFiles(config).seed
    sources = [seed_path]
    paths = {name: getattr(args, name) or getattr(files, name)
             for name in ("error_seeds", "expanded", "high_ppl", "probes")}
    if files.round:
        check_there(paths)
        check_fresh(files)
    own, used = dataset_ids(files)
    check = RoundCheck(files.round, own)
    if files.round:
        supply.error_seeds = listing.add(paths["error_seeds"], ErrorSeed, check.error_seed)
        supply.expanded = listing.add(paths["expanded"], Sample, check.expanded)
        supply.high_ppl = listing.add(paths["high_ppl"], Probe, check.high_ppl)
        datasets = [RoundFiles(files.run_dir, number).dataset
                    for number in range(1, files.round + 1)]
        sources += [*paths.values(), *datasets]
    fresh = listing.add(seed_path, Sample, lambda sample: not is_used(sample, used))
    supply.seed_new = listing.shuffled(fresh, f"{config.seed}")
    if files.round:
        wrong = IdSet()
        if config.verify.audit_mastered or config.verify.label_refinement:  # else matches have none
            wrong = refuted(read_some(files.verdicts, Verdict))
            sources.append(files.verdicts)
        mastered = listing.add(paths["probes"], Probe, lambda probe: (
            # the check first, as it has to see every probe
            check.probe(probe) and probe.matches and probe.sample.id not in wrong))
        check.all_found(listing.records(supply.high_ppl))
        supply.mastered = select_high_perplexity(listing, mastered)
    if config.mix.benchmarks:
        seen = benchmark_files(ROOT / place for place in config.mix.benchmarks)
        benchmark = Benchmark(seen)
        rows = np.concatenate([*supply.parts().values()])
        is_seen = [benchmark.reason(sample) is not None for sample in listing.samples(rows)]
        supply = supply.without(rows[is_seen])
        sources += seen
    return supply, sources


def write_dataset(samples: Callable[[], Iterator[Sample]], manifest: Manifest, card: str,
                  output: Path, fresh: bool) -> bool:
    """Write the manifest and the card, then the dataset: where it is, they are too. False if it is
    there already: its card stays too, as the config may say other things by now.

    Raises:
        InputError: another dataset is there, and not `fresh`.
    """
    if output.exists() and not fresh:
        with output.open("rb") as there:
            if (all(there.readline() == encode_line(sample) for sample in samples())
                    and not there.read(1)):
                return False
        raise InputError(f"{output}: is there already and would change; use --fresh to replace it, "
                         "and then train its round anew")
    write_json(output.with_suffix(".meta.json"), manifest)
    write_atomic(card_path(output), [card.encode()])
    write_atomic(output, (encode_line(sample) for sample in samples()))
    return True


def build(args: argparse.Namespace, config: Config, files: RoundFiles) -> Mixture:
    """Make D_{j+1} and its manifest.

    Raises:
        InputError: an input is wrong, see above, or there is no sample at all.
    """
    output = args.output or files.next().dataset
    number = files.round + 1
    supply, sources = round_supply(args, config, files)
    first = NO_ROWS
    if files.round and config.ablation == "static":
        first = supply.listing.add(RoundFiles(files.run_dir, 1).dataset, Sample)
    mixture = mix_parts(*ablate(config.ablation, supply, config.mix, number, config.seed, first),
                        number, config.seed)
    if not len(mixture.samples):
        raise InputError(f"{output}: not written, as there is no sample for D_{number}; check "
                         "seed.jsonl and the round's files")
    probed = read_meta(args.probes or files.probes) if files.round else None
    # the sources of probes are the dataset and the files of the checkpoint
    manifest = Manifest(round=number, size=len(mixture.samples), counts=mixture.counts,
                        left_out=mixture.left_out, notes=mixture.notes, seed=config.seed,
                        mix=config.mix.recorded(),
                        sources=make_header("next_round", None, sources, output).sources,
                        checkpoint={path: digest
                                    for path, digest in (probed.sources if probed else {}).items()
                                    if not path.endswith(files.dataset.name)})

    def samples() -> Iterator[Sample]:
        return supply.listing.samples(mixture.samples, mixture.origins)

    card = render_card(config, output, number, manifest.sources, samples())
    if not write_dataset(samples, manifest, card, output, args.fresh):
        _log.info("next_round: %s is complete, nothing to do", output)
    return mixture


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--seed-samples", type=Path, metavar="FILE",
                        help="D_seed (default: run_dir/seed.jsonl)")
    for name in ("error-seeds", "expanded", "high-ppl", "probes"):
        parser.add_argument(f"--{name}", type=Path, metavar="FILE",
                            help="default: the round's own file")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="dataset (default: round_{j+1}/dataset.jsonl)")
    parser.add_argument("--fresh", action="store_true",
                        help="replace a dataset that is there already")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    config = load_config(args.config, args.overrides)
    files = round_files(args, config)
    mixture = build(args, config, files)
    for note in mixture.notes:
        _log.debug("next_round: %s", note)
    parts = " + ".join(f"{count:,} {name}" for name, count in mixture.counts.items())
    notes = " (with notes in its .meta.json)" if mixture.notes else ""
    _log.info("next_round: D_%d: %s = %s%s", files.round + 1, f"{len(mixture.samples):,}", parts,
              notes)


if __name__ == "__main__":
    run_main(main)
