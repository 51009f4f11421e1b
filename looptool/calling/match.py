"""Does a prediction make the calls of its label? ToolMatch of section 4.1, and the released code's
looser comparison.

In: two assistant messages, or two texts. Out: a reason code, or a bool.
"""
from __future__ import annotations

import json
from collections.abc import Collection, Hashable, Sequence
from typing import Any

from looptool.calling.untagged import takes_another_turn, text_fault
from looptool.records import Call, Message


def tool_match(prediction: Message, label: Message, faults: Sequence[str] = (),
               tools: Collection[str] = ()) -> str:
    """"match", or the code of the first difference found.

    Codes: malformed, no_call, unexpected_call, missing_call, extra_call, wrong_name,
    missing_argument, extra_argument, wrong_type (another JSON type at an argument), wrong_value,
    too_deep (nested beyond Python's stack); and those of looptool.calling.untagged for what neither
    calls rightly nor answers in words: untagged_call, invented_turn, empty.

    A match is the same multiset of calls with the same values: order of calls and of keys is free;
    order and multiplicity of list items count; True is not 1, 1 is 1.0, null is not an absent key;
    strings are equal code point by code point, so the composed and the decomposed form of a letter
    differ. A label without calls matches every prediction in words, whatever they are: the paper's
    "1 if the answer has no call". Of several differing calls the first label call without an equal
    names the difference.

    Args:
        faults: those of the reply; any of them gives "malformed", for a label without calls too.
        tools: names of the listed tools, by which calls without their tags are known
            (looptool.calling.untagged).
    """
    if faults:
        return "malformed"
    predicted, expected = prediction.calls, label.calls
    if not predicted:
        fault = text_fault(prediction.content, tools)
        # an untagged call or an invented turn keeps its own code where a call was wanted too
        return "no_call" if expected and fault in ("", "empty") else fault or "match"
    if prediction.content and takes_another_turn(prediction.content):
        return "invented_turn"
    if not expected:
        return "unexpected_call"
    if len(predicted) != len(expected):
        return "missing_call" if len(predicted) < len(expected) else "extra_call"
    try:
        return _compare(list(predicted), expected)
    except RecursionError:
        return "too_deep"


def _compare(surplus: list[Call], expected: list[Call]) -> str:
    """Pair off equal calls; what is left over names the difference. Empties `surplus`."""
    lacking = []
    for call in expected:
        for index, candidate in enumerate(surplus):
            if candidate.name == call.name and same_value(candidate.arguments, call.arguments):
                del surplus[index]
                break
        else:
            lacking.append(call)
    if not lacking:
        return "match"
    label = lacking[0]
    return _difference(next((call for call in surplus if call.name == label.name), surplus[0]),
                       label)


def _difference(prediction: Call, label: Call) -> str:
    """The code for two calls that differ."""
    if prediction.name != label.name:
        return "wrong_name"
    predicted, expected = prediction.arguments, label.arguments
    if expected.keys() - predicted.keys():
        return "missing_argument"
    if predicted.keys() - expected.keys():
        return "extra_argument"
    name = next(name for name, value in expected.items() if not same_value(predicted[name], value))
    return ("wrong_value" if _json_type(predicted[name]) is _json_type(expected[name])
            else "wrong_type")


def _json_type(value: Any) -> type:
    # JSON has one type of numbers
    return float if type(value) is int else type(value)


def same_value(a: Any, b: Any) -> bool:
    """Equality of JSON values: True is not 1, 1 is 1.0; an integer and a float are compared
    exactly."""
    # Python compares an integer and a float without rounding either
    return a == b and _same_booleans(a, b)


def _same_booleans(a: Any, b: Any) -> bool:
    """Whether two values that are equal to Python, which takes True for 1, are so with this
    difference."""
    kind = type(a)
    if kind is dict:
        for name, value in a.items():  # a loop, as all() takes twice as long
            if not _same_booleans(value, b[name]):
                return False
        return True
    if kind is list:
        # map ends with the shorter one: they are equal, so of one length
        return all(map(_same_booleans, a, b))
    return (kind is bool) is (type(b) is bool)


def paper_compat_match(prediction_text: str, label_text: str) -> bool:
    """The comparison of the released code (its reward at commit 51603ae). Never raises.

    Calls stand between "<tool_call>\\n" and "\\n</tool_call>" only, those quoted inside <think>
    too; a body that is no JSON is compared as text. Both sides need as many calls; then everything
    is compared as sets all the way down: order and multiplicity of calls and of list items do not
    count, [] is {}, True is 1. A label without the opening tag asks for a reply with neither tag; a
    label with it, for a reply with both.
    """
    reply = prediction_text.rsplit("<|im_start|>assistant", 1)[-1].split("<|im_end|>", 1)[0].strip()
    if "<tool_call>" not in label_text:
        return "<tool_call>" not in reply and "</tool_call>" not in reply
    if "<tool_call>" not in reply or "</tool_call>" not in reply:
        return False
    predicted, expected = _compat_calls(reply), _compat_calls(label_text)
    if len(predicted) != len(expected):
        return False
    try:
        return _as_sets(predicted) == _as_sets(expected)
    except RecursionError:  # the released code scores 0 here as well
        return False


def _compat_calls(text: str) -> list[Any]:
    opening, closing = "<tool_call>\n", "\n</tool_call>"
    found, position = [], text.find(opening)
    while position >= 0:
        start = position + len(opening)
        stop = text.find(closing, start)
        if stop < 0:
            break
        try:
            found.append(json.loads(text[start:stop]))
        except (ValueError, RecursionError):
            found.append(text[start:stop])
        position = text.find(opening, stop + len(closing))
    return found


def _as_sets(value: Any) -> Hashable:
    if isinstance(value, dict):
        return frozenset((name, _as_sets(child)) for name, child in value.items())
    if isinstance(value, list):
        return frozenset(map(_as_sets, value))
    return value
