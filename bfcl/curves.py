"""Curves from the cards of runs: accuracy by round (Figure 2), gain by model size (Figure 4).

In: run folders, in which scripts/09_evaluate_bfcl.sh has measured rounds. Out: tables, printed;
with --out an SVG too.

    by round, beside training on static data only (dataloop/ablations/static_training.py makes it):
        python bfcl/curves.py runs/qwen3_8b --static runs/qwen3_8b_static
    by size, rounds 1 and 2 of each run:
        python bfcl/curves.py runs/qwen3_0.6b runs/qwen3_8b --sizes

Only scores whose cards agree in everything but the model stand in one table.
"""
from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bfcl.card import Scored, differences, read_card
from bfcl.official.scores import FIGURES, accuracy, tallies_of
from looptool.charts.curves import Curve, draw
from looptool.charts.paper_figures import BY_ROUND, FULL, GAINS
from looptool.command import ArgumentParser, run_main
from looptool.errors import InputError
from looptool.json_lines import write_atomic

PAPER_CURVES = {f"paper: {name}": {number: (figure, None)
                                   for number, figure in enumerate(BY_ROUND[variant])}
                for name, variant in (("LoopTool-8B", FULL), ("static data only", "static"))}


def read_rounds(run_dir: Path, benchmark: str) -> dict[int, Scored]:
    """The measured rounds of a run.

    Raises:
        InputError: there are none.
    """
    rounds = {int(number): read_card(path.parent)
              for path in run_dir.glob(f"round_*/{benchmark}/card.json")
              if (number := path.parent.parent.name.removeprefix("round_")).isdecimal()}
    if not rounds:
        raise InputError(
            f"{run_dir}: no round_J/{benchmark}/card.json; run scripts/09_evaluate_bfcl.sh first")
    return dict(sorted(rounds.items()))


def overall(scored: Scored) -> tuple[float, float]:
    """The benchmark's first figure that was measured, and half its 95% interval, in percent.

    Raises:
        InputError: none was.
    """
    columns = next(iter(FIGURES[scored.card.benchmark].values()))
    for weights in columns.values():
        if point := accuracy(weights, tallies_of(scored)):
            return point
    raise InputError(f"{scored.card.model}: {scored.card.scope}: too few categories for a figure; "
                     "measure all of them")


def refuse_unlike(scores: Sequence[Scored]) -> None:
    """Scores that were measured in different ways make no curve.

    Raises:
        InputError: two cards differ.
    """
    for scored in scores[1:]:
        if fields := differences(scores[0].card, scored.card):
            raise InputError(
                f"{scored.card.model} and {scores[0].card.model} were measured in different ways "
                f"({', '.join(fields)}); measure one of them again")


def round_table(curves: Mapping[str, Curve]) -> str:
    """A row a curve, a column a round."""
    last, width = max(map(max, curves.values())), max(map(len, curves)) + 2
    lines = [" " * width + "".join(f"{f'round {number}':>14}" for number in range(last + 1))]
    for name, curve in curves.items():
        cells = (cell(*curve[number]) if number in curve else "-" for number in range(last + 1))
        lines.append(f"{name:<{width}}" + "".join(f"{shown:>14}" for shown in cells))
    return "\n".join(lines) + "\n"


def cell(value: float, half: float | None) -> str:
    """"74.34 ±1.4"."""
    return f"{value:.2f}" + ("" if half is None else f" ±{half:.1f}")


def size_table(runs: Mapping[str, Curve]) -> str:
    """A row a run: rounds 1 and 2, and the gain."""
    width = max(map(len, runs)) + 2
    lines = [" " * width + f"{'round 1':>14}{'round 2':>14}{'gain':>10}"]
    for name, points in runs.items():
        missing = {1, 2} - points.keys()
        if missing:
            raise InputError(f"{name}: round {min(missing)} is not measured; run "
                             "scripts/09_evaluate_bfcl.sh for it")
        lines.append(
            f"{name:<{width}}{cell(*points[1]):>14}{cell(*points[2]):>14}"
            f"{points[2][0] - points[1][0]:>+10.2f}")
    return "\n".join([*lines, "paper: "
                      + ", ".join(f"{size} {gain:+.2f}" for size, gain in GAINS.items())]) + "\n"


def named(runs: Sequence[Path], static: Sequence[Path]) -> dict[str, Path]:
    """Each run by the name of its folder, or by its path where two folders have one name.

    Raises:
        InputError: a run is given twice.
    """
    given = [(run, "") for run in runs] + [(run, " (static)") for run in static]
    short = [f"{run.resolve().name}{kind}" for run, kind in given]
    names = short if len(set(short)) == len(short) else [f"{run}{kind}" for run, kind in given]
    if len(set(names)) < len(names):
        raise InputError(f"{max(names, key=names.count)}: is given twice; name each run once")
    return dict(zip(names, (run for run, _ in given)))


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--static", nargs="+", type=Path, default=[], metavar="RUN_DIR",
                        help="runs with ablation=static")
    parser.add_argument("--sizes", action="store_true",
                        help="the runs are of models of other sizes")
    parser.add_argument("--benchmark", default="bfcl_v3",
                        help="folder of a round (bfcl_v3, bfcl_v3_subset, ...)")
    parser.add_argument("--out", type=Path, metavar="SVG")
    args = parser.parse_args()
    scores = {name: read_rounds(run, args.benchmark)
              for name, run in named(args.runs, args.static).items()}
    refuse_unlike([scored for rounds in scores.values() for scored in rounds.values()])
    curves = {name: {number: overall(scored) for number, scored in rounds.items()}
              for name, rounds in scores.items()}
    paper = PAPER_CURVES if args.benchmark == "bfcl_v3" else {}
    sys.stdout.write(size_table(curves) if args.sizes else round_table(curves | paper))
    if args.out:
        write_atomic(args.out,
                     [draw({args.benchmark: curves}
                           | ({"paper": paper} if paper else {})).encode()])


if __name__ == "__main__":
    run_main(main)
