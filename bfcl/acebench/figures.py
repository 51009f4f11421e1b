"""ACEBench's figures from the scores of its categories: means, the overall formula, intervals, the table."""
from __future__ import annotations

import math
from collections.abc import Mapping

from bfcl.acebench.checkout import AGENT, ATOM, MULTI, NORMAL, SINGLE, SPECIAL
from bfcl.acebench.scoring import CategoryScore

COLUMNS: dict[str, dict[str, float]] = {
    **{name: {category: 1 / len(group) for category in group} for name, group in {
        "atom": ATOM, "single": SINGLE, "multi": MULTI, "similar": ["normal_similar_api"],
        "preference": ["normal_preference"], "summary": NORMAL, "special": SPECIAL, "agent": AGENT}.items()},
    "overall": {category: weight / len(group) for group, weight in ((NORMAL, 0.578), (SPECIAL, 0.2676), (AGENT, 0.1545))
                for category in group},
}
"""The share of each category in each column of the paper's table. The weights of "overall" are the benchmark's, which
rounds the shares of the square roots of 700, 150 and 50 in their sum to 0.578, 0.2676 and 0.1545, or 1.0001 in all."""

PAPER = {
    "LoopTool-32B (paper)": (88.0, 77.5, 67.0, 78.0, 74.0, 80.8, 81.3, 60.9, 77.9),
    "LoopTool-8B (paper)": (86.0, 76.0, 58.0, 74.0, 78.0, 78.0, 80.7, 43.3, 73.4),
    "Qwen3-8B (paper)": (80.3, 68.5, 52.0, 70.0, 58.0, 70.9, 78.0, 34.2, 67.1),
}
"""Its rows, of the English data."""

Scores = Mapping[str, CategoryScore]


def figures(scores: Scores) -> dict[str, float]:
    """Percent by column; a column of which a category was not measured is left out."""
    return {name: 100 * sum(share * scores[category].accuracy for category, share in shares.items())
            for name, shares in COLUMNS.items() if shares.keys() <= scores.keys()}


def half_widths(scores: Scores) -> dict[str, float]:
    """Half of each figure's 95% interval in points, from the counts of its categories (Agresti and Coull)."""
    def variance(score: CategoryScore) -> float:
        total = score.total + 4
        rate = (score.right + 2) / total
        return rate * (1 - rate) / total

    return {name: 196 * math.sqrt(sum(share ** 2 * variance(scores[category]) for category, share in shares.items()))
            for name, shares in COLUMNS.items() if shares.keys() <= scores.keys()}


def row(name: str, values: Mapping[str, float], form: str = "{:.1f}") -> str:
    """One line of the table; "-" where a column was not measured."""
    cells = [form.format(values[column]) if column in values else "-" for column in COLUMNS]
    return f"{name:<28}" + "".join(f"{cell:>11}" for cell in cells) + "\n"


def table(ways: Mapping[str, Scores], base: Mapping[str, Scores], paper: bool) -> str:
    """The rows of a model by each way of scoring, those of its base and the differences, the paper's rows below.

    Args:
        paper: whether the paper's rows may stand beside these: the whole English benchmark.
    """
    text = row("", {column: column for column in COLUMNS}, "{}")
    for way, scores in ways.items():
        text += row(way, figures(scores)) + row("  95% interval, half", half_widths(scores), "±{:.1f}")
        if way in base:
            theirs = figures(base[way])
            text += row("  base model", theirs) + row("  difference", {
                column: value - theirs[column] for column, value in figures(scores).items() if column in theirs}, "{:+.1f}")
    if paper:
        text += "".join(row(name, dict(zip(COLUMNS, values, strict=True))) for name, values in PAPER.items())
    return text


def category_table(ways: Mapping[str, Scores]) -> str:
    """Each category: right of total by each way of scoring."""
    first = next(iter(ways.values()))
    text = f"{'':<40}" + "".join(f"{way:>20}" for way in ways) + "\n"
    for category in first:
        cells = [f"{scores[category].right}/{scores[category].total} {100 * scores[category].accuracy:.1f}"
                 for scores in ways.values()]
        text += f"{category:<40}" + "".join(f"{cell:>20}" for cell in cells) + "\n"
    return text
