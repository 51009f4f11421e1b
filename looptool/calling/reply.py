"""Text <-> calls: write <tool_call> blocks, and read a reply.

In: the text of one reply. Out: a Reply: content, reasoning, calls, and a named fault for whatever
could not be read. Nothing here raises on what a model wrote, and every time is linear in the text.

Think and call tags are the only tags; they are read from left to right.
- What stands before a </think> is reasoning, whether or not a <think> opened it (some chat
  templates write the opening tag into the prompt); blocks in it are ignored. A <think> that nothing
  closes holds the rest of the reply, calls included, and is the fault "unclosed_think": the reply
  was cut before its answer.
- A </think> that closes nothing must not take back a call: where no call follows it, or where a
  <think> before it has been closed already, the blocks before it are no reasoning and the fault is
  "erased_call".
- A block's body is JSON, so it ends before the first "<" outside a JSON string, and </tool_call>
  must stand there. Tags inside its strings are text; newlines do not matter.
- Arguments are a JSON object. A JSON string that holds one (the form of OpenAI's API) is
  "arguments_not_object": the prompt asks for an object, and two spellings of one call would blur
  the reward.
- A reply has at most 128 tags and a block at most 20,000 characters: reading stops at the tag
  after, and a longer block is a fault. Replies of a training have 1,024 tokens; the bounds keep
  what is longer from costing more than a millisecond.
- JSON is strict: no NaN, no Infinity, no key twice, no lone surrogate, at most 64 levels. Integers
  are exact; numbers with a fraction or an exponent are IEEE doubles, and one that overflows, or
  underflows to zero, is a fault.
"""
from __future__ import annotations

import json
import math
import re
from typing import Any

import msgspec

from looptool.records import Call, Message, Record

MAX_DEPTH = 64
"""Levels of nesting in a block; a fixed bound, so that the verdict does not depend on the caller's
stack."""
MAX_TAGS, MAX_BLOCK = 128, 20_000
"""Tags of a reply, and characters of a block."""

# </?(?:think|tool_call)> takes twice as long over many "<"
_TAG = re.compile(r"(?:<t|</t)(?:hink|ool_call)>")
# two scans never pass the same tag
_BODY = re.compile(r'[^"<\\]*(?:"[^"\\]*(?:\\.[^"\\]*)*"[^"<\\]*)*', re.DOTALL)
_CLOSING = "</tool_call>"
_JSON_SPACE = " \t\r\n"
_END_MARKERS = ("<|im_end|>", "<|endoftext|>")
# matched against the reversed text: a search for spaces before the end takes quadratic time
_REVERSED_END = re.compile(
    rf"(?:\s+|{'|'.join(re.escape(marker[::-1]) for marker in _END_MARKERS)})*")


class Reply(Record, kw_only=True):
    """What a model wrote, read."""

    content: str = ""
    """Text outside <think> and outside the blocks that could be read; an unreadable block stays in
    it."""
    reasoning: str = ""
    calls: list[Call] = []
    faults: list[str] = []
    """One code for each block or tag that could not be read, in order: unclosed, unopened,
    unclosed_think, bad_json, duplicate_key, number_out_of_range, lone_surrogate, too_deep,
    too_long, not_object, no_name, no_arguments, arguments_not_object, unknown_key; erased_call;
    too_many_tags where reading stopped."""

    def message(self) -> Message:
        """The assistant message. Faults are not part of it: with any, it is not what the model
        meant to say."""
        return Message(role="assistant", content=self.content, calls=self.calls,
                       reasoning=self.reasoning)


class _Fault(Exception):
    """A block that cannot be read; its text is the code."""


def render_calls(calls: list[Call]) -> str:
    """The <tool_call> blocks of an answer, joined by a newline; "" without calls."""
    return "\n".join([f'<tool_call>\n{{"name": {_dump(call.name)}, "arguments": '
                      f'{_dump(call.arguments)}}}\n</tool_call>' for call in calls])


def parse_reply(text: str) -> Reply:
    """Read one reply, as the module's docstring says; <|im_end|> and <|endoftext|> at its end are
    dropped."""
    end = _end_of_turn(text)
    if "<" not in text:  # an answer in words, without thinking
        return Reply(content=text[:end].strip())
    reasoning: list[str] = []
    content: list[str] = []
    calls: list[Call] = []
    faults: list[str] = []
    start = position = tags = 0  # of the text not yet handed out; of the next tag to look for; seen
    # thought: a <think> was closed. erased: a </think> without a <think> came behind blocks.
    # stray: it did so after thinking had been closed, and so is surely not the template's.
    thought = erased = stray = False
    while tag := _TAG.search(text, position, end):
        kind = tag[0]
        opened, position = tag.span()
        tags += 1
        if tags > MAX_TAGS:
            faults.append("too_many_tags")
            break
        if kind == "<tool_call>":
            call, position = _read_block(text, position, end)
            if isinstance(call, str):
                faults.append(call)
            else:
                content.append(text[start:opened])
                calls.append(call)
                start = position
        elif kind == _CLOSING:
            faults.append("unopened")
        elif kind == "</think>":
            reasoning += [*content, text[start:opened]]
            erased = erased or bool(calls or faults)
            stray = stray or thought and erased
            content, calls, faults, start = [], [], [], position
        else:
            content.append(text[start:opened])
            closing = text.find("</think>", position, end)
            if closing < 0:
                faults.append("unclosed_think")
                reasoning.append(text[position:end])
                start = end
                break
            reasoning.append(text[position:closing])
            start = position = closing + len("</think>")
            thought = True
    content.append(text[start:end])
    if stray or erased and not calls:
        faults.insert(0, "erased_call")
    return Reply(content=_join(content), reasoning=_join(reasoning) if reasoning else "",
                 calls=calls, faults=faults)


def _join(parts: list[str]) -> str:
    return "\n".join(filter(None, map(str.strip, parts)))


def _end_of_turn(text: str) -> int:
    """Length of the text without the whitespace and end-of-turn markers at its end."""
    if not (text[-1:].isspace() or text.endswith(_END_MARKERS)):
        return len(text)
    return len(text) - _REVERSED_END.match(text[::-1]).end()


def _read_block(text: str, position: int, end: int) -> tuple[Call | str, int]:
    """The call of the block whose body starts at `position`, or its fault; and where it ends.

    A block that cannot be read ends with its closing tag, or before any other tag.
    """
    limit = min(end, position + MAX_BLOCK + len(_CLOSING))
    # without a "<" it is -1, the last character, where no closing tag fits
    stop = text.find("<", position, limit)
    call = _read_plain_call(text[position:stop]) if text.startswith(_CLOSING, stop, limit) else None
    if call is not None:
        return call, stop + len(_CLOSING)
    fault = ""
    stop = _BODY.match(text, position, limit).end()
    if text.startswith(_CLOSING, stop, limit):
        try:
            return _read_strictly(text[position:stop].strip(_JSON_SPACE)), stop + len(_CLOSING)
        except _Fault as error:
            fault = str(error)
    tag = _TAG.search(text, position, end)
    is_closing = tag is not None and tag[0] == _CLOSING
    if not fault and limit < end and (tag is None or tag.end() > limit):
        fault = "too_long"
    fault = fault or ("bad_json" if is_closing else "unclosed")
    return fault, end if tag is None else tag.end() if is_closing else tag.start()


def _read_plain_call(body: str) -> Call | None:
    """The call of most blocks, read by a decoder that is fast and not strict; None where only the
    strict one can tell.

    It passes over keys that come twice and numbers that are rounded to 0. So its answer counts only
    where every colon is that of the call's or an argument's key, and no value is a list or 0.0.
    """
    try:
        call = _decode_call(body)
    # UnicodeEncodeError: a lone surrogate, which msgspec cannot write as UTF-8
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    arguments = call.arguments
    # a colon more is in a string, an object inside, an unknown key or one that comes twice
    if (not call.name or body.count(":") != 2 + len(arguments) or "[" in body
            or 0.0 in arguments.values()):
        return None
    return call


def _read_strictly(body: str) -> Call:
    """The call of a block by JSON's own rules."""
    try:
        value, length = _DECODER.raw_decode(body)
    except json.JSONDecodeError:
        raise _Fault("bad_json") from None
    except RecursionError:
        raise _Fault("too_deep") from None
    except ValueError:  # an integer of more digits than Python converts
        raise _Fault("number_out_of_range") from None
    if length != len(body):
        raise _Fault("bad_json")
    return _to_call(value, body)


def _to_call(value: Any, body: str) -> Call:
    if type(value) is not dict:
        raise _Fault("not_object")
    name, arguments = value.get("name"), value.get("arguments")
    if type(name) is not str or not name:
        raise _Fault("no_name")
    if type(arguments) is not dict:
        raise _Fault("arguments_not_object" if "arguments" in value else "no_arguments")
    if len(value) > 2:
        raise _Fault("unknown_key")
    # there are no more levels than brackets, and counting those is fast
    if body.count("{") + body.count("[") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise _Fault("too_deep")
    # only such a body can hold a lone surrogate
    if not body.isascii() or "\\u" in body:
        try:
            _dump(value).encode()
        except UnicodeEncodeError:
            raise _Fault("lone_surrogate") from None
    return Call(name=name, arguments=arguments)


def _depth(value: Any) -> int:
    """Levels of nesting: 1 for an object of plain values."""
    depth, level = 0, [value]
    while level := [node for node in level if type(node) in (dict, list)]:
        depth += 1
        level = [child for node in level
                 for child in (node.values() if type(node) is dict else node)]
    return depth


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _Fault("duplicate_key")
    return value


def _float(text: str) -> float:
    value = float(text)
    # a zero whose digits, before the exponent, are not all 0 was rounded to it
    if math.isinf(value) or value == 0 and re.match(r"-?[0.]*[1-9]", text):
        raise _Fault("number_out_of_range")
    return value


def _refuse_constant(name: str) -> None:
    raise _Fault("bad_json")


_dump = json.JSONEncoder(ensure_ascii=False).encode
_decode_call = msgspec.json.Decoder(Call).decode
_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float,
                            parse_constant=_refuse_constant)


def split_reasoning(text: str) -> tuple[str, str]:
    """(text, reasoning). Some templates write <think> into the prompt, so only </think> shows; a
    cut reply lacks it."""
    before, closing, after = text.partition("</think>")
    opened = before.lstrip().startswith("<think>")
    if not closing and not opened:
        return text, ""
    return after.strip(), (before.lstrip().removeprefix("<think>") if opened else before).strip()
