"""Where a run keeps its files, so that every stage finds what another one wrote."""
from __future__ import annotations

import argparse
from pathlib import Path

from looptool.config import Config
from looptool.config_file import student_path
from looptool.errors import InputError


class RoundFiles:
    """Every path of one round; `round` 0 holds what comes before the first training."""

    def __init__(self, run_dir: Path | str, round: int):
        self.run_dir, self.round = Path(run_dir), round
        self.folder = self.run_dir / f"round_{round}"
        self.dataset = self.folder / "dataset.jsonl"
        self.train_parquet = self.folder / "train.parquet"
        self.test_parquet = self.folder / "test.parquet"
        self.training = self.folder / "training"
        self.verl_metrics = self.training / "metrics.verl.jsonl"
        self.rollouts = self.training / "rollouts"
        self.policy = self.folder / "policy"
        self.probes = self.folder / "probes.jsonl"
        self.verdicts = self.folder / "verdicts.jsonl"
        self.error_seeds = self.folder / "error_seeds.jsonl"
        self.high_ppl = self.folder / "high_ppl.jsonl"
        self.label_changes = self.folder / "label_changes.jsonl"
        self.expanded = self.folder / "expanded.jsonl"
        self.heldout_probes = self.folder / "heldout_probes.jsonl"

    def made_from(self, output: Path) -> list[Path]:
        """What later steps make from the output of one; nothing where it is none of the round's own
        files."""
        return _after(output, [self.probes, self.verdicts, self.expanded, self.next().dataset])

    def next(self) -> RoundFiles:
        return RoundFiles(self.run_dir, self.round + 1)

    def previous(self) -> RoundFiles:
        return RoundFiles(self.run_dir, self.round - 1)


class RunFiles:
    """Every path of a run that belongs to no round."""

    def __init__(self, config: Config):
        self.run_dir = Path(config.run_dir)
        self.tools = self.run_dir / "tools.jsonl"
        self.designed_tools = self.run_dir / "designed_tools.jsonl"
        self.dialogs = self.run_dir / "dialogs.jsonl"
        self.dialog_checks = self.run_dir / "dialog_checks.jsonl"
        self.verified_dialogs = self.run_dir / "verified_dialogs.jsonl"
        self.seed_dialogs = (self.dialogs if config.dialogs.verify == "none"
                             else self.verified_dialogs)
        self.conversations = self.run_dir / "conversations.jsonl"
        self.samples = self.run_dir / "samples.jsonl"
        self.seed = self.run_dir / "seed.jsonl"
        self.heldout = self.run_dir / "heldout.jsonl"
        self.answers = self.run_dir / "answers.sqlite"
        self.report = self.run_dir / "report.html"

    def made_from(self, output: Path) -> list[Path]:
        """As that of RoundFiles. What no call makes is left out, as it is made again in seconds."""
        return _after(output, [self.designed_tools, self.dialogs, self.dialog_checks,
                               RoundFiles(self.run_dir, 1).dataset])


def _after(output: Path, order: list[Path]) -> list[Path]:
    return order[order.index(output) + 1:] if output in order else []


def first_policy(config: Config) -> str:
    """The folder or hub name of pi_0: what the cold start made where the config has one, else the
    student.

    Raises:
        InputError: the cold start has not been run; or as student_path.
    """
    if not config.train.cold_start.steps:
        return student_path(config)
    policy = RoundFiles(config.run_dir, 0).policy
    if not policy.is_dir():
        raise InputError(f"{policy}: is not there; run scripts/cold_start.sh first, or set "
                         "train.cold_start.steps to 0")
    return str(policy.resolve())


def newest_unfinished_round(config: Config) -> int:
    """The last round that has a dataset and no successor, at least 1."""
    number = 1
    while RoundFiles(config.run_dir, number + 1).dataset.exists():
        number += 1
    return number


def check_made(path: Path, step: str, args: argparse.Namespace) -> None:
    """Refuse to begin without a file that `step` writes.

    Raises:
        InputError: it is not there; names the step, and the config, by which another run may have
            been meant.
    """
    if not path.exists():
        raise InputError(f"{path}: is not there; run {step} first, or name by --config or "
                         f"LOOPTOOL_CONFIG another config than {args.config}")


def round_files(args: argparse.Namespace, config: Config) -> RoundFiles:
    """The files of the round that --round names, else of the newest unfinished one.

    Raises:
        InputError: --round is no whole number from 0 up.
    """
    if args.round is None:
        return RoundFiles(config.run_dir, newest_unfinished_round(config))
    if not str(args.round).isdecimal():
        raise InputError(f"--round {args.round}: give a whole number from 1 up")
    return RoundFiles(config.run_dir, int(args.round))
