"""The variants of Table 4 held against each other and against the paper: its Table 4, Figure 2 and Figure 3.

In: the Result of each run. Out: lines of text, and Figure 2 as a picture. Intervals are Student's over seeds, at 95%;
a difference between variants is taken seed by seed.
"""
from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from looptool.curves import draw
from looptool.paper_figures import BY_ROUND, FULL, GAINS
from looptool.records import InputError, Record

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262, 11: 2.228, 12: 2.201,
        13: 2.179, 14: 2.160, 15: 2.145, 16: 2.131, 17: 2.120, 18: 2.110, 19: 2.101, 20: 2.093, 21: 2.086, 22: 2.080,
        23: 2.074, 24: 2.069, 25: 2.064, 26: 2.060, 27: 2.056, 28: 2.052, 29: 2.048, 30: 2.045}
"""Student's t for a two-sided 95% interval, by the number of values."""


class Result(Record):
    """One run of one variant."""

    variant: str
    seed: int
    settings: str
    """Fingerprint of the config, apart from what tells the runs of a table from each other."""
    student: str
    """Its size, such as "3.1M", or its name."""
    accuracies: list[float]
    """Held-out accuracy in percent, before training and after each round."""
    noise: list[float]
    """Wrong labels of D_1, D_2 and so on in percent; empty where no truth is known."""
    replaced: tuple[int, int] = (0, 0)
    """New labels that are right, and new labels, of all rounds."""
    expanded: tuple[int, int] = (0, 0)
    """The same for expanded samples."""


Runs = dict[str, dict[int, Result]]
"""Results by variant and seed."""


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its interval; None for a single value.

    Raises:
        InputError: there are more values than the table of t has.
    """
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, None
    if len(values) > max(T_95):
        raise InputError(f"{len(values)} seeds: intervals are known for up to {max(T_95)}; take some results away")
    return mean, T_95[len(values)] * statistics.stdev(values) / len(values) ** 0.5


def interval(values: Sequence[float], sign: str = "") -> str:
    """"54.1 ± 1.2"; of one value only itself, and "-" of none."""
    if not values:
        return "-"
    mean, half = spread(values)
    return f"{mean:{sign}.1f}" + ("" if half is None else f" ± {half:.1f}")


def differences(runs: Runs, variant: str, other: str, step: int) -> list[float]:
    """Accuracy of one variant less that of another after a round, for each seed that both have."""
    pairs = ((own, runs.get(other, {}).get(seed)) for seed, own in runs.get(variant, {}).items())
    return [own.accuracies[step] - its.accuracies[step] for own, its in pairs
            if its and step < min(len(own.accuracies), len(its.accuracies))]


def after(runs: Runs, variant: str, step: int) -> list[float]:
    """Accuracies of a variant after a round, of all seeds that have come so far."""
    return [result.accuracies[step] for result in runs.get(variant, {}).values() if step < len(result.accuracies)]


def table_4(runs: Runs, rounds: int) -> Iterable[str]:
    """One line a variant: accuracy by round, the last round's difference to the full loop, and the paper's figures."""
    heads = ["start", *(f"round {number}" for number in range(1, rounds + 1))]
    yield (f"{'variant':22}{'seeds':>6}" + "".join(f"{head:>14}" for head in heads) + f"{'last - full':>14}   paper: "
           + " / ".join(heads) + ", last - full")
    for variant in runs:
        paper = BY_ROUND[variant][:rounds + 1]
        shown = " / ".join("-" if figure is None else f"{figure:.2f}" for figure in paper)
        less, full = differences(runs, variant, FULL, rounds), BY_ROUND[FULL][:rounds + 1]
        own = variant == FULL
        yield (f"{'full loop' if own else variant:22}{len(runs[variant]):6}"
               + "".join(f"{interval(after(runs, variant, step)):>14}" for step in range(rounds + 1))
               + f"{'' if own else interval(less, '+'):>14}   {shown}"
               + ("" if own or len(paper) <= rounds else f", {paper[-1] - full[-1]:+.2f}"))


def data_quality(runs: Runs) -> Iterable[str]:
    """One line a variant: wrong labels by dataset, and what judging and expansion have made."""
    yield f"{'variant':22}{'wrong labels in % of D_1, D_2, ...':>48}{'new labels right':>22}{'expanded right':>22}"
    for variant, results in runs.items():
        noises = [result.noise for result in results.values()]
        noise = ", ".join(interval([each[index] for each in noises if index < len(each)])
                          for index in range(max(map(len, noises), default=0)))
        counts = []
        for kind in ("replaced", "expanded"):
            right, made = (sum(getattr(result, kind)[place] for result in results.values()) for place in (0, 1))
            counts.append(f"{right} of {made} ({right / made:.1%})" if made else "-")
        yield f"{'full loop' if variant == FULL else variant:22}{noise:>48}{counts[0]:>22}{counts[1]:>22}"


def figure_2(runs: Runs, rounds: int) -> Iterable[str]:
    """The loop against training on the same data in every round."""
    yield f"{'after':10}{'loop':>14}{'static':>14}{'loop - static':>16}   paper: loop, static, difference"
    for step in range(rounds + 1):
        loop, static = (BY_ROUND[name][step] if step < len(BY_ROUND[name]) else None for name in (FULL, "static"))
        paper = "" if loop is None or static is None else f"{loop:.2f}, {static:.2f}, {loop - static:+.2f}"
        yield (f"{f'round {step}' if step else 'start':10}{interval(after(runs, FULL, step)):>14}"
               f"{interval(after(runs, 'static', step)):>14}{interval(differences(runs, FULL, 'static', step), '+'):>16}   {paper}")


def figure_3(by_student: dict[str, Runs]) -> Iterable[str]:
    """What the second round adds to the first, by size of the student."""
    for student, runs in by_student.items():
        gains = [result.accuracies[2] - result.accuracies[1] for result in runs.get(FULL, {}).values()
                 if len(result.accuracies) > 2]
        yield f"{student:10}{interval(gains, '+'):>14}"
    yield "paper:    " + ", ".join(f"{size} {gain:+.2f}" for size, gain in GAINS.items())


def picture(runs: Runs, rounds: int, of: str) -> str:
    """Figure 2 as an SVG file: the loop against static training, ours on the left, the paper's on the right."""
    lines = (("loop", FULL), ("static", "static"))
    ours = {name: {step: spread(values) for step in range(rounds + 1) if (values := after(runs, key, step))}
            for name, key in lines}
    paper = {name: {step: (figure, None) for step, figure in enumerate(BY_ROUND[key]) if figure is not None}
             for name, key in lines}
    return draw({f"Here: {of}": ours, "Paper: BFCL-v3 overall, Qwen3-8B": paper})
