"""Text <-> calls: write and read <tool_call> blocks, and say whether a prediction makes the calls of its label.

In: the text of one reply, or two assistant messages. Out: a Reply, or a reason code. Nothing here raises on what a
model wrote, every time is linear in the text, and a block that cannot be read is a named fault.

A reply is read from left to right; <think>, </think>, <tool_call> and </tool_call> are the only tags.
- What stands before a </think> is reasoning, whether or not a <think> opened it (some chat templates write the opening
  tag into the prompt); blocks in it are ignored. A <think> that nothing closes holds the rest of the reply, so a reply
  cut there has no calls, and the fault "unclosed_think": it is no answer.
- After <tool_call> one JSON value is read, and </tool_call> must follow, with or without whitespace. The JSON knows its
  own end, so tags inside its strings are text.
- Arguments are a JSON object. A JSON string that holds one (the API form of OpenAI) is the fault
  "arguments_not_object": the system prompt asks for an object, and two spellings of one call would blur the reward.
- JSON is strict: no NaN, no Infinity, no key twice, no lone surrogate, at most 64 levels. Integers are exact, numbers
  with a fraction or an exponent are IEEE doubles; one that overflows, or becomes zero, is a fault.
"""
from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Any

from looptool.records import Call, Message, Record
from looptool.schema import check_call, check_calls

__all__ = ["Reply", "check_call", "check_calls", "paper_compat_match", "parse_reply", "render_calls", "tool_match"]

MAX_DEPTH = 64
"""Levels of nesting in a block; a fixed bound, so that the verdict does not depend on the caller's stack."""

_TAG = re.compile(r"</?(?:think|tool_call)>")
_SPACE = re.compile(r"[ \t\r\n]*")
_END_MARKERS = ("<|im_end|>", "<|endoftext|>")


class Reply(Record):
    """What a model wrote, read."""

    content: str = ""
    """Text outside <think> and outside the blocks that could be read; an unreadable block stays in it."""
    reasoning: str = ""
    calls: list[Call] = []
    faults: list[str] = []
    """One code for each block or tag that could not be read, in order."""

    def message(self) -> Message:
        """The assistant message; faults are not part of it, so look at them first."""
        return Message(role="assistant", content=self.content, calls=self.calls, reasoning=self.reasoning)


class _Fault(ValueError):
    """A block that cannot be read; its text is the code."""


def render_calls(calls: list[Call]) -> str:
    """The <tool_call> blocks of an answer, joined by a newline; "" without calls."""
    return "\n".join(
        '<tool_call>\n{"name": ' + json.dumps(call.name, ensure_ascii=False) + ', "arguments": '
        + json.dumps(call.arguments, ensure_ascii=False) + "}\n</tool_call>" for call in calls)


def parse_reply(text: str) -> Reply:
    """Read one reply; see the module's docstring. Trailing <|im_end|> and <|endoftext|> are dropped. Never raises."""
    end = _end_of_turn(text)
    reasoning: list[str] = []
    content: list[str] = []
    calls: list[Call] = []
    faults: list[str] = []
    start = position = 0  # of the text not yet given out; of the next tag to look for
    while tag := _TAG.search(text, position, end):
        position = tag.end()
        if tag[0] == "<tool_call>":
            try:
                call, position = _read_block(text, position, end)
            except _Fault as fault:
                faults.append(str(fault))
                position = _end_of_broken_block(text, position, end)
            else:
                content.append(text[start:tag.start()])
                calls.append(call)
                start = position
        elif tag[0] == "</tool_call>":
            faults.append("unopened")
        elif tag[0] == "<think>":
            content.append(text[start:tag.start()])
            start = position
            closing = text.find("</think>", position, end)
            if closing < 0:
                faults.append("unclosed_think")
                reasoning.append(text[start:end])
                start = position = end
            else:
                reasoning.append(text[start:closing])
                start = position = closing + len("</think>")
        else:
            reasoning += [*content, text[start:tag.start()]]
            content, calls, faults, start = [], [], [], position
    content.append(text[start:end])
    return Reply(content=_join(content), reasoning=_join(reasoning), calls=calls, faults=faults)


def _join(parts: list[str]) -> str:
    return "\n".join(stripped for part in parts if (stripped := part.strip()))


def _end_of_turn(text: str) -> int:
    """Length of the text without whitespace and end-of-turn markers at its end."""
    end = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        for marker in _END_MARKERS:
            if text.endswith(marker, 0, end):
                end -= len(marker)
                break
        else:
            return end


def _end_of_broken_block(text: str, position: int, end: int) -> int:
    """A block that cannot be read ends with its closing tag, or before any other tag."""
    tag = _TAG.search(text, position, end)
    if tag is None:
        return end
    return tag.end() if tag[0] == "</tool_call>" else tag.start()


def _read_block(text: str, position: int, end: int) -> tuple[Call, int]:
    """The call whose block's body starts at `position`, and where the block ends."""
    try:
        value, stop = _DECODER.raw_decode(text, _SPACE.match(text, position, end).end())
    except json.JSONDecodeError:
        raise _Fault("unclosed" if _is_unclosed(text, position, end) else "bad_json") from None
    except RecursionError:
        raise _Fault("too_deep") from None
    except _Fault:
        raise
    except ValueError:  # an integer of more digits than Python converts
        raise _Fault("number_out_of_range") from None
    closing = _SPACE.match(text, stop, end).end()
    if not text.startswith("</tool_call>", closing, end):
        raise _Fault("unclosed" if _is_unclosed(text, stop, end) else "trailing_text")
    return _to_call(value, text[position:stop]), closing + len("</tool_call>")


def _is_unclosed(text: str, position: int, end: int) -> bool:
    tag = _TAG.search(text, position, end)
    return tag is None or tag[0] != "</tool_call>"


def _to_call(value: Any, body: str) -> Call:
    if type(value) is not dict:
        raise _Fault("not_object")
    name = value.get("name")
    if type(name) is not str or not name:
        raise _Fault("no_name")
    arguments = value.get("arguments")
    if type(arguments) is not dict:
        raise _Fault("arguments_not_object" if "arguments" in value else "no_arguments")
    if len(value) > 2:
        raise _Fault("unknown_key")
    if body.count("{") + body.count("[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _Fault("too_deep")
    if not body.isascii() or "\\ud" in body or "\\uD" in body:
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise _Fault("lone_surrogate") from None
    return Call(name=name, arguments=arguments)


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion."""
    depth, level = 0, [value]
    while level := [child for node in level if type(node) in (dict, list)
                    for child in (node.values() if type(node) is dict else node)]:
        depth += 1
    return depth + 1


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Fault("duplicate_key")
    return value


def _float(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")) or value == 0 and re.match(r"-?[0.]*[1-9]", text):
        raise _Fault("number_out_of_range")
    return value


def _refuse_constant(name: str) -> None:
    raise _Fault("bad_json")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_refuse_constant)


def tool_match(prediction: Message, label: Message, faults: Sequence[str] = ()) -> str:
    """ToolMatch(a_t, a*_t) of section 4.1: "match", or the code of the first difference found.

    The same multiset of calls with the same values: order of calls and of keys is free; order and multiplicity of lists
    count; True is not 1, 1 is 1.0, null is not an absent key; strings are equal code point by code point (no Unicode
    normalization). A label without calls matches every prediction without calls and faults, its text and an empty
    reply included: the paper's "1 if the answer has no call".

    Args:
        faults: those of the reply; any of them gives "malformed", as the reply is not what the label asks for.
    """
    if faults:
        return "malformed"
    predicted, expected = prediction.calls, label.calls
    if not expected:
        return "unexpected_call" if predicted else "match"
    if not predicted:
        return "no_call"
    if len(predicted) == len(expected) == 1:
        return _difference(predicted[0], expected[0])
    surplus = Counter(map(_call_key, predicted))
    lacking = []
    for call in expected:
        key = _call_key(call)
        if surplus[key]:
            surplus[key] -= 1
        else:
            lacking.append(call)
    if len(predicted) != len(expected):
        return "missing_call" if len(predicted) < len(expected) else "extra_call"
    if not lacking:
        return "match"
    unmatched = [call for call in predicted if surplus[_call_key(call)]]
    partner = next((call for call in unmatched if call.name == lacking[0].name), unmatched[0])
    return _difference(partner, lacking[0])


def _difference(prediction: Call, label: Call) -> str:
    if prediction.name != label.name:
        return "wrong_name"
    predicted, expected = prediction.arguments, label.arguments
    if predicted.keys() != expected.keys():
        return "missing_argument" if expected.keys() - predicted.keys() else "extra_argument"
    for name, value in expected.items():
        if _key(predicted[name]) != _key(value):
            return "wrong_value" if _kind(predicted[name]) is _kind(value) else "wrong_type"
    return "match"


def _kind(value: Any) -> type:
    """The JSON type: int and float are one."""
    return float if type(value) is int else type(value)


def _call_key(call: Call) -> Hashable:
    return call.name, _key(call.arguments)


def _key(value: Any) -> Hashable:
    """Equal for equal JSON values and for no others."""
    kind = type(value)
    if kind is dict:
        return dict, frozenset([(name, _key(child)) for name, child in value.items()])
    if kind is list:
        return list, tuple([_key(child) for child in value])
    return (bool, value) if kind is bool else value


def paper_compat_match(prediction_text: str, label_text: str) -> bool:
    """The comparison of the released code (its reward at commit 51603ae), looser than `tool_match`. Never raises.

    Calls stand between "<tool_call>\n" and "\n</tool_call>" only, those quoted inside <think> too; a body that is no
    JSON is compared as text. Both sides need as many calls; then everything is compared as sets all the way down: order
    and multiplicity of calls and of list items do not count, [] is {}, True is 1. A label without the opening tag asks
    for a reply with neither tag; a label with it, for a reply with both.
    """
    reply = prediction_text.rsplit("<|im_start|>assistant", 1)[-1].split("<|im_end|>", 1)[0]
    if "<tool_call>" not in label_text:
        return "<tool_call>" not in reply and "</tool_call>" not in reply
    if "<tool_call>" not in reply or "</tool_call>" not in reply:
        return False
    predicted, expected = _compat_calls(reply.strip()), _compat_calls(label_text)
    if len(predicted) != len(expected):
        return False
    try:
        return _as_sets(predicted) == _as_sets(expected)
    except RecursionError:  # where the released code gives 0 as well
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
