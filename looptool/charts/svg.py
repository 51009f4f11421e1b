"""SVG elements, and a plot area with a scale: what all charts are drawn with."""
from __future__ import annotations

import math
from collections.abc import Iterable
from html import escape

WIDTH, HEIGHT = 520, 270
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 22, 34


def mark(tag: str, text: str | None = None, **attributes: str | float) -> str:
    """One SVG element; attribute names with "_" for "-", `class_` for class."""
    written = "".join(f' {name.rstrip("_").replace("_", "-")}="{escape(_round(value))}"'
                      for name, value in attributes.items())
    return f"<{tag}{written}/>" if text is None else f"<{tag}{written}>{escape(text)}</{tag}>"


def _round(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def svg(title: str, parts: Iterable[str], height: float = HEIGHT) -> str:
    """The whole picture; the title is read out by screen readers."""
    return (f'<svg viewBox="0 0 {WIDTH} {_round(height)}" role="img" aria-label="{escape(title)}">'
            f"<title>{escape(title)}</title>{''.join(parts)}</svg>")


class Axes:
    """A plot area with a vertical scale from `low` to `high` and round grid lines."""

    def __init__(self, low: float, high: float):
        self.low, self.high, self.left = low, high, LEFT

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - (value - self.low) / (self.high
                                                       - self.low) * (HEIGHT - TOP - BOTTOM)

    def x(self, share: float) -> float:
        """From 0 at the left to 1 at the right."""
        return self.left + share * (WIDTH - self.left - RIGHT)

    def grid(self, as_percent: bool) -> list[str]:
        """Horizontal lines with their values."""
        step = nice_step((self.high - self.low) / 4)
        lines = []
        # a line on the very edge counts, however the division was rounded
        for index in range(math.ceil(self.low / step - 1e-9),
                           math.floor(self.high / step + 1e-9) + 1):
            value = index * step
            label = f"{100 * value:.3g}%" if as_percent else f"{value:.3g}"
            lines += [mark("line", class_="grid", x1=self.left, x2=WIDTH - RIGHT, y1=self.y(value),
                           y2=self.y(value)),
                      mark("text", label, class_="tick", x=self.left - 7, y=self.y(value) + 4,
                           text_anchor="end")]
        return lines


def nice_step(rough: float) -> float:
    """1, 2 or 5 times a power of ten, at least `rough`."""
    power = 10 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
