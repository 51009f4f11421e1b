"""The steps of a conversation that may become samples (section 4.1): (T, c_t, a*_t) for each
decision of the assistant.

In: tools, date and messages of one conversation. Out: samples with the whole history as context,
not yet cut to length, and a count of steps by reason. A step whose result reports an error, or that
is marked suspect, is no label; neither is one whose values are lost when the context is cut.

Departure from the paper, which has call steps only: texts may be labels too, as the reward knows
them ("1 if no call") and a model that never sees one learns to call always. They are at most a
given share; a text before any result (a missing value is asked for, no tool fits) is a decision; of
those after results a tenth is taken into account.
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from looptool.fingerprints import fingerprint
from looptool.foreign.error_results import error_form
from looptool.ids import SampleIds
from looptool.records import Message, Sample, Tool

AFTER_RESULTS = 0.1
"""Share of the texts after results that may be samples; their label is always the same, no further
call."""


def step_kind(messages: list[Message], index: int) -> str:
    """What the assistant's turn at `index` is: "call", "text_first" or "text_after_results"; or why
    it is no label.

    A step whose result reports an error is "failed_result:" and the error's form
    (looptool.foreign.error_results).
    """
    turn = messages[index]
    if turn.suspect:
        return "suspect"
    # the first look spares nearly all conversations the second
    if messages[0].role != "user" and not any(message.role == "user"
                                              for message in messages[:index]):
        return "before_any_user"
    if messages[index - 1].role == "assistant":
        return "after_own_turn"
    if not turn.calls:
        return "text_after_results" if messages[index - 1].role == "tool" else "text_first"
    for message in messages[index + 1:index + 1 + len(turn.calls)]:
        if message.failed:
            return f"failed_result:{error_form(message.content) or 'is_error'}"
    return "call"


def samples_of(id: str, tools: list[Tool], date: str, messages: list[Message], seed: int,
               counts: Counter[str]) -> Iterator[Sample]:
    """A sample for each step of the conversation that may be a label; the others are counted by
    reason."""
    ids, known = SampleIds(tools, date), 0
    for index, turn in enumerate(messages):
        if turn.role != "assistant":
            continue
        kind, source = step_kind(messages, index), f"{id}#{index}"
        if (kind == "text_after_results"
                # a hash, as seeding a random generator for each text took a fifth of the time
                and fingerprint(f"{seed}:{source}") >= AFTER_RESULTS * 2**64):
            kind = "text_left_out"
        if kind not in ("call", "text_first", "text_after_results"):
            counts[kind] += 1
            continue
        ids.add(messages[known:index])
        known = index
        yield Sample(id=ids.id(turn), tools=tools, date=date, messages=messages[:index],
                     source=source, label=turn if not turn.reasoning
                     else msgspec.structs.replace(turn, reasoning=""))


def text_rank(sample: Sample) -> int:
    """0 for a call, 1 for a text before any result, 2 for a text after one: the order in which they
    are let in."""
    return 0 if sample.label.calls else 2 if sample.messages[-1].role == "tool" else 1


def loses_values(dropped: Sequence[Message], kept: Sequence[Message], label: Message) -> bool:
    """Whether a value of the label's calls stood in the turns that were cut off, and nowhere in
    those that are left."""
    if not dropped:
        return False
    gone, left = (" ".join(message.content + json.dumps([call.arguments for call in message.calls],
                                                        ensure_ascii=False)
                           for message in messages) for messages in (dropped, kept))
    return any(value in gone and value not in left for call in label.calls
               for value in _leaves(call.arguments))


def _leaves(value: Any) -> Iterator[str]:
    """The texts and numbers inside a JSON value, as they are written in a sentence."""
    if isinstance(value, (dict, list)):
        for child in value.values() if isinstance(value, dict) else value:
            yield from _leaves(child)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
