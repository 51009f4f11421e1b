"""From a run's folder to its Report. A file that is not there yet leaves its figures empty; a
damaged one is an error.

In, per round J: dataset.jsonl, training/metrics.jsonl, probes.jsonl, high_ppl.jsonl,
verdicts.jsonl, label_changes.jsonl, error_seeds.jsonl, expanded.jsonl, heldout_probes.jsonl
(round 0 too), and every .meta.json of the run.
"""
from __future__ import annotations

import platform
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dataloop.mixing.manifest import read_manifest
from dataloop.reporting import measures, skills
from dataloop.reporting.figures import (
    DatasetFigures, ExpansionFigures, HeldoutFigures, ProbeFigures, Report, RoundFigures)
from dataloop.reporting.measures import Known
from dataloop.reporting.skills import World
from looptool.config import Config
from looptool.errors import InputError
from looptool.json_lines import read_jsonl
from looptool.records import ErrorSeed, LabelChange, Probe, Sample, Verdict
from looptool.run_files import RoundFiles, newest_unfinished_round
from looptool.stages.meta import StageMeta, read_meta

R = TypeVar("R")
MANIFEST = "dataset.meta.json"
"""How next_round.py made a dataset: another form than the .meta.json of a stage."""
PACKAGES = ("looptool", "verl", "torch", "transformers", "vllm", "ray", "openai", "msgspec")
META = ".meta.json"
TWIN = "test.parquet"
"""Written together with train.parquet; its .meta.json has the same figures, to be counted once."""


class _Step(msgspec.Struct):
    """One line of metrics.jsonl."""

    data: dict[str, Any]


def stream(path: Path, record_type: type[R]) -> Iterator[R] | None:
    """The records of a file; none where it is empty, and None where there is no file yet."""
    if not path.exists():
        return None
    return read_jsonl(path, record_type) if path.stat().st_size else iter(())


def read_report(config: Config, world: World | None, command: str,
                static: Path | None = None) -> Report:
    """All figures of a run; `world` tells those that need a truth.

    Args:
        static: the folder of a run of static training, to stand beside it.

    Raises:
        InputError: there is no dataset of round 1 yet, or a file is damaged.
    """
    if not RoundFiles(config.run_dir, 1).dataset.exists():
        raise InputError(f"{RoundFiles(config.run_dir, 1).dataset}: is not there, so there is "
                         "nothing to report; run scripts/03_make_samples.sh first, or name the "
                         "config of another run with --config")
    numbers, further = begun_rounds(config)
    start = RoundFiles(config.run_dir, 0)
    before_answers = heldout_answers(start, world)
    rounds = [round_figures(RoundFiles(config.run_dir, number), world, before_answers)
              for number in numbers]
    if static is not None:
        add_static(rounds, static, world)
    # what comes before the rounds lies in the run's own folder, and in that of round 0
    before = RoundFigures(number=0, **costs([config.run_dir, start.folder]),
                          heldout=heldout_figures(start, world, None))
    return Report(simulated=world is not None, run_dir=config.run_dir,
                  config=msgspec.to_builtins(config), versions=versions(), command=command,
                  stages=list(stage_lines(Path(config.run_dir), numbers)), before=before,
                  planned_rounds=config.rounds, rounds=rounds,
                  next=further and round_figures(RoundFiles(config.run_dir, further), world, None))


def add_static(rounds: list[RoundFigures], static: Path, world: World | None) -> None:
    """The accuracy of static training after each round that has both.

    Raises:
        InputError: static training has no round yet.
    """
    if not RoundFiles(static, 1).heldout_probes.exists():
        raise InputError(f"{static}: holds no static training with a round; run "
                         "dataloop/ablations/static_training.py first")
    for figures in rounds:
        its = heldout_figures(RoundFiles(static, figures.number), world, None)
        if figures.heldout is not None and its is not None:
            figures.heldout.static = its.accuracy


def begun_rounds(config: Config) -> tuple[list[int], int | None]:
    """Numbers of the rounds that have a dataset, and that of the last one's successor where it is
    past the plan."""
    last = newest_unfinished_round(config)
    files = RoundFiles(config.run_dir, last)
    is_further = last > config.rounds and not files.training.exists() and not files.probes.exists()
    return list(range(1, last + (not is_further))), last if is_further else None


def round_figures(files: RoundFiles, world: World | None,
                  before: dict[str, bool | None] | None) -> RoundFigures:
    """All figures of one round; `before` holds the answers of round 0 to the held-out tasks."""
    steps = stream(files.training / "metrics.jsonl", _Step)
    known = world and world.right
    verdicts, replaced = None, None
    judged = stream(files.verdicts, Verdict)
    if judged is not None:
        verdicts, replaced = measures.verdict_figures(
            judged, stream(files.label_changes, LabelChange) or (), known)
        verdicts.unjudged = unjudged(read_meta(files.verdicts))
    return RoundFigures(
        number=files.round,
        dataset=dataset_figures(files, world),
        training=None if steps is None else measures.training_figures(step.data for step in steps),
        heldout=heldout_figures(files, world, before),
        probes=probe_figures(files), verdicts=verdicts,
        replaced=replaced if files.label_changes.exists() else None,
        expansion=expansion_figures(files, known),
        **({} if world is None else told_by(files, world)), **costs([files.folder]))


def told_by(files: RoundFiles, world: World) -> dict[str, Any]:
    """The figures of a round that are about rules and kinds, as far as there are probes."""
    if not files.probes.exists():
        return {}
    return {"blind_spot": skills.blind_spot(stream(files.probes, Probe) or (),
                                            stream(files.verdicts, Verdict) or (), world),
            "kinds": skills.kind_figures(stream(files.probes, Probe) or (),
                                         stream(files.error_seeds, ErrorSeed) or (),
                                         stream(files.expanded, Sample) or (), world)}


def dataset_figures(files: RoundFiles, world: World | None) -> DatasetFigures:
    figures = measures.dataset_figures(stream(files.dataset, Sample) or (), world and world.right)
    if world is not None:
        figures.noise_by_rule = skills.rules_behind(stream(files.dataset, Sample) or (), world)
    if manifest := read_manifest(files.dataset):
        figures.notes, figures.left_out = manifest.notes, manifest.left_out
    return figures


def heldout_answers(files: RoundFiles, world: World | None) -> dict[str, bool | None] | None:
    probes = stream(files.heldout_probes, Probe)
    return None if probes is None else measures.heldout_answers(probes, world and world.right)


def heldout_figures(files: RoundFiles, world: World | None,
                    before: dict[str, bool | None] | None) -> HeldoutFigures | None:
    answers = heldout_answers(files, world)
    if answers is None:
        return None
    figures = measures.heldout_figures(answers, before)
    if world is not None:
        probes = stream(files.heldout_probes, Probe) or ()
        figures.by_kind = skills.accuracy_by_kind(probes, world)
    return figures


def probe_figures(files: RoundFiles) -> ProbeFigures | None:
    probes = stream(files.probes, Probe)
    if probes is None:
        return None
    return measures.probe_figures(probes, stream(files.high_ppl, Probe) or ())


def unjudged(meta: StageMeta | None) -> int | None:
    """Mismatches without a verdict: no readable reply, or no reply."""
    return None if meta is None else (
        meta.counts.get("unjudged", 0) + meta.counts.get("judge_cut", 0) + meta.failed)


def expansion_figures(files: RoundFiles, known: Known | None) -> ExpansionFigures | None:
    expanded = stream(files.expanded, Sample)
    if expanded is None:
        return None
    meta = read_meta(files.expanded)
    return measures.expansion_figures(stream(files.error_seeds, ErrorSeed) or (), expanded,
                                      {} if meta is None else meta.counts, known)


def metas(folder: Path | str) -> Iterator[tuple[Path, StageMeta]]:
    """Each output of a folder that explains itself, by name, and how."""
    for path in sorted(Path(folder).glob("*" + META)):
        if path.name == MANIFEST:
            continue
        output = path.with_name(path.name.removesuffix(META))
        meta = read_meta(output)
        if meta is not None and output.name != TWIN:
            yield output, meta


def costs(folders: Iterable[Path | str]) -> dict[str, Any]:
    """Seconds and failed inputs by step, and usage by role."""
    seconds: Counter[str] = Counter()
    failed: Counter[str] = Counter()
    usage: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for folder in folders:
        for output, meta in metas(folder):
            step = step_name(output, meta)
            seconds[step] += meta.seconds
            failed[step] += meta.failed
            for role, account in meta.usage.items():
                usage[role].update(msgspec.to_builtins(account))
    # + leaves out zeros
    return {"seconds": dict(seconds), "failed": dict(+failed),
            "usage": {role: dict(usage[role]) for role in usage}}


def step_name(output: Path, meta: StageMeta) -> str:
    """The stage, told apart where it works on the held-out tasks."""
    return (f"{meta.stage} held-out"
            if output.name.startswith("heldout") and meta.stage != "heldout" else meta.stage)


def stage_lines(run_dir: Path, numbers: list[int]) -> Iterator[dict[str, Any]]:
    """One entry for each output of the run, as the page's protocol shows it."""
    for folder in [run_dir,
                   *(RoundFiles(run_dir, number).folder
                     # the last one is that of a dataset past the plan, if there is one
                     for number in (0, *numbers, len(numbers) + 1))]:
        for output, meta in metas(folder):
            yield {"file": str(output.relative_to(run_dir)), "stage": meta.stage,
                   "version": meta.version, "records": meta.records, "seconds": meta.seconds,
                   "settings": meta.settings}


def versions() -> dict[str, str]:
    """Python and the installed packages that figures may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
