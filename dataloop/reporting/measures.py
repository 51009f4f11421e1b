"""From the records of a run's files to its figures: pure functions.

Records stream by; what is kept of each is a count or a number. Whether an answer is right is asked
of `Known`, which a world with a known truth gives and a real run does not: then every share that
needs it is absent (None).
"""
from __future__ import annotations

import math
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from dataloop.probing.job import reply_cases
from dataloop.reporting.figures import (
    EDGE_STEPS, DatasetFigures, ExpansionFigures, Gain, HeldoutFigures, Histogram, ProbeFigures,
    Rate, ReplacedFigures, TrainingFigures, VerdictFigures)
from dataloop.verifying.relabel import confirms_label
from looptool.records import ErrorSeed, LabelChange, Message, Probe, Sample, Verdict

Known = Callable[[Sample, Message], "bool | None"]
"""Whether an answer to a sample is right; None where the truth of this sample is unknown."""

Answers = Counter
"""Counts of True (right), False (wrong) and None (truth unknown)."""

BINS = 24
SCORE = "critic/score/mean"
"""verl's name of the mean reward of a step's rollouts."""
TRUE_VERDICTS = {(True, False): "PRED_WRONG", (False, True): "LABEL_WRONG",
                 (True, True): "BOTH_CORRECT", (False, False): "BOTH_WRONG"}
"""By whether the label and whether the prediction is right."""


def rate(answers: Answers) -> Rate:
    """Share of True among True and False; Wilson's interval at 95%."""
    hits, total = answers[True], answers[True] + answers[False]
    if not total:
        return Rate(hits=0, total=0, unknown=answers[None], share=None, low=None, high=None)
    share, z = hits / total, 1.959964
    middle, scale = share + z * z / (2 * total), 1 + z * z / total
    spread = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # 0 and 1 exactly where Wilson's ends are so, whatever is lost in rounding
    return Rate(hits=hits, total=total, unknown=answers[None], share=share,
                low=(middle - spread) / scale if hits else 0.0,
                high=(middle + spread) / scale if hits < total else 1.0)


def paired_gain(before: dict[str, bool | None], after: dict[str, bool | None]) -> Gain | None:
    """The change on the tasks that both have, with the normal 95% interval of a paired
    difference."""
    pairs = [(before[id], after[id]) for id in after if None not in (before.get(id), after[id])]
    if not pairs:
        return None
    count, better, worse = len(pairs), pairs.count((False, True)), pairs.count((True, False))
    share = (better - worse) / count
    spread = 1.959964 * math.sqrt(better + worse - (better - worse) ** 2 / count) / count
    return Gain(tasks=count, better=better, worse=worse, share=share, low=share - spread,
                high=share + spread)


def dataset_figures(samples: Iterable[Sample], known: Known | None) -> DatasetFigures:
    """Mix and label noise of a dataset."""
    mix: Counter[str] = Counter()
    wrong: defaultdict[str, Answers] = defaultdict(Counter)
    texts = 0
    for sample in samples:
        mix[sample.origin] += 1
        texts += not sample.label.calls
        if known is not None:
            right = known(sample, sample.label)
            wrong[sample.origin][None if right is None else not right] += 1
    return DatasetFigures(samples=sum(mix.values()), mix=dict(mix), text_labels=texts,
                          noise=None if known is None else rate(sum(wrong.values(), Counter())),
                          noise_by_origin=None if known is None
                          else {key: rate(wrong[key]) for key in wrong})


def training_figures(steps: Iterable[dict[str, Any]]) -> TrainingFigures | None:
    """Reward over the steps' metrics; None where no step has a reward yet."""
    rewards = [float(data[SCORE]) for data in steps if SCORE in data]
    if not rewards:
        return None
    first, last = rewards[:EDGE_STEPS], rewards[-EDGE_STEPS:]
    return TrainingFigures(steps=len(rewards), first=sum(first) / len(first),
                           last=sum(last) / len(last), averaged=len(first), rewards=rewards)


def predicted_right(probe: Probe, known: Known) -> bool | None:
    """Whether a prediction is right; one with an unreadable block is not what the policy meant, so
    it is wrong."""
    right = known(probe.sample, probe.prediction)
    return right if right is None else right and not probe.faults


def heldout_answers(probes: Iterable[Probe], known: Known | None) -> dict[str, bool | None]:
    """By task, whether the policy does it: against the truth where that is known, else against the
    label."""
    return {probe.sample.id: probe.matches if known is None else predicted_right(probe, known)
            for probe in probes}


def heldout_figures(answers: dict[str, bool | None],
                    before: dict[str, bool | None] | None) -> HeldoutFigures:
    """Accuracy, and the change against the policy before any training where that was probed."""
    return HeldoutFigures(accuracy=rate(Counter(answers.values())),
                          gain=None if before is None else paired_gain(before, answers))


def probe_figures(probes: Iterable[Probe], high_ppl: Iterable[Probe]) -> ProbeFigures:
    """Reasons and perplexities; `high_ppl` are the probes that were chosen as near the decision
    boundary."""
    reasons: Counter[str] = Counter()
    cases: Counter[str] = Counter()
    mastered, mismatched, rates, drawn = array("d"), array("d"), array("d"), 0
    for probe in probes:
        if probe.draws:
            rates.append(probe.pass_rate)
            drawn = sum(draw.count for draw in probe.draws)
        reasons[probe.reason] += 1
        cases.update(reply_cases(probe.text, probe.finish))
        (mastered if probe.matches else mismatched).append(probe.perplexity)
    both = sorted(mastered + mismatched)
    taken = [probe.perplexity for probe in high_ppl]
    by_perplexity = taken == sorted(taken, reverse=True)
    return ProbeFigures(samples=sum(reasons.values()), reasons=dict(reasons.most_common()),
                        median_perplexity=both[len(both) // 2] if both else None,
                        # only in this order is the last one the least
                        high_ppl_cut=taken[-1] if taken and by_perplexity else None,
                        histogram=histogram(mastered, mismatched, both) if both else None,
                        cases=dict(cases), drawn=drawn,
                        pass_at_1=sum(rates) / len(rates) if rates else None,
                        pass_at_k=rate(Counter(passed > 0 for passed in rates)) if rates else None)


def histogram(mastered: Iterable[float], mismatched: Iterable[float],
              ordered: list[float]) -> Histogram:
    """BINS bins from the least to the 99th percentile of `ordered`, equally wide in
    log(perplexity)."""
    low = math.log(ordered[0])
    # where all perplexities are equal a bin still has a width
    high = max(math.log(ordered[int(0.99 * (len(ordered) - 1))]), low + 1e-6)
    width = (high - low) / BINS

    def count(values: Iterable[float]) -> list[int]:
        bins = Counter(min(BINS - 1, int((math.log(value) - low) / width)) for value in values)
        return [bins[index] for index in range(BINS)]

    return Histogram(edges=[math.exp(low + index * width) for index in range(BINS + 1)],
                     mastered=count(mastered), mismatched=count(mismatched))


def kappa(confusion: Mapping[str, Mapping[str, int]]) -> float | None:
    """Cohen's kappa of decided verdicts: agreement with the truth beyond that of a judge who gives
    the same verdicts at random. None where there are none, or where chance alone agrees on all.

    Args:
        confusion: true verdict -> given verdict -> count; UNDECIDED is no verdict.
    """
    pairs = [(true, given, count) for true, row in confusion.items()
             for given, count in row.items() if given != "UNDECIDED"]
    deserved, said = Counter(), Counter()
    for true, given, count in pairs:
        deserved[true] += count
        said[given] += count
    chance, most = sum(deserved[name] * said[name] for name in said), deserved.total() ** 2
    agreed = sum(count for true, given, count in pairs if true == given)
    return None if chance == most else (deserved.total() * agreed - chance) / (most - chance)


NO_JUDGES = {"refinement", "none"}
"""Whose votes are those of no model."""


def of_judges(verdict: Verdict) -> bool:
    """Whether models judged a mismatch: what the judge's agreement with the truth is taken of."""
    names = {vote.judge for vote in verdict.votes}
    return not verdict.audited and not (names and names <= NO_JUDGES)


class _Judged:
    """What the verdicts of a round add up to."""

    def __init__(self, changes: dict[str, LabelChange], known: Known | None):
        self._changes, self._known = changes, known
        self.verdicts: Counter[str] = Counter()
        self.confusion: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.judges: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The confusion of models alone."""
        self.right, self.new_right, self.old_wrong = Counter(), Counter(), Counter()
        self.votes: dict[bool, Answers] = {True: Counter(), False: Counter()}

    def add(self, verdict: Verdict) -> None:
        self.verdicts["LABEL_CONFIRMED" if confirms_label(verdict) else verdict.verdict] += 1
        if self._known is None or confirms_label(verdict):
            return
        probe = verdict.probe
        label, prediction = self._known(probe.sample,
                                        probe.sample.label), predicted_right(probe, self._known)
        deserved = TRUE_VERDICTS.get((label, prediction))
        if verdict.verdict != "UNDECIDED":
            # None counts as unknown: the truth of one of the two is not known
            self.right[deserved and verdict.verdict == deserved] += 1
        if deserved:
            self.confusion[deserved][verdict.verdict] += 1
            self.judges[deserved][verdict.verdict] += of_judges(verdict)
        for vote in verdict.votes if of_judges(verdict) else ():
            self.votes[vote.label_first][deserved and vote.verdict == deserved] += 1
        if probe.sample.id in self._changes:
            self.new_right[prediction] += 1
            self.old_wrong[None if label is None else not label] += 1


def verdict_figures(verdicts: Iterable[Verdict], changes: Iterable[LabelChange], known: Known | None
                    ) -> tuple[VerdictFigures, ReplacedFigures]:
    """The judge against the truth, and the replaced labels against it."""
    by_sample = {change.old_id: change for change in changes}
    judged = _Judged(by_sample, known)
    for verdict in verdicts:
        judged.add(verdict)

    def share(answers: Answers) -> Rate | None:
        return None if known is None else rate(answers)

    return (VerdictFigures(verdicts=dict(judged.verdicts), right=share(judged.right),
                           confusion=None if known is None else {true: dict(judged.confusion[true])
                                                                 for true in judged.confusion},
                           kappa=None if known is None else kappa(judged.judges),
                           votes_label_first=share(judged.votes[True]),
                           votes_prediction_first=share(judged.votes[False])),
            ReplacedFigures(labels=len(by_sample), right=share(judged.new_right),
                            needed=share(judged.old_wrong)))


def expansion_figures(seeds: Iterable[ErrorSeed], expanded: Iterable[Sample],
                      outcomes: dict[str, int], known: Known | None) -> ExpansionFigures:
    """What the expansion of the error seeds gave."""
    accepted, right = 0, Counter()
    for sample in expanded:
        accepted += 1
        if known is not None:
            right[known(sample, sample.label)] += 1
    return ExpansionFigures(seeds=dict(Counter(seed.cause for seed in seeds)), accepted=accepted,
                            right=None if known is None else rate(right), outcomes=outcomes)
