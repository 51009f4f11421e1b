"""Charts as inline SVG: text that a browser draws without scripts or a network. Colors come from
the page's CSS.

A chart takes figures and gives an <svg>; "" where there is nothing to draw yet.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from dataloop.reporting.figures import ProbeFigures, Rate, RoundFigures
from dataloop.reporting.table import ORIGINS
from looptool.charts.svg import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, Axes, mark, svg


def whisker(x: float, axes: Axes, rate: Rate) -> list[str]:
    """The 95% interval of a share."""
    low, high = axes.y(rate.low), axes.y(rate.high)
    return [mark("path", class_="whisker",
                 d=f"M{x:.1f} {low:.1f}V{high:.1f}M{x - 5:.1f} {low:.1f}h10M{x - 5:.1f} "
                   f"{high:.1f}h10")]


def line(name: str, points: Iterable[tuple[float, float]]) -> str:
    return mark("polyline", class_=name, points=" ".join(f"{x:.1f},{y:.1f}" for x, y in points))


def accuracy_chart(rounds: Sequence[RoundFigures]) -> str:
    """Held-out accuracy, before training and after each round, with intervals; the pale line is
    static training, where that was run beside."""
    probed = [figures for figures in rounds if figures.heldout and figures.heldout.accuracy.total]
    points = [("before" if figures.number == 0 else f"round {figures.number}",
               figures.heldout.accuracy)
              for figures in probed]
    if not points:
        return ""
    beside = [figures.heldout.static and figures.heldout.static.share for figures in probed]
    drawn = [share for share in beside if share is not None]
    # whole steps of 5 points, with one point or more beside the intervals
    low = max(0.0, math.floor(min([*(rate.low for _, rate in points), *drawn]) * 20 - 0.2) / 20)
    high = min(1.0, math.ceil(max([*(rate.high for _, rate in points), *drawn]) * 20 + 0.2) / 20)
    axes = Axes(low, high)
    xs = [axes.x((index + 0.5) / len(points)) for index in range(len(points))]
    ys = [axes.y(rate.share) for _, rate in points]
    static = [(x, axes.y(share)) for x, share in zip(xs, beside, strict=True) if share is not None]
    parts = [*axes.grid(as_percent=True), line("beside", static),
             line("trend", zip(xs, ys, strict=True)),
             *(mark("circle", class_="step", cx=x, cy=y, r=5) for x, y in static)]
    if static:
        parts.append(mark("text", f"static {drawn[-1]:.1%}", class_="tick", x=static[-1][0] + 10,
                          y=static[-1][1] + 17))
    for x, y, (name, rate) in zip(xs, ys, points, strict=True):
        # above the last point, where no line goes on and static training stands below
        parts += [*whisker(x, axes, rate), mark("circle", class_="dot", cx=x, cy=y, r=5),
                  mark("text", f"{rate.share:.1%}", class_="value", x=x + 10,
                       y=y + (-9 if x == xs[-1] else 17)),
                  mark("text", name, class_="tick", x=x, y=HEIGHT - 10, text_anchor="middle")]
    return svg("Held-out accuracy by round", parts)


def noise_chart(rounds: Sequence[RoundFigures]) -> str:
    """Share of wrong labels in each dataset."""
    points = [(f"D{figures.number}", figures.dataset.noise) for figures in rounds
              if figures.dataset and figures.dataset.noise and figures.dataset.noise.total]
    if not points:
        return ""
    # 1.12: room for the figure above the highest whisker
    axes = Axes(0.0, max(0.04, *(rate.high for _, rate in points)) * 1.12)
    width = min(70.0, 0.5 * (WIDTH - LEFT - RIGHT) / len(points))
    parts = axes.grid(as_percent=True)
    for index, (name, rate) in enumerate(points):
        x = axes.x((index + 0.5) / len(points))
        parts += [mark("rect", class_="noise", x=x - width / 2, y=axes.y(rate.share), width=width,
                       rx=2, height=axes.y(0) - axes.y(rate.share)), *whisker(x, axes, rate),
                  mark("text", f"{rate.share:.1%}", class_="value", x=x + 9,
                       y=axes.y(rate.high) - 3),
                  mark("text", name, class_="tick", x=x, y=HEIGHT - 10, text_anchor="middle")]
    return svg("Label noise of each dataset", parts)


def mix_chart(rounds: Sequence[RoundFigures]) -> str:
    """The parts of each dataset, as stacked bars."""
    datasets = [(f"D{figures.number}", figures.dataset) for figures in rounds
                if figures.dataset and figures.dataset.samples]
    if not datasets:
        return ""
    bar, gap, left = 30, 16, 34
    parts = []
    for index, (name, dataset) in enumerate(datasets):
        y, x = TOP + index * (bar + gap), float(left)
        parts.append(mark("text", name, class_="tick", x=left - 8, y=y + bar / 2 + 5,
                          text_anchor="end"))
        for origin in ORIGINS:
            share = dataset.mix.get(origin, 0) / dataset.samples
            width = share * (WIDTH - left - RIGHT)
            parts.append(mark("rect", class_=f"origin {origin}", x=x, y=y, width=width, height=bar))
            # a narrower part has no room for its figure
            if share >= 0.06:
                parts.append(mark("text", f"{share:.0%}", class_=f"inside {origin}",
                                  x=x + width / 2, y=y + bar / 2 + 5, text_anchor="middle"))
            x += width
    return svg("Mix of each dataset", parts, TOP + len(datasets) * (bar + gap))


def reward_chart(rounds: Sequence[RoundFigures]) -> str:
    """Mean reward of each step and its moving mean, the rounds one after another."""
    trained = [figures for figures in rounds if figures.training]
    if not trained:
        return ""
    rewards = [reward for figures in trained for reward in figures.training.rewards]
    low, high = math.floor(min(rewards) * 10) / 10, math.ceil(max(rewards) * 10 + 1e-9) / 10
    axes, total, done = Axes(low, max(high, low + 0.1)), max(2, len(rewards)), 0
    parts = axes.grid(as_percent=False)
    for figures in trained:
        steps = figures.training.rewards
        xs = [axes.x((done + index + 0.5) / total) for index in range(len(steps))]
        parts += [mark("circle", class_="step", cx=x, cy=axes.y(reward), r=2.5)
                  for x, reward in zip(xs, steps, strict=True)]
        parts.append(mark("polyline", class_="trend", points=" ".join(
            f"{x:.1f},{axes.y(mean):.1f}" for x, mean in zip(xs, moving_mean(steps), strict=True))))
        if done:
            parts.append(mark("line", class_="border", x1=axes.x(done / total),
                              x2=axes.x(done / total), y1=TOP - 8, y2=HEIGHT - BOTTOM))
        done += len(steps)
        parts.append(mark("text", f"round {figures.number}, {len(steps)} steps", class_="tick",
                          x=(xs[0] + xs[-1]) / 2, y=HEIGHT - 10, text_anchor="middle"))
    return svg("Mean reward of each training step", parts)


def moving_mean(values: Sequence[float], reach: int = 2) -> list[float]:
    """The mean of each value and up to `reach` neighbors on either side."""
    windows = [values[max(0, index - reach):index + reach + 1] for index in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def perplexity_chart(number: int, probes: ProbeFigures | None) -> str:
    """Perplexities of a round's probes, and where the high-PPL samples begin."""
    if probes is None or probes.histogram is None:
        return ""
    bins = probes.histogram
    sums = [sum(pair) for pair in zip(bins.mastered, bins.mismatched, strict=True)]
    axes = Axes(0, max(sums) * 1.08)
    width = (WIDTH - LEFT - RIGHT) / len(sums)
    parts = axes.grid(as_percent=False)
    for index, (mastered, both) in enumerate(zip(bins.mastered, sums, strict=True)):
        x = LEFT + index * width
        parts += [mark("rect", class_="mastered", x=x + 0.5, y=axes.y(mastered), width=width - 1,
                       height=axes.y(0) - axes.y(mastered)),
                  mark("rect", class_="mismatched", x=x + 0.5, y=axes.y(both), width=width - 1,
                       height=axes.y(mastered) - axes.y(both))]
    for index in range(0, len(sums) + 1, len(sums) // 4):
        # the last bin holds all that is above, too
        label = f"{bins.edges[index]:.3g}" + ("+" if index == len(sums) else "")
        anchor = "end" if index == len(sums) else "middle"
        parts.append(mark("text", label, class_="tick", x=LEFT + index * width, y=HEIGHT - 10,
                          text_anchor=anchor))
    if probes.high_ppl_cut is not None:
        span = math.log(bins.edges[-1] / bins.edges[0])
        x = axes.x(min(1.0, math.log(probes.high_ppl_cut / bins.edges[0]) / span))
        side = -1 if x > WIDTH / 2 else 1
        parts += [mark("line", class_="cut", x1=x, x2=x, y1=TOP - 10, y2=HEIGHT - BOTTOM),
                  mark("text", f"high-PPL from {probes.high_ppl_cut:.3f}", class_="value",
                       x=x + 6 * side, y=TOP - 2, text_anchor="start" if side > 0 else "end")]
    return svg(f"Perplexity of the probes of round {number}", parts)
