"""What follows from the verdicts, by rule: error seeds, replaced labels, and the samples near the
decision boundary.

In: Verdict and Probe records. Out: ErrorSeed and LabelChange records, and the probes with the
highest perplexity. Nothing here asks a model. BOTH_WRONG and UNDECIDED lead to nothing (sections
4.3 and 4.4).
"""
from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

import msgspec
import numpy as np

from dataloop.verifying.judge import shown_prediction
from looptool.calling.sample_rules import sample_faults
from looptool.fingerprints import IdSet
from looptool.ids import sample_id
from looptool.records import ErrorSeed, LabelChange, Message, Probe, Sample, Verdict
from looptool.sample_table import Listing, Rows


def relabeled(probe: Probe, round: int) -> Sample | None:
    """The sample with the prediction as its label; None where the prediction is no label.

    A label was read without faults, ended by itself, and breaks no rule of its tools, whatever a
    judge says.
    """
    if probe.faults or probe.finish != "stop":
        return None
    old = probe.sample
    label = Message(role="assistant", content=probe.prediction.content,
                    calls=probe.prediction.calls)
    new = msgspec.structs.replace(old, id=sample_id(old.tools, old.date, old.messages, label),
                                  label=label, parent=old.id, round=round)
    return None if sample_faults(new) else new


def error_seed(verdict: Verdict, round: int) -> ErrorSeed | None:
    """D_MR: the label was right and is kept. D_LR: it was wrong, and the prediction takes its
    place. Else None."""
    probe = verdict.probe
    if confirms_label(verdict):
        return None
    if verdict.verdict == "PRED_WRONG":
        sample, wrong, cause = probe.sample, shown_prediction(probe), "mispredicted"
    elif verdict.verdict == "LABEL_WRONG":
        sample, wrong, cause = relabeled(probe, round), probe.sample.label, "relabeled"
    else:
        return None
    if sample is None:
        return None
    reason = next(vote for vote in verdict.votes if vote.verdict == verdict.verdict)
    return ErrorSeed(sample=sample, wrong=wrong, cause=cause, analysis=reason.analysis,
                     approach=reason.approach)


def confirms_label(verdict: Verdict) -> bool:
    """Whether an audit found nothing wrong with a label that the policy reproduces: no error."""
    return verdict.audited and verdict.verdict == "PRED_WRONG"


def error_seeds(verdicts: Iterable[Verdict], round: int, counts: Counter[str],
                undone: bool = False) -> Iterator[ErrorSeed]:
    """The error seeds among the verdicts, each sample once; `counts` says what became of each
    verdict.

    Args:
        undone: leave out those with a new label.
    """
    seen = IdSet()
    for verdict in verdicts:
        seed = error_seed(verdict, round)
        if seed is None:
            counts["label_confirmed" if confirms_label(verdict) else
                   "label_wrong_unusable" if verdict.verdict == "LABEL_WRONG" else
                   verdict.verdict.lower()] += 1
            continue
        if undone and seed.cause == "relabeled":
            counts["rolled_back"] += 1
            continue
        counts[seed.cause] += 1
        if seen.add(seed.sample.id):  # two samples with one context may get the same new label
            yield seed


def label_changes(verdicts: Iterable[Verdict], round: int,
                  undone: bool = False) -> Iterator[LabelChange]:
    """One line for each label that was replaced, and whether that is `undone`."""
    for verdict in verdicts:
        seed = error_seed(verdict, round)
        if seed is not None and seed.cause == "relabeled":
            old = verdict.probe.sample
            yield LabelChange(old_id=old.id, new_id=seed.sample.id, old_label=old.label,
                              new_label=seed.sample.label, round=round, votes=verdict.votes,
                              undone=undone)


def select_high_perplexity(listing: Listing, candidates: Rows, count: int | None = None,
                           share: float = 1.0, threshold: float = 0.0) -> Rows:
    """Of mastered samples and those whose two answers are both correct, the `count` with the
    highest perplexity, or all, the highest first (section 4.2); at most this share of them, and
    none under the threshold."""
    near = candidates[listing.perplexities(candidates) >= threshold]
    # the last key counts first; ids make the choice independent of the order of the file
    order = np.lexsort((listing.ids(near), -listing.perplexities(near)))
    # a share of all candidates, of those under the threshold too
    most = math.ceil(share * len(candidates) - 1e-9)  # 0.1 * 30 is a little more than 3
    return near[order][:most][:count]
