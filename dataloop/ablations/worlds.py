"""When the loop helps: the worlds side by side, noise x judge, and the pictures of them.

In: the results of each world. Out: lines of text, and SVG files.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from dataloop.ablations.results import Runs
from dataloop.ablations.table_4 import after, differences, interval, picture, spread
from dataloop.ablations.variants import IN_WORDS, OPTIONS
from looptool.charts.curves import COLORS, draw
from looptool.charts.paper_figures import FULL
from looptool.charts.svg import mark

BAR, GAP, LABELS, WIDTH = 34, 18, 330, 820
"""Pixels of a bar, between two, of the names at the left, and of the whole picture."""


def corner_lines(worlds: Mapping[str, Runs], rounds: int) -> Iterable[str]:
    """The loop less static training in each world, by round; then what the options add to the
    loop."""
    shown = {world: worlds[world] for world in IN_WORDS if world in worlds}
    if not shown:
        return
    yield from ("", "When the loop helps: points above static training")
    yield f"{'SIMULATED world':48}{'seeds':>6}" + "".join(
        f"{f'round {step}':>14}" for step in range(1, rounds + 1))
    for world, runs in shown.items():
        less = [differences(runs, FULL, "static", step) for step in range(1, rounds + 1)]
        yield f"{IN_WORDS[world]:48}{len(less[-1]):>6}" + "".join(
            f"{interval(values, '+'):>14}" for values in less)
    yield from ("", f"What the options add to the loop, in points after round {rounds}")
    yield f"{'SIMULATED world':48}" + "".join(f"{option:>18}" for option in OPTIONS)
    for world, runs in shown.items():
        yield f"{IN_WORDS[world]:48}" + "".join(
            f"{interval(differences(runs, option, FULL, rounds), '+'):>18}" for option in OPTIONS)


def pictures(worlds: Mapping[str, Runs], rounds: int, of: str) -> dict[str, str]:
    """SVG files by name: Figure 2 of each world; and, of the SIMULATED worlds, both that compare
    them."""
    drawn = {f"figure_2_{world}.svg": picture(runs, rounds, of) for world, runs in worlds.items()}
    shown = {world: worlds[world] for world in IN_WORDS if world in worlds}
    if shown:
        drawn["when_the_loop_helps.svg"] = bars(shown, rounds)
        drawn["loop_and_static.svg"] = curves(shown, rounds)
    return drawn


def curves(worlds: Mapping[str, Runs], rounds: int) -> str:
    """Accuracy by round of the loop and of static training, a panel for each world."""
    return draw({f"SIMULATED, % right: {IN_WORDS[world]}": {name: {
        step: spread(values) for step in range(rounds + 1) if (values := after(runs, key, step))}
        for name, key in (("loop", FULL), ("static", "static"))} for world, runs in worlds.items()},
        columns=2)


def bars(worlds: Mapping[str, Runs], rounds: int) -> str:
    """What the loop adds to static training in each world, after the last round, with intervals."""
    found = {IN_WORDS[world]: spread(values) for world, runs in worlds.items()
             if (values := differences(runs, FULL, "static", rounds))}
    reach = [mean + sign * (half or 0) for mean, half in found.values() for sign in (-1, 1)]
    low, high = min([0.0, *reach]) - 0.5, max([1.0, *reach]) + 0.5

    def x(value: float) -> float:
        return LABELS + (value - low) / (high - low) * (WIDTH - LABELS - 100)

    height = 70 + len(found) * (BAR + GAP)
    title = f"Points that the loop adds to static training after {rounds} rounds (SIMULATED)"
    parts = [mark("text", title, x=10, y=24, font_weight="bold")]
    for index, (name, (mean, half)) in enumerate(found.items()):
        parts += _bar(name, mean, half, 46 + index * (BAR + GAP), x)
    parts.append(mark("path", d=f"M{x(0):.1f} 38V{height - 22}", stroke="#5d6b78"))
    parts.append(mark("text", "no gain", x=x(0), y=height - 6, text_anchor="middle",
                      fill="#5d6b78"))
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}">'
            "<style>svg { font: 14px system-ui, sans-serif; background: #fff }</style>"
            f"{''.join(parts)}</svg>\n")


def _bar(name: str, mean: float, half: float | None, y: float,
         x: Callable[[float], float]) -> Iterable[str]:
    """One bar; pale where its interval holds 0, so that nothing is shown."""
    is_shown = half is None or abs(mean) > half
    left, right, middle = min(x(0), x(mean)), max(x(0), x(mean)), y + BAR / 2
    yield mark("text", name, x=LABELS - 14, y=middle + 5, text_anchor="end")
    yield mark("rect", x=left, y=y, width=right - left, height=BAR, fill=COLORS[mean < 0],
               opacity="1" if is_shown else "0.35")
    if half is not None:
        yield mark("path", stroke="#1d2730",
                   d=f"M{x(mean - half):.1f} {middle}H{x(mean + half):.1f}")
    yield mark("text", f"{mean:+.1f}" + ("" if half is None else f" ± {half:.1f}"),
               x=max(right, x(mean + (half or 0))) + 8, y=middle + 5, font_weight="bold")
