"""What every sample of a dataset keeps to: the rules tier of verification (section 3.2) and the
optional filter step.

In: a sample. Out: a code for each rule it breaks, "unknown_argument:city" or "empty_label"; none
means it may be trained on. Counting by `fault_kind` keeps the argument names out.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from looptool.calling.schema_check import check_calls
from looptool.calling.untagged import text_fault
from looptool.fingerprints import IdSet
from looptool.records import Refused, Sample


def sample_faults(sample: Sample) -> list[str]:
    """Every rule that the sample breaks; empty when there is none.

    Codes: no_context, ends_with_assistant (nobody waits for an answer), duplicate_tool, label_role
    (not the assistant's), suspect_label (marked as without a majority), empty_label, untagged_call
    and invented_turn (of a text that is no answer in words, see looptool.calling.untagged), and
    those of check_calls for its calls.
    """
    faults = []
    if not sample.messages:
        faults.append("no_context")
    elif sample.messages[-1].role == "assistant":
        faults.append("ends_with_assistant")
    names = Counter(tool.name for tool in sample.tools)
    faults += [f"duplicate_tool:{name}" for name, count in names.items() if count > 1]
    label = sample.label
    if label.role != "assistant":
        faults.append("label_role")
    if label.suspect:
        faults.append("suspect_label")
    if not label.calls and (fault := text_fault(label.content, names)):
        faults.append("empty_label" if fault == "empty" else fault)
    return faults + check_calls(label.calls, sample.tools)


def fault_kind(fault: str) -> str:
    """The code without what it is about: "wrong_type:stops[2].lat" -> "wrong_type"."""
    return fault.partition(":")[0]


def keep_valid(samples: Iterable[Sample], counts: Counter[str], refused: list[Refused],
               judged: Mapping[str, str] = {}) -> Iterator[Sample]:
    """The samples without a fault, each once; the others are kept aside, and counted by the kind of
    their first fault.

    Args:
        judged: the reasons of those that a judge has refused, by id.
    """
    seen = IdSet()
    for sample in samples:
        faults = sample_faults(sample) if seen.add(sample.id) else ["duplicate"]
        if not faults and sample.id in judged:
            faults = [judged[sample.id]]
        counts[fault_kind(faults[0]) if faults else "kept"] += 1
        if faults:
            refused.append(Refused(place=sample.source or sample.id, code=fault_kind(faults[0]),
                                   reason=", ".join(faults), record=sample))
        else:
            yield sample
