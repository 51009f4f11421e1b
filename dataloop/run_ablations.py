"""The variants of Table 4 over several seeds, beside the paper's figures.

In: a config; --variants, --seeds, --rounds. Out: a run in <run_dir>/ablations/<variant>_seed<S> for each, and on standard
output the table, then accuracy by round of every variant (the paper's curve of the loop against static training among
them), with 95% intervals over seeds. Killed and run again, it goes on; what is finished is only read.

Up to the probing of round 1 the variants do the same, so that is run once a seed and copied. With the simulated teacher
all figures are SIMULATED: accuracy on the held-out tasks, where the paper's are BFCL-v3 overall.
"""
from __future__ import annotations

import logging
import shutil
import statistics
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec

from dataloop.report import is_simulated
from dataloop.reporting.figures import Report
from looptool.config import ROOT, Ablation, Config, argument_parser, load_config
from looptool.records import InputError
from looptool.run_files import RoundFiles
from looptool.stage import run_main

_log = logging.getLogger(__name__)
FULL = "none"
VARIANTS: tuple[str, ...] = get_args(Ablation)
PAPER: dict[str, list[float | None]] = {
    FULL: [65.19, 71.20, 73.00, 74.34], "static": [65.19, 71.20, 73.3, 73.5],
    "no_high_ppl": [None, None, 72.31, 73.50], "no_jglv": [None, None, 71.30, 72.61], "no_edde": [None, None, 71.50, 73.12],
    "high_ppl_replace": [None, None, 72.50, 73.28], "error_seed_repetition": [None, None, 72.38, 73.43]}
"""BFCL-v3 overall of Qwen3-8B before training and after each round (Table 4; static: read off Figure 2)."""
T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365}
"""Student's t for a two-sided 95% interval, by the number of values."""
SHARED = ("policy", "policy.meta.json", "training", "train.parquet", "train.parquet.meta.json", "test.parquet",
          "test.parquet.meta.json", "dataset.jsonl", "dataset.meta.json", "probes.jsonl", "probes.jsonl.meta.json",
          "heldout_probes.jsonl", "heldout_probes.jsonl.meta.json")
"""What round 1 has in common in all variants of a seed."""


def run_variant(config: Config, flags: list[str], variant: str, seed: int, rounds: int) -> Path:
    """One run to its end; returns its folder."""
    folder = Path(config.run_dir) / "ablations" / f"{variant}_seed{seed}"
    full = folder.with_name(f"{FULL}_seed{seed}")
    if variant != FULL and not folder.exists():
        copy_beginning(full, folder)
    command = ["bash", str(ROOT / "scripts" / "run_loop.sh"), *flags, *words("run_dir", folder), *words("ablation", variant),
               *words("seed", seed), *words("rounds", rounds)]
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


def accuracies(folder: Path) -> list[float]:
    """Held-out accuracy before training and after each round, in percent."""
    report = msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)
    return [100 * figures.heldout.accuracy.share for figures in (report.before, *report.rounds) if figures.heldout]


def interval(values: Sequence[float]) -> str:
    """Mean and half the width of its 95% interval; of one value only itself."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return f"{mean:.1f}"
    t = T_95.get(len(values), 1.96)
    return f"{mean:.1f} ± {t * statistics.stdev(values) / len(values) ** 0.5:.1f}"


def table(curves: dict[str, list[list[float]]], rounds: int) -> list[str]:
    """One line a variant: round by round, beside the paper's, and the last round's difference to the full loop by seed."""
    heads = ["start", *(f"round {number}" for number in range(1, rounds + 1))]
    lines = [f"{'variant':22}" + "".join(f"{head:>14}" for head in heads) + f"{'last - full':>14}   paper: "
             + " / ".join(heads)]
    for variant, runs in curves.items():
        columns = [interval(values) for values in zip(*runs, strict=True)]
        less = [own[-1] - full[-1] for own, full in zip(runs, curves.get(FULL, []), strict=False)]
        paper = " / ".join("-" if figure is None else f"{figure:.2f}" for figure in PAPER[variant][:rounds + 1])
        lines.append(f"{variant if variant != FULL else 'full loop':22}" + "".join(f"{column:>14}" for column in columns)
                     + f"{interval(less) if less and variant != FULL else '':>14}   {paper}")
    return lines


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), help="default: all")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    args = parser.parse_args()
    if args.rounds < 1:
        raise InputError(f"--rounds {args.rounds}: at least one round is needed")
    config = load_config(args.config, args.overrides)
    flags = ["--config", args.config, *(word for override in args.overrides for word in ("--set", override))]
    variants = [FULL, *(variant for variant in args.variants if variant != FULL)]  # the others are copied from it
    curves: dict[str, list[list[float]]] = {variant: [] for variant in variants}
    for seed in args.seeds:
        for variant in variants:
            curves[variant].append(accuracies(run_variant(config, flags, variant, seed, args.rounds)))
            _log.info("ablations: seed %d, %s: %s", seed, variant,
                      " -> ".join(f"{share:.1f}%" for share in curves[variant][-1]))
    simulated = "SIMULATED held-out tasks" if is_simulated(config) else "held-out tasks"
    print(f"accuracy in % on the {simulated}, mean of {len(args.seeds)} seeds ± half of the 95% interval; paper: BFCL-v3 overall")
    print("\n".join(table(curves, args.rounds)))


if __name__ == "__main__":
    run_main(main)
