"""What only a known truth shows: wrong labels that the policy has learnt, and every figure by kind
of task.

JGLV judges mismatches only. A wrong label that the policy reproduces is a match, so nobody looks at
it: the loop's blind spot (the literature calls such labels active, arXiv 2604.03993).
"""
from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dataloop.reporting.figures import BlindSpot, KindFigures, Rate, RuleFigures
from dataloop.reporting.measures import Answers, Known, predicted_right, rate
from looptool.records import ErrorSeed, Message, Probe, Sample, Verdict

OTHER = "other"
"""Where no rule is behind an error, or a conversation is of no known kind."""


@dataclass(frozen=True)
class World:
    """What a simulated world knows of its samples; a real run has none."""

    right: Known
    rule: Callable[[Sample, Message], str | None]
    """The teacher's rule that leads to this wrong answer."""
    kind: Callable[[Sample], str | None]
    """The kind of task that a sample is."""


def rules_behind(samples: Iterable[Sample], world: World) -> dict[str, int]:
    """Wrong labels by the rule behind them."""
    return dict(Counter(_rule(sample, world) for sample in samples
                        if world.right(sample, sample.label) is False).most_common())


def _rule(sample: Sample, world: World) -> str:
    return world.rule(sample, sample.label) or OTHER


def blind_spot(probes: Iterable[Probe], verdicts: Iterable[Verdict], world: World) -> BlindSpot:
    """Wrong labels among the mastered samples, and what became of the others."""
    mastered: Answers = Counter()
    rules: defaultdict[str, RuleFigures] = defaultdict(
        lambda: RuleFigures(labels=0, reproduced=0, verdicts={}))
    for probe in probes:
        right = world.right(probe.sample, probe.sample.label)
        if probe.matches:
            mastered[None if right is None else not right] += 1
        if right is False:
            figures = rules[_rule(probe.sample, world)]
            figures.labels += 1
            figures.reproduced += probe.matches
    for verdict in verdicts:
        sample = verdict.probe.sample
        if world.right(sample, sample.label) is False:
            given = rules[_rule(sample, world)].verdicts
            given[verdict.verdict] = given.get(verdict.verdict, 0) + 1
    wrong, learnt = (sum(getattr(figures, count) for figures in rules.values())
                     for count in ("labels", "reproduced"))
    return BlindSpot(mastered=rate(mastered), rules=dict(rules),
                     reproduced=rate(Counter({True: learnt, False: wrong - learnt})))


def kind_figures(probes: Iterable[Probe], seeds: Iterable[ErrorSeed], expanded: Iterable[Sample],
                 world: World) -> dict[str, KindFigures]:
    """What a round has of each kind of task, the most frequent one first."""
    kinds: defaultdict[str, KindFigures] = defaultdict(KindFigures)
    for probe in probes:
        figures = kinds[world.kind(probe.sample) or OTHER]
        figures.samples += 1
        figures.wrong_labels += world.right(probe.sample, probe.sample.label) is False
        figures.mastered += probe.matches
    for seed in seeds:
        kinds[world.kind(seed.sample) or OTHER].error_seeds += 1
    for sample in expanded:
        kinds[world.kind(sample) or OTHER].expanded += 1
    return dict(sorted(kinds.items(), key=lambda item: -item[1].samples))


def accuracy_by_kind(probes: Iterable[Probe], world: World) -> dict[str, Rate]:
    """The policy on held-out tasks of each kind, by name."""
    right: defaultdict[str, Answers] = defaultdict(Counter)
    for probe in probes:
        right[world.kind(probe.sample) or OTHER][predicted_right(probe, world.right)] += 1
    return {kind: rate(right[kind]) for kind in sorted(right)}
