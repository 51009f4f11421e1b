"""Figures of BFCL from score files, and the tables that show them beside the paper's.

In: the score files of bfcl-eval, v3's or v4's: their first line holds how many entries of a
category are right. Out: the figures of v3 (the paper's board of 2025-06-14) and of v4, each a
weighted mean of category accuracies, with a 95% interval from the category counts. v3 and v4 never
share a table: v4's data, its multi-turn backends and its overall differ.
"""
from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from bfcl.card import Card, Scored, card_text, differences

OLD_NAMES = {"simple_python": "simple", "simple_java": "java", "simple_javascript": "javascript"}
"""Categories of v4 by their names in v3, which are used here for both."""

Weights = Mapping[str, float]
"""A figure: the weight of each category's accuracy."""

PAPER = {
    "LoopTool-32B": (79.32, 91.83, 88.58, 57.75, 55.56, 90.88),
    "LoopTool-8B": (74.93, 89.52, 84.72, 50.88, 61.11, 87.67),
    "Qwen3-32B (FC)": (69.25, 88.90, 77.83, 43.12, 72.22, 75.79),
    "Qwen3-8B (FC, self-host)": (65.19, 87.06, 78.50, 31.25, 77.78, 78.74),
}
"""The paper's rows, by the columns of V3."""

Figures = dict[str, tuple[float, float]]
"""Percent and half its 95% interval (none: 0), by column; what was not measured is left out."""


class Tally(msgspec.Struct, frozen=True):
    correct: float
    """Whole for one draw, a mean for several."""
    total: int


def weighted(*parts: tuple[float, Weights | str]) -> Weights:
    """The mean of figures or categories by their shares."""
    whole = sum(share for share, _ in parts)
    total: Counter[str] = Counter()
    for share, figure in parts:
        for category, weight in ({figure: 1.0} if isinstance(figure, str) else figure).items():
            total[category] += weight * share / whole
    return total


def mean(*figures: Weights | str) -> Weights:
    """The plain mean."""
    return weighted(*((1, figure) for figure in figures))


def by_count(**counts: int) -> Weights:
    """The mean over entries; the counts are those of the whole, so that a subset estimates the same
    figure."""
    return weighted(*((count, category) for category, count in counts.items()))


SIMPLE = mean("simple", "java", "javascript")
NON_LIVE_AST = mean(SIMPLE, "multiple", "parallel", "parallel_multiple")
NON_LIVE = mean(SIMPLE, "multiple", "parallel", "parallel_multiple", "irrelevance")
LIVE_AST = {"live_simple": 258, "live_multiple": 1053, "live_parallel": 16,
            "live_parallel_multiple": 24}
MULTI_TURN = mean("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param",
                  "multi_turn_long_context")
IRRELEVANCE = mean("irrelevance", "live_irrelevance")
AGENTIC = mean(mean("web_search_base", "web_search_no_snippet"),
               mean("memory_kv", "memory_vector", "memory_rec_sum"))


def _by_v3(live: Weights) -> dict[str, Weights]:
    return {"Overall": mean(NON_LIVE, live, MULTI_TURN), "Non-Live AST": NON_LIVE_AST, "Live": live,
            "Multi-Turn": MULTI_TURN, "Relevance": mean("live_relevance"),
            "Irrelevance": IRRELEVANCE}


V3 = _by_v3(by_count(**LIVE_AST, live_irrelevance=882, live_relevance=18))
V3_OVER_V4 = _by_v3(by_count(**LIVE_AST, live_irrelevance=884, live_relevance=16))
"""The formula of v3 over the data of v4, which has moved two entries and mended many."""
V4 = {"Overall": weighted((10, NON_LIVE_AST), (10, by_count(**LIVE_AST)), (10, IRRELEVANCE),
                          (30, MULTI_TURN), (40, AGENTIC)),
      "Non-Live": NON_LIVE_AST, "Live": by_count(**LIVE_AST), "Multi-Turn": MULTI_TURN,
      "Agentic": AGENTIC, "Relevance": mean("live_relevance"), "Irrelevance": IRRELEVANCE}
FIGURES = {"BFCL v3": {"BFCL v3": V3}, "BFCL v4": {
    "BFCL v4 (Overall needs the agentic categories, which are not run by default)": V4,
    "The formula of v3 over the data of BFCL v4 (not to be compared with scores of v3)":
        V3_OVER_V4}}
"""The tables of a benchmark by their titles; the first holds its own figures."""


def read_tallies(folder: Path) -> dict[str, Tally]:
    """Each category's first line of its score file, under its name of v3."""
    tallies = {}
    for path in sorted(folder.rglob("BFCL_v*_score.json")):
        category = path.name.removesuffix("_score.json").split("_", 2)[2]
        with path.open("rb") as file:
            head = msgspec.json.decode(file.readline())
        tallies[OLD_NAMES.get(category, category)] = Tally(head["correct_count"],
                                                           head["total_count"])
    return tallies


def read_refused(folder: Path) -> set[str]:
    """The ids that bfcl-eval found wrong: all further lines of the score files."""
    lines = (line for path in folder.rglob("BFCL_v*_score.json")
             for line in path.read_bytes().splitlines()[1:])
    return {msgspec.json.decode(line)["id"] for line in lines}


def mean_tallies(draws: Sequence[Mapping[str, Tally]]) -> dict[str, Tally]:
    """The mean of several draws of the same entries."""
    return {category: Tally(statistics.fmean(draw[category].correct for draw in draws), tally.total)
            for category, tally in draws[0].items()}


def accuracy(weights: Weights, tallies: Mapping[str, Tally]) -> tuple[float, float] | None:
    """A figure and half its 95% interval, in percent; None where one of its categories was not run.

    The variance of each category is taken at Wilson's centre, so that 0 and 100% of few entries
    have an interval too.
    """
    if not weights.keys() <= tallies.keys():
        return None
    value = variance = 0.0
    for category, weight in weights.items():
        correct, total = tallies[category].correct, tallies[category].total
        # with z = 1.96 these are z * z / 2 and z * z; below 196 is 100 z
        centre = (correct + 1.92) / (total + 3.84)
        value += weight * correct / total
        variance += weight ** 2 * centre * (1 - centre) / total
    return 100 * value, 196 * math.sqrt(variance)


def figures(benchmark: str, tallies: Mapping[str, Tally]) -> dict[str, float]:
    """The benchmark's own figures, in percent, where they could be measured."""
    columns = next(iter(FIGURES[benchmark].values()))
    return {name: round(value, 4) for name, (value, _) in measured(columns, tallies).items()}


def measured(columns: Mapping[str, Weights], tallies: Mapping[str, Tally]) -> Figures:
    """The figures of one model."""
    found = {name: accuracy(weights, tallies) for name, weights in columns.items()}
    return {name: figure for name, figure in found.items() if figure}


def difference(one: Figures, two: Figures) -> Figures:
    """Two less one."""
    return {name: (two[name][0] - one[name][0], math.hypot(one[name][1], two[name][1]))
            for name in two if name in one}


def spreads(columns: Mapping[str, Weights], draws: Sequence[Mapping[str, Tally]]) -> Figures:
    """The standard deviation of each figure over draws, in points, without an interval."""
    found = {name: [accuracy(weights, draw) for draw in draws] for name, weights in columns.items()}
    return {name: (statistics.stdev(value for value, _ in values), 0.0)
            for name, values in found.items() if None not in values}


def paper_lines(columns: Iterable[str],
                rows: Mapping[str, Sequence[float]]) -> dict[str, Figures]:
    """The paper's rows, to stand below ours."""
    return {f"paper: {name}": {column: (value, 0.0)
                               for column, value in zip(columns, values, strict=True)}
            for name, values in rows.items()}


def grid(columns: Iterable[str], lines: Mapping[str, Figures], room: int = 16,
         digits: int = 2) -> str:
    """Rows of figures under their columns, each with so much room."""
    columns, width = list(columns), max(map(len, lines)) + 2
    text = " " * width + "".join(f"{column:>{room}}" for column in columns) + "\n"
    for name, figures in lines.items():
        sign = "+" if name.startswith("difference") else ""
        shown = (f"{figures[column][0]:{sign}.{digits}f}"
                 + f" ±{figures[column][1]:4.1f}" * bool(figures[column][1])
                 if column in figures else "-" for column in columns)
        text += f"{name:<{width}}" + "".join(f"{cell:>{room}}" for cell in shown) + "\n"
    return text


def tallies_of(scored: Scored) -> dict[str, Tally]:
    """What a card holds of each category; the mean of its draws."""
    return mean_tallies(draws_of(scored))


def draws_of(scored: Scored) -> list[dict[str, Tally]]:
    """The same of each draw."""
    counts = scored.card.counts
    return [{category: Tally(correct, counts[category]) for category, correct in draw.items()}
            for draw in scored.draws or [scored.correct]]


def score_table(rows: Mapping[str, Scored]) -> str:
    """A line for each model, the paper's where they may be compared, right entries by category, and
    the cards.

    With two rows the difference of the second to the first is shown: the base model comes first.
    All rows are of one benchmark.
    """
    benchmark = next(iter(rows.values())).card.benchmark
    scopes = sorted({scored.card.scope for scored in rows.values()})
    text = ""
    for title, columns in FIGURES[benchmark].items():
        lines = _lines(columns, {name: tallies_of(scored) for name, scored in rows.items()})
        lines |= {f"spread of {name}": spreads(columns, draws_of(scored))
                  for name, scored in rows.items() if scored.draws}
        if columns is V3 and scopes == ["full"]:
            lines |= paper_lines(columns, PAPER)
        text += (f"{title}; {'; '.join(scopes)}; percent, with 95% intervals"
                 f"{draws_note(scored.card for scored in rows.values())}\n"
                 f"{grid(columns, lines)}\n")
        if columns is V3:
            text += _sound_table(columns, rows)
    if len(rows) == 2 and (fields := differences(*(scored.card for scored in rows.values()))):
        text += ("BEWARE: the two were not measured alike; their cards differ in "
                 f"{', '.join(fields)}\n\n")
    return text + "\n".join(f"{name}\n{category_table(scored)}{card_text(scored.card)}"
                            for name, scored in rows.items())


def _lines(columns: Mapping[str, Weights],
           rows: Mapping[str, Mapping[str, Tally]]) -> dict[str, Figures]:
    """The figures of each row, and of two rows their difference."""
    lines = {name: measured(columns, tallies) for name, tallies in rows.items()}
    return lines | ({"difference": difference(*lines.values())} if len(rows) == 2 else {})


def draws_note(cards: Iterable[Card]) -> str:
    """What a table's title says of repeated draws."""
    draws = sorted({card.draws for card in cards} - {1})
    if not draws:
        return ""
    return f"; avg@{'/'.join(map(str, draws))}, spread is the standard deviation of a draw"


def _sound_table(columns: Mapping[str, Weights], rows: Mapping[str, Scored]) -> str:
    """The same without the entries whose truth is known to be wrong; "" where there are none."""
    tallies = {name: {category: Tally(*each) for category, each in scored.sound.items() if each[1]}
               for name, scored in rows.items()}
    first = next(iter(rows.values()))
    left_out = sum(first.card.counts.values()) - sum(total for _, total in first.sound.values())
    if not left_out or not all(scored.sound for scored in rows.values()):
        return ""
    return (f"Second, and NOT the official score: without {left_out} entries whose ground truth is "
            f"known to be wrong (bfcl/official/wrong_truths.yaml)\n"
            f"{grid(columns, _lines(columns, tallies))}\n")


def category_table(scored: Scored) -> str:
    """Right entries by category; the mean of the draws."""
    digits = 1 if scored.draws else 0
    return "".join(f"  {category:<26}{tally.correct:>6,.{digits}f} of {tally.total:>5,}"
                   f"{tally.correct / tally.total:>8.1%}\n"
                   for category, tally in tallies_of(scored).items())
