"""The figures of a run, as report.json holds them. A figure that is None has not been made yet, or
needs a truth that a real run does not have; what is not a share of something known says so.
"""
from __future__ import annotations

from typing import Any

from looptool.records import Record

EDGE_STEPS = 3
"""Steps that are averaged at either end of a training, as one step is noisy."""


class Rate(Record):
    """A share of counted things, with Wilson's 95% interval."""

    hits: int
    total: int
    """Without the unknown."""
    unknown: int
    """Left out of the share, because their truth is unknown."""
    share: float | None
    """None where there is nothing to count."""
    low: float | None
    high: float | None


class Gain(Record):
    """Another policy on the same tasks."""

    tasks: int
    better: int
    """Tasks that only the later policy does."""
    worse: int
    share: float
    """(better - worse) / tasks."""
    low: float
    high: float


class HeldoutFigures(Record):
    """A policy on tasks that nothing was trained on."""

    accuracy: Rate
    gain: Gain | None = None
    """Against round 0; None for round 0, or where it was not probed."""
    by_kind: dict[str, Rate] = {}
    """Accuracy by kind of task, where kinds are known."""
    static: Rate | None = None
    """Accuracy of static training after as many rounds, where that was run beside."""


class DatasetFigures(Record):
    """D_j."""

    samples: int
    mix: dict[str, int]
    """Samples by origin."""
    text_labels: int
    noise: Rate | None
    """Labels that are wrong."""
    noise_by_origin: dict[str, Rate] | None
    noise_by_rule: dict[str, int] = {}
    """Wrong labels by the teacher's rule behind them."""
    notes: list[str] = []
    """Where a part of the mix gave way or was filled up, in words."""
    left_out: dict[str, int] = {}
    """Samples for which there was no room, by part, and duplicates."""


class TrainingFigures(Record):
    """GRPO; a reward is the mean over the rollouts of a step."""

    steps: int
    first: float
    """Mean of the first EDGE_STEPS steps."""
    last: float
    averaged: int
    """Steps that `first` and `last` average, at most EDGE_STEPS."""
    rewards: list[float]


class Histogram(Record):
    """Perplexities in bins of equal width on a log scale; the last bin holds everything above,
    too."""

    edges: list[float]
    """One more than bins."""
    mastered: list[int]
    mismatched: list[int]


class ProbeFigures(Record):
    """Greedy capability probing of D_j."""

    samples: int
    reasons: dict[str, int]
    """"match", and the reason codes of mismatches."""
    median_perplexity: float | None
    high_ppl_cut: float | None
    """Least perplexity of D_HPPL; None where some were taken by their pass rate."""
    histogram: Histogram | None
    drawn: int = 0
    """Replies to each sample beside the greedy one, k (probe.samples)."""
    pass_at_1: float | None = None
    """Mean share of them that match the label."""
    pass_at_k: Rate | None = None
    """Samples of which at least one of them does."""
    cases: dict[str, int] = {}
    """Replies out of the ordinary, by dataloop.probing.job.CASES."""


class VerdictFigures(Record):
    """Judgement of the mismatches; "right" is the verdict that label and prediction deserve."""

    verdicts: dict[str, int]
    right: Rate | None
    """Of those that are decided."""
    confusion: dict[str, dict[str, int]] | None
    """True verdict -> given verdict -> count, UNDECIDED among the given."""
    kappa: float | None
    """Cohen's: the agreement of `right`, corrected for chance."""
    votes_label_first: Rate | None
    """Single votes that are right, where the label was shown first."""
    votes_prediction_first: Rate | None
    unjudged: int | None = None
    """Mismatches without a verdict, as some vote could not be had."""


class ReplacedFigures(Record):
    """Labels replaced by the prediction."""

    labels: int
    right: Rate | None
    """New labels that are right."""
    needed: Rate | None
    """Old labels that were wrong indeed."""


class ExpansionFigures(Record):
    """Error-driven data expansion."""

    seeds: dict[str, int]
    """Error seeds by cause."""
    accepted: int
    right: Rate | None
    outcomes: dict[str, int]
    """Inputs of the stage by what became of them."""


class RuleFigures(Record):
    """Wrong labels of D_j with one rule of the teacher behind them, "other" being none."""

    labels: int
    reproduced: int
    """Those that the policy's greedy reply makes, too: matches, which no judge sees."""
    verdicts: dict[str, int]
    """What was said of the others."""


class BlindSpot(Record):
    """Wrong labels that the loop cannot see, as it judges mismatches only."""

    mastered: Rate
    """Wrong labels among the mastered samples."""
    reproduced: Rate
    """Of the wrong labels, those that the policy reproduces."""
    rules: dict[str, RuleFigures]


class KindFigures(Record):
    """One kind of task in a round."""

    samples: int = 0
    """In D_j."""
    wrong_labels: int = 0
    mastered: int = 0
    error_seeds: int = 0
    expanded: int = 0


class RoundFigures(Record):
    """One round; what is None has not happened yet."""

    number: int
    dataset: DatasetFigures | None = None
    training: TrainingFigures | None = None
    heldout: HeldoutFigures | None = None
    probes: ProbeFigures | None = None
    verdicts: VerdictFigures | None = None
    replaced: ReplacedFigures | None = None
    expansion: ExpansionFigures | None = None
    blind_spot: BlindSpot | None = None
    kinds: dict[str, KindFigures] = {}
    """By kind of task, where kinds are known."""
    seconds: dict[str, float] = {}
    """By stage."""
    usage: dict[str, dict[str, Any]] = {}
    """looptool.models.completion.Usage by role."""
    failed: dict[str, int] = {}
    """Inputs without an answer, by stage; they are tried again when the stage runs again."""


class Report(Record):
    """The whole run."""

    simulated: bool
    """Teacher and tasks are SIMULATED and the truth is known; else all shares that need the truth
    are absent."""
    run_dir: str
    config: dict[str, Any]
    versions: dict[str, str]
    command: str
    """How this report was made."""
    stages: list[dict[str, Any]]
    """File, stage, version, records, seconds and settings of every output that has a .meta.json."""
    before: RoundFigures
    """Round 0: seed data, and the policy before any training."""
    rounds: list[RoundFigures]
    planned_rounds: int
    next: RoundFigures | None
    """The dataset that a further round would train on."""

    @property
    def datasets(self) -> list[RoundFigures]:
        """Every round that has a dataset, the further one too."""
        return [*self.rounds, *([self.next] if self.next else [])]
