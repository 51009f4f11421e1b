"""The variants of Table 4 over several seeds, beside the paper's figures.

In: a config; --variants, --seeds, --rounds. Out: a run in <run_dir>/ablations/<variant>_seed<S> for each, what came of it in
<run_dir>/ablations/results/<variant>_seed<S>.json, and on standard output, from all results that are there: Table 4, what the
data were like, Figure 2 (the loop against static training, also as figure_2.svg) and Figure 3, with 95% intervals over seeds.

Killed and run again, it goes on; a variant and seed with a result is not run again, so that seeds can be run on several
days and machines, their results put into one folder, and --table prints what is there and runs nothing. Figure 3 is the
gain by size of the student: --also names runs of other ones.

Up to the probing of round 1 the variants do the same, so that is run once a seed and copied. With the simulated teacher
all figures are SIMULATED: accuracy on the held-out tasks, where the paper's are BFCL-v3 overall.
"""
from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

import msgspec

from dataloop.report import is_simulated
from dataloop.reporting.comparison import Result, Runs, data_quality, figure_2, figure_3, picture, table_4
from dataloop.reporting.figures import Rate, Report
from looptool.config import ROOT, Ablation, Config, argument_parser, load_config, student_path
from looptool.paper_figures import FULL
from looptool.records import InputError, content_id, write_atomic
from looptool.run_files import RoundFiles
from looptool.stage import run_main
from looptool.weights import count_parameters

_log = logging.getLogger(__name__)
VARIANTS: tuple[str, ...] = get_args(Ablation)
SHARED = ("policy", "policy.meta.json", "training", "train.parquet", "train.parquet.meta.json", "test.parquet",
          "test.parquet.meta.json", "dataset.jsonl", "dataset.meta.json", "probes.jsonl", "probes.jsonl.meta.json",
          "heldout_probes.jsonl", "heldout_probes.jsonl.meta.json")
"""What round 1 has in common in all variants of a seed."""
TELLS_APART = ("run_dir", "seed", "rounds", "ablation")
"""Settings in which the runs of a table may differ."""
MACHINE = {
    "teacher": ("base_urls", "in_flight", "timeout_seconds", "tries", "dollars_per_million_prompt_tokens",
                "dollars_per_million_completion_tokens"),
    "train": ("profile", "save_every", "test_every", "gpus_per_node", "nodes", "tensor_parallel", "gpu_memory_share",
              "attention"),
    "probe": ("base_urls", "model", "in_flight", "batch_tokens", "replicas", "tensor_parallel", "gpu_memory_share")}
"""Those that say where and how fast a run is computed, not what it comes to, by section."""


def run_variant(config: Config, flags: list[str], variant: str, seed: int, rounds: int) -> Path:
    """One run to its end; returns its folder."""
    folder = Path(config.run_dir) / "ablations" / f"{variant}_seed{seed}"
    full = folder.with_name(f"{FULL}_seed{seed}")
    if variant != FULL and not folder.exists() and RoundFiles(full, 1).probes.exists():
        copy_beginning(full, folder)
    command = ["bash", str(ROOT / "scripts" / "run_loop.sh"), "--same-config", *flags, *words("run_dir", folder),
               *words("ablation", variant), *words("seed", seed), *words("rounds", rounds)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("ab") as output:
        if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
            raise InputError(f"{folder}: the loop has ended with an error; see {output.name}, and run this again")
    return folder


def words(key: str, value: object) -> list[str]:
    return ["--set", f"{key}={value}"]


def copy_beginning(full: Path, folder: Path) -> None:
    """Everything up to the probing of round 1, put in place when it is whole."""
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(full, aside, ignore=lambda place, names: [
        name for name in names if Path(place) == full and name.startswith(("round_", "report")) and name != "round_0"])
    first = RoundFiles(aside, 1).folder
    first.mkdir()
    for name in SHARED:
        source = RoundFiles(full, 1).folder / name
        if source.is_dir():
            shutil.copytree(source, first / name)
        elif source.exists():
            shutil.copy2(source, first / name)
    aside.rename(folder)


def result_of(folder: Path, variant: str, seed: int, settings: str, student: str) -> Result:
    """What a finished run has come to, from its report."""
    report = msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)
    noises = (figures.dataset.noise for figures in (*report.rounds, *filter(None, [report.next])) if figures.dataset)
    return Result(variant=variant, seed=seed, settings=settings, student=student,
                  accuracies=[100 * figures.heldout.accuracy.share for figures in (report.before, *report.rounds)
                              if figures.heldout],
                  noise=[100 * noise.share for noise in noises if noise and noise.total],
                  replaced=total(figures.replaced.right for figures in report.rounds if figures.replaced),
                  expanded=total(figures.expansion.right for figures in report.rounds if figures.expansion))


def total(rates: Iterable[Rate | None]) -> tuple[int, int]:
    found = [rate for rate in rates if rate]
    return sum(rate.hits for rate in found), sum(rate.total for rate in found)


def settings_of(config: Config) -> str:
    """The same for all runs that may stand in one table."""
    settings: dict[str, Any] = msgspec.to_builtins(config)
    kept = {key: value for key, value in settings.items() if key not in TELLS_APART}
    for section, keys in MACHINE.items():
        kept[section] = {key: value for key, value in kept[section].items() if key not in keys}
    return content_id([kept, is_simulated(config)])


def student_size(config: Config) -> str:
    """The student's number of parameters, counted in its files; its name where there are none."""
    folder = Path(student_path(config))
    if not any(folder.glob("*.safetensors")):
        return config.student.model
    count = count_parameters(folder)
    return f"{count / 1e6:.1f}M" if count < 1e9 else f"{count / 1e9:.1f}B"


def read_results(folder: Path) -> Iterator[Result]:
    """All results of a folder.

    Raises:
        InputError: a file is damaged, or there are results of different settings.
    """
    first: Result | None = None
    for path in sorted(folder.glob("*.json")):
        try:
            result = msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.DecodeError as error:
            raise InputError(f"{path}: no result ({error}); remove it and run its variant again") from None
        first = first or result
        if result.settings != first.settings:
            raise InputError(f"{path}: is of another config than the other results beside it; put them into different "
                             "folders, each with the run_dir of its config")
        yield result


def ordered(results: Iterable[Result]) -> Runs:
    """The results by variant, in the order of VARIANTS, and seed."""
    runs: Runs = {variant: {} for variant in VARIANTS}
    for result in results:
        runs[result.variant][result.seed] = result
    return {variant: dict(sorted(by_seed.items())) for variant, by_seed in runs.items() if by_seed}


def run_all(args: argparse.Namespace, config: Config, results: Path) -> None:
    """Run what has no result yet, seed by seed, the full loop first, as the others are copied from it."""
    flags = ["--config", args.config, *(word for override in args.overrides for word in ("--set", override))]
    settings, student = settings_of(config), student_size(config)
    for seed in args.seeds:
        for variant in [FULL, *(variant for variant in args.variants if variant != FULL)]:
            known = ordered(read_results(results)).get(variant, {}).get(seed)
            if known and known.settings != settings:
                raise InputError(f"{results}: holds results of another config; set run_dir to another folder, or the config "
                                 "back")
            if known is None or len(known.accuracies) <= args.rounds:
                folder = run_variant(config, flags, variant, seed, args.rounds)
                known = result_of(folder, variant, seed, settings, student)
                write_atomic(results / f"{variant}_seed{seed}.json",
                             [msgspec.json.format(msgspec.json.encode(known), indent=2) + b"\n"])
            _log.info("ablations: seed %d, %s: %s", seed, variant, " -> ".join(f"{share:.1f}%" for share in known.accuracies))


def show(runs: Runs, others: list[Runs], rounds: int, of: str) -> Iterator[str]:
    """All that is printed."""
    yield f"accuracy in % on the {of}, mean ± half of the 95% interval over seeds; paper: BFCL-v3 overall"
    yield from ("", "Table 4", *table_4(runs, rounds), "", "Data", *data_quality(runs))
    yield from ("", "Figure 2", *figure_2(runs, rounds))
    by_student = {next(iter(variants[FULL].values())).student: variants for variants in (runs, *others) if FULL in variants}
    yield from ("", "Figure 3: gain of round 2 over round 1, by size of the student", *figure_3(by_student))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    parser.add_argument("--also", nargs="+", type=Path, default=[], metavar="RUN_DIR",
                        help="runs of other students, for Figure 3")
    args = parser.parse_args()
    if args.rounds < 1:
        raise InputError(f"--rounds {args.rounds}: at least one round is needed")
    config = load_config(args.config, args.overrides)
    results = Path(config.run_dir) / "ablations" / "results"
    if not args.table:
        run_all(args, config, results)
    runs = ordered(read_results(results))
    if not runs:
        raise InputError(f"{results}: holds no result yet; run this without --table first")
    of = "SIMULATED held-out tasks" if is_simulated(config) else "held-out tasks"
    others = [ordered(read_results(folder / "ablations" / "results")) for folder in args.also]
    if {} in others:
        raise InputError(f"{args.also[others.index({})]}: holds no results of ablations; name the run_dir of such runs")
    write_atomic(results.parent / "figure_2.svg", [picture(runs, args.rounds, of).encode()])
    print("\n".join(show(runs, others, args.rounds, of)))


if __name__ == "__main__":
    run_main(main)
