"""A few records of a run to look at: replaced labels, an expanded sample, mismatches."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from dataloop.reporting.files import stream
from dataloop.reporting.measures import Known, predicted_right
from looptool.records import ErrorSeed, LabelChange, Message, Sample, Verdict
from looptool.run_files import RoundFiles


@dataclass(frozen=True)
class Answer:
    """One candidate for the next step."""

    name: str
    message: Message
    right: bool | None
    """By the known truth; None where there is none."""


@dataclass(frozen=True)
class Example:
    """One case, told by its records."""

    title: str
    note: str
    messages: list[Message]
    answers: list[Answer] = field(default_factory=list)


def find_examples(rounds: Sequence[RoundFiles], known: Known | None) -> list[Example]:
    """Of the first round that has them: a label replaced rightly and one replaced wrongly, a mismatch whose label was
    kept, one without a decision, and an expanded sample."""
    known = known or (lambda sample, answer: None)
    finders = (replaced_examples, mismatch_examples, expanded_examples)
    return [example for find in finders for example in _first_found(find, rounds, known)]


def _first_found(find, rounds: Sequence[RoundFiles], known: Known) -> list[Example]:
    return next((found for files in rounds if (found := list(find(files, known)))), [])


def replaced_examples(files: RoundFiles, known: Known) -> Iterator[Example]:
    """The first change of the ledger by each outcome: new label right, wrong, unknown."""
    changes = {change.new_id: change for change in stream(files.ledger, LabelChange) or ()}
    seen: set[bool | None] = set()
    for seed in stream(files.error_seeds, ErrorSeed) or ():
        change = changes.get(seed.sample.id)
        if change is None:
            continue
        new = Answer("new label (the prediction)", change.new_label, known(seed.sample, change.new_label))
        if new.right in seen:
            continue
        seen.add(new.right)
        old = Answer("old label", change.old_label, known(seed.sample, change.old_label))
        yield Example(f"Round {files.round}: a label was replaced", f"{len(change.votes)} votes. {seed.analysis}",
                      seed.sample.messages, [old, new])
        if len(seen) == 2:
            return


def mismatch_examples(files: RoundFiles, known: Known) -> Iterator[Example]:
    """The first mismatch whose label was kept, and the first without a decision."""
    wanted = {"PRED_WRONG": "a mismatch, the label was kept", "UNDECIDED": "a mismatch on which the votes disagree"}
    for verdict in stream(files.verdicts, Verdict) or ():
        title = None if verdict.audited else wanted.pop(verdict.verdict, None)
        if title is None:
            continue
        yield mismatch_example(f"Round {files.round}: {title}", verdict, known)
        if not wanted:
            return


def mismatch_example(title: str, verdict: Verdict, known: Known) -> Example:
    """One verdict with what the judges said."""
    probe = verdict.probe
    votes = ", ".join(f"{vote.verdict} ({'label' if vote.label_first else 'prediction'} shown first)"
                      for vote in verdict.votes)
    analysis = verdict.votes[0].analysis if verdict.votes else ""
    return Example(title, f"Difference: {probe.reason}. Perplexity {probe.perplexity:.3f}. Votes: {votes}. {analysis}",
                   probe.sample.messages,
                   [Answer("label", probe.sample.label, known(probe.sample, probe.sample.label)),
                    Answer("prediction", probe.prediction, predicted_right(probe, known))])


def expanded_examples(files: RoundFiles, known: Known) -> Iterator[Example]:
    """The first expanded sample."""
    for sample in stream(files.expanded, Sample) or ():
        yield Example(f"Round {files.round}: a sample made from an error seed", f"Scenario: {sample.source}",
                      sample.messages, [Answer("its label", sample.label, known(sample, sample.label))])
        return
