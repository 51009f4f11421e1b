"""The rows of the table that only a known truth gives: the blind spot, and figures by kind of
task."""
from __future__ import annotations

from collections.abc import Iterator

from dataloop.reporting.figures import KindFigures, RoundFigures
from dataloop.reporting.rows import Row, Rows, field, percent


def blind_spot_rows(build: Rows) -> Iterator[Row]:
    """Wrong labels that no judge sees, by the teacher's rule behind them."""
    yield from build.rate("wrong labels among the mastered", field("blind_spot", "mastered"), True)
    yield from build.rate("wrong labels that are reproduced", field("blind_spot", "reproduced"))
    rules = dict.fromkeys(rule for figures in build.rounds if figures.blind_spot
                          for rule in figures.blind_spot.rules)
    for rule in rules:
        yield from build.row(f"  {rule}", lambda figures, rule=rule: _reproduced(figures, rule))


def _reproduced(figures: RoundFigures, rule: str) -> str | None:
    """Of the wrong labels of one rule: 12 of 31."""
    found = figures.blind_spot and figures.blind_spot.rules.get(rule)
    return found and f"{found.reproduced:,} of {found.labels:,}"


def kind_rows(build: Rows) -> Iterator[Row]:
    """Accuracy on held-out tasks of each kind."""
    kinds = dict.fromkeys(kind for figures in build.rounds if figures.heldout
                          for kind in figures.heldout.by_kind)
    for kind in kinds:
        yield from build.row(kind, lambda figures, kind=kind: percent(
            figures.heldout and figures.heldout.by_kind.get(kind)))


def coverage_rows(build: Rows) -> Iterator[Row]:
    """Which kinds of tasks the error seeds are of, and whether new samples came of them."""
    yield from build.row("kinds of error seeds that EE covers",
                         lambda figures: coverage(figures.kinds))
    kinds = dict.fromkeys(kind for figures in build.rounds for kind in figures.kinds)
    for kind in kinds:
        yield from build.row(f"  {kind}: error seeds -> new", lambda figures, kind=kind: (
            found := figures.kinds.get(kind)) and f"{found.error_seeds:,} -> {found.expanded:,}")


def coverage(kinds: dict[str, KindFigures]) -> str | None:
    """9 of 11."""
    failed = [figures for figures in kinds.values() if figures.error_seeds]
    return f"{sum(figures.expanded > 0 for figures in failed)} of {len(failed)}" if kinds else None
