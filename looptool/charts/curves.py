"""Figures over rounds as an SVG file: panels side by side, in each a line for each name, with
intervals."""
from __future__ import annotations

from collections.abc import Iterable, Mapping

from looptool.charts.svg import BOTTOM, HEIGHT, WIDTH, Axes, mark

Curve = Mapping[int, tuple[float, float | None]]
"""By round, 0 being before training: the figure, and half its 95% interval where one is known."""
COLORS = ("#2f6690", "#b3402e", "#2e8b57", "#8a5a00", "#6a3d9a")
STYLE = (
    "<style>svg { font: 13px system-ui, sans-serif; background: #fff } .grid { stroke: #dfe4e8 } "
    ".tick { fill: #5d6b78 } .figure { fill: currentColor } "
    ".line { fill: none; stroke: currentColor; stroke-width: 1.8 }</style>")


def draw(panels: Mapping[str, Mapping[str, Curve]], columns: int = 0) -> str:
    """An SVG of its own: curves by name, by title of their panel; so many in a row, or all of
    them."""
    columns = min(columns or len(panels), len(panels))
    places = [(index % columns * WIDTH, index // columns * HEIGHT) for index in range(len(panels))]
    drawn = "".join(f'<g transform="translate({x} {y})">{"".join(_panel(title, curves))}</g>'
                    for (x, y), (title, curves) in zip(places, panels.items(), strict=True))
    width, height = columns * WIDTH, places[-1][1] + HEIGHT
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}">{STYLE}{drawn}</svg>\n')


def _panel(title: str, curves: Mapping[str, Curve]) -> Iterable[str]:
    points = [point for curve in curves.values() for point in curve.values()]
    if not points:
        return
    low, high = (edge(value + sign * (half or 0) for value, half in points)
                 for edge, sign in ((min, -1), (max, 1)))
    # a point more on both sides: also for points of one height, where no scale could be made
    axes, last = Axes(low - 1, high + 1), max(number for curve in curves.values()
                                              for number in curve)
    yield from axes.grid(as_percent=False)
    yield mark("text", title, x=axes.left, y=14)
    for number in range(last + 1):
        yield mark("text", f"round {number}" if number else "start", class_="tick",
                   x=axes.x((number + 0.5) / (last + 1)), y=HEIGHT - 10, text_anchor="middle")
    for place, (name, curve) in enumerate(curves.items()):
        color = COLORS[place % len(COLORS)]
        # side by side, so that the intervals of one round do not cover each other
        spots = [(axes.x((number + 0.5) / (last + 1)) + 6 * place, *point)
                 for number, point in sorted(curve.items())]
        yield mark("polyline", class_="line", color=color,
                   points=" ".join(f"{x:.1f},{axes.y(value):.1f}" for x, value, _ in spots))
        for x, value, half in spots:
            yield mark("circle", class_="figure", color=color, cx=x, cy=axes.y(value), r=3.5)
            if half:
                yield mark("path", class_="line", color=color,
                           d=f"M{x:.1f} {axes.y(value - half):.1f}V{axes.y(value + half):.1f}")
        if spots:
            yield mark("text", name, class_="figure", color=color, x=WIDTH - 16,
                       y=HEIGHT - BOTTOM - 8 - 18 * place, text_anchor="end")
