"""What one run of an ablation has come to, as a small file of its own: enough to make every table
and figure again, with the commit and the config by which it was made."""
from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from dataloop.ablations.variants import VARIANTS
from dataloop.reporting.figures import Rate, Report
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.records import Record


class Result(Record):
    """One run of one variant."""

    variant: str
    seed: int
    settings: str
    """Fingerprint of the config, apart from what tells the runs of a table from each other."""
    student: str
    """Its size, such as "3.1M", or its name."""
    accuracies: list[float]
    """Held-out accuracy in percent, before training and after each round."""
    noise: list[float]
    """Wrong labels of D_1, D_2 and so on in percent; empty where no truth is known."""
    world: str = "real"
    """One of dataloop.ablations.variants.WORLDS, or "real"."""
    commit: str = "unknown"
    """Of this repository; with a "+" where files differed from it."""
    replaced: tuple[int, int] = (0, 0)
    """New labels that are right, and new labels, of all rounds."""
    expanded: tuple[int, int] = (0, 0)
    """The same for expanded samples."""
    mastered_wrong: list[tuple[int, int]] = []
    """Wrong labels among the mastered, and the mastered, by round."""
    reproduced: list[tuple[int, int]] = []
    """Wrong labels that the policy reproduces, and wrong labels, by round."""
    kappa: list[float | None] = []
    """Of the decided verdicts, by round."""
    by_kind: dict[str, list[float]] = {}
    """Accuracies by kind of task."""
    error_seeds: dict[str, list[int]] = {}
    """By kind of task, for each round."""
    expanded_by_kind: dict[str, list[int]] = {}
    pass_at_k: list[float] = []
    """Of D_1, D_2 and so on in percent, where several replies were drawn."""
    config: dict[str, Any] = {}
    """The run's, without what only says where it was computed."""


Runs = dict[str, dict[int, Result]]
"""Results by variant and seed."""


def result_of(folder: Path, **fields: Any) -> Result:
    """What a finished run has come to, from its report; `fields` are those that the report
    lacks."""
    report = msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)
    probed = [figures for figures in (report.before, *report.rounds) if figures]
    if missing := [figures.number for figures in probed if not figures.heldout]:
        raise InputError(f"{folder}: round {missing[0]} has no held-out figures; run "
                         f"scripts/evaluate_heldout.sh --round {missing[0]} for it, then this "
                         "again")
    datasets = [figures.dataset for figures in report.datasets if figures.dataset]
    judged = [figures.verdicts for figures in report.rounds if figures.verdicts]
    spots = [figures.blind_spot for figures in report.rounds if figures.blind_spot]
    rounds, kinds = report.rounds, dict.fromkeys(
        kind for figures in report.rounds for kind in figures.kinds)
    heldout_kinds = dict.fromkeys(kind for figures in probed for kind in figures.heldout.by_kind)
    return Result(
        **fields, commit=commit(),
        accuracies=[100 * figures.heldout.accuracy.share for figures in probed],
        noise=[100 * data.noise.share for data in datasets if data.noise and data.noise.total],
        replaced=total(figures.replaced.right for figures in rounds if figures.replaced),
        expanded=total(figures.expansion.right for figures in rounds if figures.expansion),
        mastered_wrong=[(spot.mastered.hits, spot.mastered.total) for spot in spots],
        reproduced=[(spot.reproduced.hits, spot.reproduced.total) for spot in spots],
        kappa=[figures.kappa for figures in judged],
        by_kind={kind: [round(100 * found.share, 2) if (found := figures.heldout.by_kind.get(kind))
                        else 0.0 for figures in probed] for kind in heldout_kinds},
        error_seeds=_by_kind(report, kinds, "error_seeds"),
        expanded_by_kind=_by_kind(report, kinds, "expanded"),
        pass_at_k=[100 * figures.probes.pass_at_k.share for figures in rounds
                   if figures.probes and figures.probes.pass_at_k])


def _by_kind(report: Report, kinds: Iterable[str], count: str) -> dict[str, list[int]]:
    return {kind: [getattr(figures.kinds.get(kind), count, 0) for figures in report.rounds]
            for kind in kinds}


def total(rates: Iterable[Rate | None]) -> tuple[int, int]:
    found = [rate for rate in rates if rate]
    return sum(rate.hits for rate in found), sum(rate.total for rate in found)


def commit() -> str:
    """The commit of this repository, "unknown" outside of one."""
    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    name = git("rev-parse", "--short=10", "HEAD") if shutil.which("git") else ""
    return name + ("+" if git("status", "--porcelain", "-uno") else "") if name else "unknown"


def read_results(folder: Path) -> Iterator[Result]:
    """All results of a folder, whatever their world.

    Raises:
        InputError: a file is damaged, or there are results of different settings.
    """
    first: Result | None = None
    for path in sorted(folder.glob("*/*.json")):
        try:
            result = msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.DecodeError as error:
            raise InputError(f"{path}: no result ({error}); remove it and run its variant "
                             "again") from None
        first = first or result
        if result.settings != first.settings:
            raise InputError(f"{path}: is of another config than the other results beside it; put "
                             "them into different folders, each with the run_dir of its config")
        yield result


def by_world(results: Iterable[Result]) -> dict[str, Runs]:
    """The results by world, variant in the order of VARIANTS, and seed."""
    worlds: dict[str, Runs] = {}
    for result in results:
        worlds.setdefault(result.world, {variant: {} for variant in VARIANTS})
        worlds[result.world][result.variant][result.seed] = result
    return {world: {variant: dict(sorted(by_seed.items())) for variant, by_seed in runs.items()
                    if by_seed} for world, runs in worlds.items()}
