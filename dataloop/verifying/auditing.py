"""What reaches wrong labels that the policy has learnt: options beyond the paper, all of them off
in it.

In: Probe records. Out: which of them are judged or relabeled although they match, and how.

- An audit (verify.audit_mastered) lets the judges look at a share of the mastered samples, those of
  high perplexity first. Beside the label they see the most frequent drawn answer that differs from
  it; where none does, the label twice, so that they can only say of both that they are right or
  wrong.
- Refinement (verify.label_refinement) asks no judge: a label gives way where the majority of the
  drawn replies is one and the same other answer, in this round's probe and in the last one's. After
  Online Label Refinement (arXiv 2604.03993), which replaces a label by a majority that is stable
  over training.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from msgspec.structs import replace

from dataloop.verifying.relabel import select_high_perplexity
from looptool.calling.match import tool_match
from looptool.fingerprints import IdSet, fingerprint
from looptool.prompts.render import render_answer
from looptool.records import Draw, Message, Probe, Verdict, Vote
from looptool.sample_table import Listing

NO_CHALLENGE = ("match", "malformed", "untagged_call", "invented_turn", "empty")
"""Answers that no label has to stand against, as they could be none themselves."""


def audited(probes: Path, share: float) -> Callable[[Probe], bool]:
    """Whether a mastered sample is among this share of them that has the highest perplexity."""
    if not share:
        return lambda probe: False
    listing = Listing()
    mastered = listing.add(probes, Probe, lambda probe: probe.matches)
    chosen = set(listing.ids(select_high_perplexity(listing, mastered, share=share)).tolist())
    return lambda probe: probe.matches and fingerprint(probe.sample.id) in chosen


def challenged(probe: Probe) -> Probe:
    """A mastered sample as it is audited: with the most frequent other answer in place of the
    reply."""
    other = next((draw for draw in probe.draws if draw.reason not in NO_CHALLENGE), None)
    return probe if other is None else _answering(probe, other)


def _answering(probe: Probe, draw: Draw) -> Probe:
    return replace(probe, text=render_answer(draw.answer), prediction=draw.answer, faults=[],
                   reason=draw.reason, finish="stop")


def without_preference(verdict: Verdict) -> Verdict:
    """Of two equal answers none is better: such a verdict is none."""
    prefers = verdict.verdict in ("PRED_WRONG", "LABEL_WRONG")
    return replace(verdict, verdict="UNDECIDED") if verdict.probe.matches and prefers else verdict


def majority(probe: Probe) -> Draw | None:
    """The answer of more than half of the drawn replies, where it can be read and is not the
    label."""
    if not probe.draws:
        return None
    first = probe.draws[0]
    is_majority = 2 * first.count > sum(draw.count for draw in probe.draws)
    return first if is_majority and first.reason not in NO_CHALLENGE else None


def majorities(probes: Iterable[Probe]) -> dict[str, Message]:
    """Such answers by the id of their sample."""
    return {probe.sample.id: found.answer for probe in probes
            if (found := majority(probe)) is not None}


def refined(probe: Probe, before: dict[str, Message]) -> Verdict | None:
    """The verdict against a label whose sample had the same majority `before`; None for others.

    Whether the answer is fit to be a label is asked where every verdict's consequences are drawn.
    """
    now, last = majority(probe), before.get(probe.sample.id)
    if now is None or last is None or tool_match(now.answer, last) != "match":
        return None
    replies = sum(draw.count for draw in probe.draws)
    vote = Vote(verdict="LABEL_WRONG", label_first=True, judge="refinement", draw=0, approach="",
                analysis=f"{now.count} of {replies} replies agree on it, as most did before.")
    return Verdict(probe=_answering(probe, now), verdict="LABEL_WRONG", votes=[vote])


def medium_difficulty(probe: Probe) -> float:
    """How near the pass rate of the drawn replies is to one half, 0.5 being it; 0 where all of them
    pass, or none."""
    rate = probe.pass_rate
    return 0.0 if rate is None else 0.5 - abs(rate - 0.5)


def refuted(verdicts: Iterable[Verdict]) -> IdSet:
    """Samples whose label was found wrong, mastered or not."""
    return IdSet(verdict.probe.sample.id for verdict in verdicts
                 if verdict.verdict in ("LABEL_WRONG", "BOTH_WRONG"))
