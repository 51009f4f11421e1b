"""ACEBench's figures from the counts of its categories: the paper's columns, the overall formula,
the table."""
from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from bfcl.acebench.checkout import AGENT, ATOM, MULTI, NORMAL, SINGLE, SPECIAL
from bfcl.official.scores import Tally, Weights, accuracy, mean, spread

OVERALL = ((NORMAL, 0.578), (SPECIAL, 0.2676), (AGENT, 0.1545))
"""The benchmark's weights: the square roots of 700, 150 and 50 over their sum, as it rounds them
(to 1.0001 in all)."""

COLUMNS: dict[str, Weights] = {
    "atom": mean(*ATOM), "single": mean(*SINGLE), "multi": mean(*MULTI),
    "similar": mean("normal_similar_api"), "preference": mean("normal_preference"),
    "summary": mean(*NORMAL), "special": mean(*SPECIAL), "agent": mean(*AGENT),
    "overall": {category: weight / len(group) for group, weight in OVERALL for category in group}}
"""The paper's columns. "summary" is the mean of the twelve normal categories."""

PAPER = {
    "LoopTool-32B": (88.0, 77.5, 67.0, 78.0, 74.0, 80.8, 81.3, 60.9, 77.9),
    "LoopTool-8B": (86.0, 76.0, 58.0, 74.0, 78.0, 78.0, 80.7, 43.3, 73.4),
    "Qwen3-8B": (80.3, 68.5, 52.0, 70.0, 58.0, 70.9, 78.0, 34.2, 67.1),
}
"""Its rows, of the English data."""

Tallies = Mapping[str, Tally]
Figures = dict[str, tuple[float, float]]
"""Percent and half the 95% interval, by column; a column of which a category was not measured is
left out."""


def figures(tallies: Tallies) -> Figures:
    """The figures of one model."""
    found = {name: accuracy(weights, tallies) for name, weights in COLUMNS.items()}
    return {name: figure for name, figure in found.items() if figure}


def difference(one: Figures, two: Figures) -> Figures:
    """Two less one."""
    return {name: (two[name][0] - one[name][0], math.hypot(one[name][1], two[name][1]))
            for name in two if name in one}


def spreads(draws: Sequence[Tallies]) -> Figures:
    """The standard deviation of each figure over draws, in points, without an interval."""
    found = {name: spread(weights, draws) for name, weights in COLUMNS.items()}
    return {name: (value, 0.0) for name, value in found.items() if value is not None}


def table(models: Mapping[str, Mapping[str, Tallies]], paper: bool,
          draws: Mapping[str, Mapping[str, Sequence[Tallies]]]) -> str:
    """A line for each model and way of scoring; with two models the second less the first; then the
    paper's rows.

    Args:
        models: tallies by name of the model, then by way of scoring. The base model comes first.
        paper: whether the paper's rows may stand beside them: the whole English benchmark.
        draws: the same of each draw, of the models that have several; their spread stands below.
    """
    lines = {f"{name}, {way}": figures(tallies) for name, ways in models.items()
             for way, tallies in ways.items()}
    if len(models) == 2:
        base, policy = models.values()
        lines |= {f"difference, {way}": difference(figures(base[way]), figures(policy[way]))
                  for way in policy}
    lines |= {f"spread of {name}, {way}": spreads(each)
              for name, ways in draws.items() for way, each in ways.items()}
    if paper:
        lines |= {f"paper: {name}": {column: (value, 0.0)
                                     for column, value in zip(COLUMNS, values, strict=True)}
                  for name, values in PAPER.items()}
    width = max(map(len, lines)) + 1
    text = " " * width + "".join(f"{column:>13}" for column in COLUMNS) + "\n"
    for name, line in lines.items():
        signed = name.startswith("difference")
        cells = (_cell(*line[column], signed=signed) if column in line else "-"
                 for column in COLUMNS)
        text += f"{name:<{width}}" + "".join(f"{cell:>13}" for cell in cells) + "\n"
    return text


def _cell(value: float, half: float, signed: bool) -> str:
    return f"{value:{'+' * signed}.1f}" + f" ±{half:4.1f}" * bool(half)


def category_table(ways: Mapping[str, Tallies], draws: int = 1) -> str:
    """Right answers of each category, by way of scoring; the mean of the draws."""
    first, digits = next(iter(ways.values())), 1 if draws > 1 else 0
    text = f"  {'':<38}" + "".join(f"{way:>20}" for way in ways) + "\n"
    for category in first:
        cells = (f"{one.correct:.{digits}f} of {one.total}, {one.correct / one.total:.1%}"
                 for one in (tallies[category] for tallies in ways.values()))
        text += f"  {category:<38}" + "".join(f"{cell:>20}" for cell in cells) + "\n"
    return text
