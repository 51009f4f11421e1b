"""ACEBench's figures from the counts of its categories: the paper's columns, the overall formula,
the table."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

from bfcl.acebench.checkout import AGENT, ATOM, MULTI, NORMAL, SINGLE, SPECIAL
from bfcl.official.scores import (
    Figures, Tally, Weights, difference, grid, mean, measured, paper_lines, spreads)

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


def figures(tallies: Tallies) -> Figures:
    """The figures of one model."""
    return measured(COLUMNS, tallies)


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
    lines |= {f"spread of {name}, {way}": spreads(COLUMNS, each)
              for name, ways in draws.items() for way, each in ways.items()}
    return grid(COLUMNS, lines | (paper_lines(COLUMNS, PAPER) if paper else {}), 13, 1)


def category_table(ways: Mapping[str, Tallies], draws: int = 1) -> str:
    """Right answers of each category, by way of scoring; the mean of the draws."""
    first, digits = next(iter(ways.values())), 1 if draws > 1 else 0
    text = f"  {'':<38}" + "".join(f"{way:>20}" for way in ways) + "\n"
    for category in first:
        cells = (f"{one.correct:.{digits}f} of {one.total}, {one.correct / one.total:.1%}"
                 for one in (tallies[category] for tallies in ways.values()))
        text += f"  {category:<38}" + "".join(f"{cell:>20}" for cell in cells) + "\n"
    return text
