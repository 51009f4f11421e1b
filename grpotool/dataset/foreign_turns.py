"""Messages as the field writes them -> turns of the OpenAI form (looptool.foreign.conversations).

In: a list of {"role", "content"} or {"from", "value"}. Calls may stand in "tool_calls", in the
older "function_call", in the text (grpotool/dataset/text_calls.py), in a turn of their own
(LLaMA-Factory's function_call, ms-swift's tool_call), or in parts of the content (Anthropic's
tool_use). Results are turns of their own, several in one value, or <tool_response> blocks. A turn
whose meaning is not certain refuses its record: no call may become a label that asks for none.
"""
from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Collection
from typing import Any

import msgspec

from grpotool.dataset.text_calls import read_assistant_text, read_call, read_calls
from looptool.foreign.conversations import Function, ToolCall, Turn
from looptool.foreign.unread_keys import count_unread
from looptool.records import Call

ROLES = {"system": "system", "developer": "system", "user": "user", "human": "user",
         **dict.fromkeys(("assistant", "gpt", "model", "chatgpt"), "assistant"),
         **dict.fromkeys(("function_call", "tool_call"), "call"),
         **dict.fromkeys(("tool", "function", "observation", "tool_response", "function_response",
                          "ipython"), "tool")}
_MASKS = ("weight", "loss", "train", "loss_weight")
"""Keys whose 0 or false says that a turn is no label: OpenAI's, ms-swift's, Axolotl's,
LLaMA-Factory's."""
_READ = {"role", "from", "content", "value", "tool_calls", "function_call", "tool_call_id", "name",
         *_MASKS}
_THOUGHTS = {"reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details"}
"""What an assistant thought is never shown again."""
_RESPONSE = re.compile(r"<tool_response>\s*(.*?)\s*</tool_response>", re.DOTALL)
_TEXT_PARTS = ("text", "input_text", "output_text")
_CALL_PARTS = ("tool_use", "tool_call")
_THOUGHT_PARTS = ("thinking", "redacted_thinking", "reasoning")
_FAILURE = ("is_error", "isError", "status")
"""Keys by which Anthropic, MCP and LangChain say that a result is an error."""
_READ_OF_PARTS = {**dict.fromkeys(_TEXT_PARTS, ("type", "text", "value")),
                  **dict.fromkeys(_CALL_PARTS, ("type", "id", "name", "input", "value")),
                  "tool_result": ("type", "tool_use_id", "content", *_FAILURE)}
_KNOWN_OF_PARTS = ("cache_control", "citations", "annotations", "logprobs", "caller")
"""Keys of parts that say nothing of what is read, whatever they hold."""


class Turns:
    """The turns of one conversation, as they are read."""

    def __init__(self, names: Collection[str], passed_over: Counter[str]):
        self.turns: list[Turn] = []
        self._names, self._passed_over = names, passed_over
        self._waiting: list[ToolCall] = []

    def add(self, index: int, raw: Any) -> None:
        """Read one message.

        Raises:
            ValueError: its meaning is not certain; names the message.
        """
        try:
            if not isinstance(raw, dict):
                raise ValueError(f"no object but {str(raw)[:80]}")
            self._add({key: value for key, value in raw.items() if value is not None})
        except ValueError as error:
            raise ValueError(f"messages[{index}]: {error}") from None

    def _add(self, raw: dict[str, Any]) -> None:
        written = raw.get("role", raw.get("from"))
        role = ROLES.get(written) if isinstance(written, str) else None
        content = raw.get("content", raw.get("value", ""))
        count_unread(raw, {*_READ, *_FAILURE} if role == "tool" else _READ, _THOUGHTS,
                     self._passed_over)
        if role != "tool":  # whose parts are data unless all are texts
            self._count_parts(content)
        if role is None:
            raise ValueError(f"the role {written!r} is none of {', '.join(ROLES)}")
        masked = any(raw.get(key) in (0, False) for key in _MASKS)
        if role == "system":
            self._passed_over["system text"] += 1
        elif role == "tool":
            # only in OpenAI's older form a name stands in place of an id
            name = raw.get("name") if written == "function" else None
            self._add_results(content, raw.get("tool_call_id") or None, name, _is_failure(raw))
        elif role == "user":
            self._add_user(content)
        elif role == "call":
            self._say("", [(None, call) for call in read_calls(_as_text(content))], masked)
        else:
            self._add_assistant(raw, content, masked)

    def _count_parts(self, content: Any) -> None:
        for part in content if isinstance(content, list) else []:
            if _is_part(part, *_READ_OF_PARTS):
                count_unread(part, _READ_OF_PARTS[part["type"]], _KNOWN_OF_PARTS, self._passed_over)

    def _add_user(self, content: Any) -> None:
        text = _text_of([part for part in content if not _is_part(part, "tool_result")]
                        if isinstance(content, list) else content)
        for part in content if isinstance(content, list) else []:
            if _is_part(part, "tool_result"):
                self._add_results(part.get("content", ""), part.get("tool_use_id"),
                                  failed=_is_failure(part))
        if self._waiting and _RESPONSE.search(text) and not _RESPONSE.sub("", text).strip():
            self._add_results(text)
        elif text or not isinstance(content, list):
            # the user has gone on: no result comes any more
            self._waiting = []
            self.turns.append(Turn(role="user", content=text))

    def _add_assistant(self, raw: dict[str, Any], content: Any, masked: bool) -> None:
        parts = content if isinstance(content, list) else []
        words = [part for part in parts if not _is_part(part, *_CALL_PARTS, *_THOUGHT_PARTS)]
        text = _text_of(words if parts else content)
        calls = [(call.get("id") if isinstance(call, dict) else None, read_call(call))
                 for call in _calls_of(raw)]
        calls += [(part.get("id"), call) for part in parts if _is_part(part, *_CALL_PARTS)
                  for call in _calls_of_part(part)]
        words, in_text = read_assistant_text(text, self._names)
        if calls and in_text:
            raise ValueError("calls stand in their own field and in the text")
        self._say(words, calls or [(None, call) for call in in_text], masked)

    def _say(self, text: str, calls: list[tuple[str | None, Call]], masked: bool) -> None:
        """An assistant's turn; one that goes on with calls at once is one turn."""
        made = [ToolCall(id=str(id or f"call_{len(self.turns)}_{number}"), function=Function(
                    name=call.name, arguments=json.dumps(call.arguments)))
                for number, (id, call) in enumerate(calls)]
        last = self.turns[-1] if self.turns else None
        goes_on = last is not None and last.role == "assistant" and not (text and last.tool_calls)
        if made and goes_on:
            before = last.tool_calls or []
            for call in made:
                call.id += f"_{len(before)}" if call.id in {old.id for old in before} else ""
            last.tool_calls = [*before, *made]
            last.content = "\n".join(filter(None, (last.content, text)))
            last.weight = 0 if masked else last.weight
        else:
            last = Turn(role="assistant", content=text, tool_calls=made or None,
                        weight=0 if masked else 1)
            self.turns.append(last)
        self._waiting = list(last.tool_calls or [])

    def _add_results(self, content: Any, id: str | None = None, name: str | None = None,
                     failed: bool = False) -> None:
        """Results: one, or as many as calls are waiting, in their order."""
        if name is not None and id is None:
            id = next((call.id for call in self._waiting if call.function.name == name), None)
            if id is None and self._waiting:
                raise ValueError(f"a result of {name!r}, which no call before it names")
        if id is not None and all(call.id != id for call in self._waiting):
            self.turns.append(Turn(role="tool", tool_call_id=id))  # read_messages refuses it
            return
        several = _results_of(content, len(self._waiting)) if id is None else [_as_text(content)]
        for result in several:
            call = next((call for call in self._waiting if id in (None, call.id)), None)
            if call is not None:
                self._waiting.remove(call)
            self.turns.append(Turn(role="tool", content=result, tool_call_id=call and call.id,
                                   failed=failed))


def _is_failure(raw: dict[str, Any]) -> bool:
    """Whether a result's own keys say that it is an error."""
    return raw.get("status") == "error" or any(raw.get(key) in (True, "true")
                                               for key in ("is_error", "isError"))


def _calls_of(raw: dict[str, Any]) -> list[Any]:
    """What stands in the fields for calls; Parquet and some trainers have JSON text in them."""
    calls = raw.get("tool_calls") or []
    calls = read_json(calls) if isinstance(calls, str) else calls
    if not isinstance(calls, list):
        raise ValueError(f'"tool_calls" must be a list, not {str(calls)[:80]}')
    return [*calls, *([raw["function_call"]] if raw.get("function_call") else [])]


def _calls_of_part(part: dict[str, Any]) -> list[Call]:
    """Anthropic's tool_use, or LLaMA-Factory's tool_call with JSON text."""
    if part["type"] == "tool_call":
        return read_calls(_as_text(part.get("value", "")))
    return [read_call({"name": part.get("name"), "arguments": part.get("input")})]


def read_json(text: str) -> Any:
    """A value that its record holds as JSON text.

    Raises:
        ValueError: it is none.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, ValueError) as error:
        raise ValueError(f"no JSON ({error}): {text[:80]!r}") from None


def _is_part(part: Any, *kinds: str) -> bool:
    return isinstance(part, dict) and part.get("type") in kinds


def _text_of(content: Any) -> str:
    """A text, or the texts of its parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise ValueError(f"the content is no text but {str(content)[:80]}")
    texts = [part if isinstance(part, str) else part.get("text", part.get("value"))
             if _is_part(part, *_TEXT_PARTS) else None
             for part in content]
    if not all(isinstance(text, str) for text in texts):
        wrong = content[texts.index(None)] if None in texts else content
        raise ValueError(f"a part of the content is no text: {str(wrong)[:80]}")
    return "".join(texts)


def _as_text(content: Any) -> str:
    """A result as text: parts of texts joined, any other value as JSON."""
    try:
        return _text_of(content)
    except ValueError:
        return json.dumps(content, ensure_ascii=False)


def _results_of(content: Any, count: int) -> list[str]:
    """The results in one value: <tool_response> blocks, or a list with an item for each call."""
    if isinstance(content, str):
        blocks = _RESPONSE.findall(content)
        if blocks and not _RESPONSE.sub("", content).strip():
            return blocks
        try:
            items = read_json(content)
        except ValueError:
            return [content]
        if count == 1 and not (items and isinstance(items, list) and _is_named_result(items[0])):
            return [content]
    elif isinstance(content, list) and not all(_is_part(part, *_TEXT_PARTS) for part in content):
        items = content
    else:
        return [_as_text(content)]
    if not isinstance(items, list) or len(items) != count:
        return [_as_text(content)]
    return [_as_text(item["results"] if _is_named_result(item) else item) for item in items]


def _is_named_result(item: Any) -> bool:
    """As the released code and ToolACE write one."""
    return isinstance(item, dict) and item.keys() == {"name", "results"}
