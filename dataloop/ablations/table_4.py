"""The variants of one world held against each other and against the paper: its Table 4, Figure 2
and Figure 3, and what only a known truth shows.

In: the Result of each run. Out: lines of text, and Figure 2 as a picture. Intervals are Student's
over seeds, at 95%; a difference between variants is taken seed by seed.
"""
from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from dataloop.ablations.results import Runs
from dataloop.ablations.variants import IN_WORDS
from looptool.charts.curves import draw
from looptool.charts.paper_figures import BY_ROUND, FULL, GAINS
from looptool.errors import InputError

T_95 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262,
        11: 2.228, 12: 2.201, 13: 2.179, 14: 2.160, 15: 2.145, 16: 2.131, 17: 2.120, 18: 2.110,
        19: 2.101, 20: 2.093, 21: 2.086, 22: 2.080, 23: 2.074, 24: 2.069, 25: 2.064, 26: 2.060,
        27: 2.056, 28: 2.052, 29: 2.048, 30: 2.045}
"""Student's t for a two-sided 95% interval, by the number of values."""


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half the width of its interval; None for a single value.

    Raises:
        InputError: there are more values than the table of t has.
    """
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, None
    if len(values) > max(T_95):
        raise InputError(f"{len(values)} seeds: intervals are known for up to {max(T_95)}; take "
                         "some results away")
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
    return [result.accuracies[step] for result in runs.get(variant, {}).values()
            if step < len(result.accuracies)]


def table_4(runs: Runs, rounds: int) -> Iterable[str]:
    """One line a variant: accuracy by round, the last round's difference to the full loop, and the
    paper's figures."""
    heads = ["start", *(f"round {number}" for number in range(1, rounds + 1))]
    yield (f"{'variant':22}{'seeds':>6}" + "".join(f"{head:>14}" for head in heads)
           + f"{'last - full':>14}   paper: " + " / ".join(heads) + ", last - full")
    for variant in runs:
        paper = BY_ROUND.get(variant, [])[:rounds + 1]
        shown = " / ".join("-" if figure is None else f"{figure:.2f}" for figure in paper)
        less, full = differences(runs, variant, FULL, rounds), BY_ROUND[FULL][:rounds + 1]
        own = variant == FULL
        yield (f"{_name(variant):22}{len(runs[variant]):6}"
               + "".join(f"{interval(after(runs, variant, step)):>14}"
                         for step in range(rounds + 1))
               + f"{'' if own else interval(less, '+'):>14}   {shown}"
               + ("" if own or len(paper) <= rounds else f", {paper[-1] - full[-1]:+.2f}"))


def _name(variant: str) -> str:
    return "full loop" if variant == FULL else variant


def data_quality(runs: Runs) -> Iterable[str]:
    """One line a variant: wrong labels by dataset, and what judging and expansion have made."""
    yield (f"{'variant':22}{'wrong labels in % of D_1, D_2, ...':>48}"
           f"{'new labels right':>22}{'expanded right':>22}")
    for variant, results in runs.items():
        noises = [result.noise for result in results.values()]
        noise = ", ".join(interval([each[index] for each in noises if index < len(each)])
                          for index in range(max(map(len, noises), default=0)))
        counts = []
        for kind in ("replaced", "expanded"):
            right, made = (sum(getattr(result, kind)[place] for result in results.values())
                           for place in (0, 1))
            counts.append(f"{right} of {made} ({right / made:.1%})" if made else "-")
        yield f"{_name(variant):22}{noise:>48}{counts[0]:>22}{counts[1]:>22}"


def blind_spots(runs: Runs) -> Iterable[str]:
    """One line a variant: wrong labels that no judge sees, by round, and the judge."""
    yield (f"{'variant':22}{'wrong in % of the mastered, by round':>38}"
           f"{'reproduced in % of the wrong':>38}{'kappa of the judge':>28}")
    for variant, results in runs.items():
        shares = [_by_round([[100 * hits / total if total else 0.0
                              for hits, total in getattr(each, name)] for each in results.values()])
                  for name in ("mastered_wrong", "reproduced")]
        kappas = _by_round([[each for each in result.kappa if each is not None]
                            for result in results.values()], 2)
        yield f"{_name(variant):22}{shares[0]:>38}{shares[1]:>38}{kappas:>28}"


def _means(series: Sequence[Sequence[float]], digits: int = 1) -> list[str]:
    """Over seeds, by round."""
    columns = [[each[step] for each in series if step < len(each)]
               for step in range(max(map(len, series), default=0))]
    return [f"{statistics.mean(values):.{digits}f}" for values in columns]


def _by_round(series: Sequence[Sequence[float]], digits: int = 1) -> str:
    return ", ".join(_means(series, digits)) or "-"


def kinds(runs: Runs, rounds: int) -> Iterable[str]:
    """One line a kind of task: the full loop and static training on it, and what the loop made of
    it."""
    full, static = runs.get(FULL, {}), runs.get("static", {})
    yield (f"{'kind':14}{'start':>8}{'loop':>14}{'static':>14}{'loop - static':>16}"
           "   error seeds -> new samples of the loop, by round")
    for kind in dict.fromkeys(kind for result in full.values() for kind in result.by_kind):
        own, its = ({seed: result.by_kind[kind] for seed, result in variant.items()
                     if len(result.by_kind.get(kind, ())) > rounds} for variant in (full, static))
        less = [own[seed][rounds] - its[seed][rounds] for seed in own if seed in its]
        made = zip(*(_means([getattr(result, name).get(kind, []) for result in full.values()])
                     for name in ("error_seeds", "expanded_by_kind")))
        start = _by_round([series[:1] for series in own.values()])
        yield (f"{kind:14}{start:>8}"
               f"{interval([series[rounds] for series in own.values()]):>14}"
               f"{interval([series[rounds] for series in its.values()]):>14}"
               f"{interval(less, '+'):>16}   "
               + ", ".join(f"{seeds} -> {new}" for seeds, new in made))


def lines_of_world(world: str, runs: Runs, rounds: int) -> Iterable[str]:
    """All tables of one world."""
    commits = sorted({result.commit for results in runs.values() for result in results.values()})
    title = f"SIMULATED world: {IN_WORDS[world]}" if world in IN_WORDS else world
    yield from ("", f"=== {title} (commit {', '.join(commits)})", "", "Table 4",
                *table_4(runs, rounds))
    yield from ("", "Data", *data_quality(runs))
    if any(result.mastered_wrong for results in runs.values() for result in results.values()):
        yield from ("", "Blind spot", *blind_spots(runs))
        yield from ("", f"Kinds of tasks after round {rounds}", *kinds(runs, rounds))
    yield from ("", "Figure 2", *figure_2(runs, rounds))


def figure_2(runs: Runs, rounds: int) -> Iterable[str]:
    """The loop against training on the same data in every round."""
    yield (f"{'after':10}{'loop':>14}{'static':>14}{'loop - static':>16}   paper: loop, static, "
           "difference")
    for step in range(rounds + 1):
        loop, static = (BY_ROUND[name][step] if step < len(BY_ROUND[name]) else None
                        for name in (FULL, "static"))
        paper = ("" if loop is None or static is None
                 else f"{loop:.2f}, {static:.2f}, {loop - static:+.2f}")
        yield (f"{f'round {step}' if step else 'start':10}{interval(after(runs, FULL, step)):>14}"
               f"{interval(after(runs, 'static', step)):>14}"
               f"{interval(differences(runs, FULL, 'static', step), '+'):>16}   {paper}")


def figure_3(worlds: Iterable[tuple[str, Runs]]) -> Iterable[str]:
    """What the second round adds to the first, by size of the student, one line a world of it."""
    for world, runs in worlds:
        student = next(iter(runs[FULL].values())).student
        gains = [result.accuracies[2] - result.accuracies[1] for result in runs[FULL].values()
                 if len(result.accuracies) > 2]
        yield f"{student:10}{interval(gains, '+'):>14}  {world}"
    yield "paper:    " + ", ".join(f"{size} {gain:+.2f}" for size, gain in GAINS.items())


def picture(runs: Runs, rounds: int, of: str) -> str:
    """Figure 2 as an SVG file: the loop against static training, ours on the left, the paper's on
    the right."""
    lines = (("loop", FULL), ("static", "static"))
    ours = {name: {step: spread(values) for step in range(rounds + 1)
                   if (values := after(runs, key, step))}
            for name, key in lines}
    paper = {name: {step: (figure, None) for step, figure in enumerate(BY_ROUND[key])
                    if figure is not None}
             for name, key in lines}
    return draw({f"Here: {of}": ours, "Paper: BFCL-v3 overall, Qwen3-8B": paper})
