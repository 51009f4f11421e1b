"""What the rows of the one table are made with: a row over the rounds, and figures as text."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dataloop.reporting.figures import Rate, RoundFigures

NOT_YET = "not yet"

Value = Callable[[RoundFigures], "str | None"]
"""The cell of a round; None where it has none."""


@dataclass(frozen=True)
class Row:
    """One line: a label, and a cell for each column."""

    label: str
    cells: list[str]
    strong: bool = False


class Rows:
    """Makes rows over the columns of a run."""

    def __init__(self, rounds: list[RoundFigures], trained: range):
        self.rounds, self._trained = rounds, trained

    def row(self, label: str, value: Value, strong: bool = False,
            expected: bool = False) -> Iterator[Row]:
        """A row, unless no column has a value; a round that has none yet says so.

        Args:
            expected: every whole run has it, so it stands there from the beginning.
        """
        cells = [value(figures) for figures in self.rounds]
        awaited = expected or any(cells[index] for index in self._trained)
        if awaited or any(cells):
            yield Row(label, [cell or (NOT_YET if awaited and index in self._trained else "")
                              for index, cell in enumerate(cells)], strong)

    def rate(self, label: str, value: Callable[[RoundFigures], Rate | None], strong: bool = False,
             interval: bool = False, expected: bool = False) -> Iterator[Row]:
        """A share, its interval, and how many are left out because their truth is unknown."""
        yield from self.row(label, lambda figures: percent(value(figures)), strong, expected)
        if interval:
            yield from self.row("  95% interval", lambda figures: between(value(figures)))
        if any((rate := value(figures)) and rate.unknown for figures in self.rounds):
            yield from self.row("  truth unknown, left out", lambda each: (rate := value(each))
                                and f"{rate.unknown:,}")


def field(section: str, name: str) -> Callable[[RoundFigures], Any]:
    """Reads one figure of a round; None where its section has not been made."""
    return lambda figures: getattr(getattr(figures, section), name, None)


def number(section: str, name: str, form: str = ",") -> Value:
    """A figure in a format, with commas where none is given."""
    read = field(section, name)
    return lambda figures: None if read(figures) is None else format(read(figures), form)


def share(section: str, name: str) -> Value:
    """84.2% of 120."""
    read = field(section, name)
    return lambda figures: percent(read(figures))


def part(count: int, total: int) -> str:
    """41 (12.8%)."""
    return f"{count:,} ({count / total:.1%})" if count else "0"


def percent(rate: Rate | None) -> str | None:
    """84.2% of 120."""
    if rate is None:
        return None
    return "none" if rate.share is None else f"{rate.share:.1%} of {rate.total:,}"


def between(rate: Rate | None) -> str | None:
    """53.9 - 63.5%."""
    if rate is None or rate.low is None:
        return None
    return f"{100 * rate.low:.1f} - {100 * rate.high:.1f}%"


def short(number: int) -> str:
    """812, 34k, 1.2M."""
    if number < 10_000:
        return f"{number:.0f}"
    return f"{number / 1e3:.0f}k" if number < 999_500 else f"{number / 1e6:.1f}M"
