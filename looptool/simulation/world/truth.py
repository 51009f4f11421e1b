"""The right next step of a conversation in the simulated world: a pure function of its tools and
messages."""
from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from looptool.calling.match import tool_match
from looptool.records import Call, Message, Tool
from looptool.simulation.world.catalogue import Known, Split, catalogue, lore_of
from looptool.simulation.world.language import (
    REFERENCE, Phrases, Request, Wording, hear_request, hear_slots, phrases)

WORLDS: dict[Wording, Split] = {"train": "train", "heldout": "heldout", "chinese": "train"}
"""Who may be heard, and the catalogue that they know beside the tools at hand."""


@dataclass(frozen=True)
class Truth:
    """The right next step."""

    kind: str
    """"call"; or why it is plain text: "ask" (a required value is missing), "done", "chat",
    "no_tool"."""
    calls: tuple[Call, ...] = ()
    requests: tuple[Request, ...] = ()
    """What the user wants by now, done or not; empty for "chat" and "no_tool"."""
    coming: tuple[tuple[Tool, str], ...] = ()
    """Parameters of the next step whose values the results of these calls must hold."""

    def accepts(self, answer: Message, tools: Collection[str] = ()) -> bool:
        """Whether an answer has exactly these calls, in any order; any words are right where no
        call is. By the names of the `tools` a call without its tags is known from words."""
        right = Message(role="assistant", calls=list(self.calls))
        return tool_match(answer, right, tools=tools) == "match"


@dataclass
class _State:
    """What the user wants now and how far it is done."""

    kind: str = "unknown"
    requests: tuple[Request, ...] = ()
    done: int = 0
    results: tuple[str, ...] = ()

    @property
    def steps(self) -> list[tuple[Request, ...]]:
        return ([(request,) for request in self.requests] if self.kind == "sequence"
                else [self.requests])


def truth(tools: Iterable[Tool], messages: Iterable[Message]) -> Truth | None:
    """What the assistant has to do now; None where this world cannot tell (text that it did not
    speak)."""
    tools, state, batch = list(tools), _State(), ()
    for message in messages:
        if message.role == "tool":
            batch = (*batch, message.content)
            continue
        state, batch = _after_results(state, batch), ()
        if message.role == "user":
            state = _hear(message.content, tools, state)
    return _next_step(_after_results(state, batch))


def _after_results(state: _State, batch: tuple[str, ...]) -> _State:
    """The state after one turn's results; with an error among them the step is still to be done."""
    if not batch or any(map(reports_error, batch)):
        return state
    return replace(state, done=state.done + 1, results=batch)


def reports_error(result: str) -> bool:
    """Whether a tool result is a JSON object with an "error"."""
    try:
        content = json.loads(result)
    except ValueError:
        return False
    return isinstance(content, dict) and "error" in content


def _next_step(state: _State) -> Truth | None:
    if state.kind in ("chat", "no_tool"):
        return Truth(state.kind)
    if not state.requests:
        return None
    if any(request.missing for request in state.requests):
        return Truth("ask", requests=state.requests)
    if state.done >= len(state.steps):
        return Truth("done", requests=state.requests)
    step, later = state.steps[state.done], state.steps[state.done + 1:]
    coming = tuple((request.tool, name) for requests in later[:1] for request in requests
                   for name, value in request.arguments.items() if value == REFERENCE)
    calls = [_resolve(request, state.results) for request in step]
    return None if None in calls else Truth("call", tuple(calls), state.requests, coming)


def _resolve(request: Request, results: tuple[str, ...]) -> Call | None:
    arguments = {}
    for name, value in request.arguments.items():
        if value == REFERENCE:
            found = [content[name] for content in map(_result_fields, results) if name in content]
            if not found:
                return None
            value = found[0]
        arguments[name] = value
    return Call(name=request.tool.name, arguments=arguments)


def _result_fields(result: str) -> dict[str, Any]:
    try:
        content = json.loads(result)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def _hear(text: str, tools: list[Tool], before: _State) -> _State:
    """The state after the user said `text`."""
    known = [(tool, lore_of(tool)) for tool in tools]
    taken = frozenset(intent for _, lore in known for intent in lore.intents)
    for wording, split in WORLDS.items():
        words = phrases(wording)
        if text in words.chats:
            return _State("chat")
        heard = hear_request(text, known, words)
        if heard is not None:
            return _State(heard[0], tuple(heard[1]))
        if before.requests:
            supplied = _hear_supplied(text, before, words)
            if supplied is not None:
                return supplied
        if hear_request(text, _foreign(taken, split), words) is not None:
            return _State("no_tool")
    return _State()


def _hear_supplied(text: str, before: _State, words: Phrases) -> _State | None:
    """An answer to a question about a missing value, or the last request once more with other
    values."""
    for index, request in enumerate(before.requests):
        patterns = words.answers if request.missing else words.agains
        arguments = hear_slots(text, patterns, request.tool, words)
        if arguments is None:
            continue
        changed = Request(request.tool, {**request.arguments, **arguments})
        if request.missing:
            requests = (*before.requests[:index], changed, *before.requests[index + 1:])
            return _State(before.kind, requests)
        return _State("single", (changed,))
    return None


@lru_cache(maxsize=1000)
def _foreign(taken: frozenset[str], split: Split) -> tuple[Known, ...]:
    """The catalogue without the tools that are asked for in one of the ways that are `taken`."""
    known = ((tool, lore_of(tool)) for tool in catalogue(split))
    return tuple((tool, lore) for tool, lore in known if taken.isdisjoint(lore.intents))
