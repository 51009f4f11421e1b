"""Curves from the cards of runs: accuracy by round (Figure 2), and the gain of a round by model size (Figure 4).

In: run folders, in which scripts/09_evaluate_bfcl.sh has measured rounds. Out: tables, printed; with --out an SVG too.

    python bfcl/curves.py runs/qwen3_8b --static runs/qwen3_8b_static      by round, beside training on static data only
    python bfcl/curves.py runs/qwen3_0.6b runs/qwen3_8b --sizes            by size: rounds 1 and 2 of each run

Only scores whose cards agree in everything but the model stand in one table.
"""
from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from bfcl.card import Scored, differences, read_card
from bfcl.scores import FIGURES, accuracy, tallies_of
from looptool.config import ArgumentParser
from looptool.records import InputError, write_atomic
from looptool.stage import run_main

Point = tuple[float, float]
"""A figure and half its 95% interval, in percent."""

PAPER_CURVES = {"paper: LoopTool-8B": (65.19, 71.20, 73.00, 74.34, 74.93),
                "paper: static data only": (65.19, 71.20, 73.3, 73.5, 72.2)}
"""Figure 2, rounds 0 to 4; the static curve is read off the figure."""
PAPER_GAINS = "paper: the gain grows with the model, from +0.70 for 0.6B to +1.80 for 8B"


def read_rounds(run_dir: Path, benchmark: str) -> dict[int, Scored]:
    """The measured rounds of a run.

    Raises:
        InputError: there are none.
    """
    rounds = {int(path.parent.parent.name.removeprefix("round_")): read_card(path.parent)
              for path in run_dir.glob(f"round_*/{benchmark}/card.json")}
    if not rounds:
        raise InputError(f"{run_dir}: no round_J/{benchmark}/card.json; run scripts/09_evaluate_bfcl.sh first")
    return dict(sorted(rounds.items()))


def overall(scored: Scored) -> Point:
    """The benchmark's first figure that was measured.

    Raises:
        InputError: none was.
    """
    columns = next(iter(FIGURES[scored.card.benchmark].values()))
    for weights in columns.values():
        if point := accuracy(weights, tallies_of(scored)):
            return point
    raise InputError(f"{scored.card.model}: {scored.card.scope}: too few categories for a figure; measure all of them")


def refuse_unlike(scores: Sequence[Scored]) -> None:
    """Scores that were measured in different ways make no curve.

    Raises:
        InputError: two cards differ.
    """
    for scored in scores[1:]:
        if fields := differences(scores[0].card, scored.card):
            raise InputError(f"{scored.card.model} and {scores[0].card.model} were measured in different ways "
                             f"({', '.join(fields)}); measure one of them again")


def round_table(curves: Mapping[str, Mapping[int, Point]], paper: bool) -> str:
    """A row a curve, a column a round."""
    shown = {name: {number: f"{value:.2f} ±{half:.1f}" for number, (value, half) in curve.items()}
             for name, curve in curves.items()}
    if paper:
        shown |= {name: {number: f"{value:.2f}" for number, value in enumerate(values)}
                  for name, values in PAPER_CURVES.items()}
    last = max(max(curve) for curve in shown.values())
    width = max(map(len, shown)) + 2
    lines = [" " * width + "".join(f"{f'round {number}':>14}" for number in range(last + 1))]
    lines += [f"{name:<{width}}" + "".join(f"{curve.get(number, '-'):>14}" for number in range(last + 1))
              for name, curve in shown.items()]
    return "\n".join(lines) + "\n"


def size_table(runs: Mapping[str, Mapping[int, Point]]) -> str:
    """A row a run: rounds 1 and 2, and the gain."""
    width = max(map(len, runs)) + 2
    lines = [" " * width + f"{'round 1':>14}{'round 2':>14}{'gain':>10}"]
    for name, points in runs.items():
        missing = {1, 2} - points.keys()
        if missing:
            raise InputError(f"{name}: round {min(missing)} is not measured; run scripts/09_evaluate_bfcl.sh for it")
        (one, half), (two, other) = points[1], points[2]
        cells = f"{f'{one:.2f} ±{half:.1f}':>14}{f'{two:.2f} ±{other:.1f}':>14}{two - one:>+10.2f}"
        lines.append(f"{name:<{width}}{cells}")
    return "\n".join(lines) + f"\n{PAPER_GAINS}\n"


def chart(curves: Mapping[str, Mapping[int, Point]]) -> str:
    """The same as a picture: lines over rounds with their intervals."""
    values = [value + sign * half for curve in curves.values() for value, half in curve.values() for sign in (-1, 1)]
    low, high, last = min(values), max(values), max(max(curve) for curve in curves.values())

    def x(number: int) -> float:
        return 60 + 480 * number / max(last, 1)

    def y(value: float) -> float:
        return 280 - 240 * (value - low) / max(high - low, 1)

    parts = [f'<text x="{x(number):.0f}" y="310" text-anchor="middle">round {number}</text>'
             for number in range(last + 1)]
    for color, (name, curve) in zip(("#0b6", "#888", "#06b", "#b60", "#609"), curves.items()):
        points = " ".join(f"{x(number):.1f},{y(value):.1f}" for number, (value, _) in curve.items())
        parts.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>')
        for number, (value, half) in curve.items():
            parts.append(f'<path d="M{x(number):.1f} {y(value - half):.1f}V{y(value + half):.1f}" stroke="{color}"/>'
                         f'<text x="{x(number) + 6:.0f}" y="{y(value) - 6:.0f}" fill="{color}">{value:.1f}</text>')
        number, (value, _) = max(curve.items())
        parts.append(f'<text x="{x(number) - 6:.0f}" y="{y(value) + 18:.0f}" fill="{color}" text-anchor="end">'
                     f"{escape(name)}</text>")
    return ('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 600 320" font-family="sans-serif" font-size="11">'
            f"{''.join(parts)}</svg>\n")


def main() -> None:
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN_DIR")
    parser.add_argument("--static", nargs="+", type=Path, default=[], metavar="RUN_DIR",
                        help="runs with ablation=static")
    parser.add_argument("--sizes", action="store_true", help="the runs are of models of other sizes")
    parser.add_argument("--benchmark", default="bfcl_v3", help="folder of a round (bfcl_v3, bfcl_v3_subset, ...)")
    parser.add_argument("--out", type=Path, metavar="SVG")
    args = parser.parse_args()
    named = {run.name: run for run in args.runs} | {f"{run.name} (static)": run for run in args.static}
    scores = {name: read_rounds(run, args.benchmark) for name, run in named.items()}
    refuse_unlike([scored for rounds in scores.values() for scored in rounds.values()])
    curves = {name: {number: overall(scored) for number, scored in rounds.items()} for name, rounds in scores.items()}
    sys.stdout.write(size_table(curves) if args.sizes else round_table(curves, paper=args.benchmark == "bfcl_v3"))
    if args.out:
        write_atomic(args.out, [chart(curves).encode()])


if __name__ == "__main__":
    run_main(main)
