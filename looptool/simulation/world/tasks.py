"""Tasks of the simulated world: a conversation and its right next step, by kind of difficulty."""
from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from looptool.records import Call, Message, Tool
from looptool.simulation.world.catalogue import Slot, Split, catalogue, lore_of, siblings
from looptool.simulation.world.kinds import kind_of
from looptool.simulation.world.language import REFERENCE, Request, Voice, phrases
from looptool.simulation.world.truth import Truth, truth
from looptool.simulation.world.values import draw_value

KINDS = {"single": 36, "optional": 18, "parallel": 10, "second_step": 6, "ask": 6, "first_step": 5,
         "answered": 5, "again": 5, "no_tool": 4, "alike": 4, "done": 3, "chat": 3, "nested": 2,
         "retry": 2}
"""Kinds of tasks and how often each is drawn: few kinds make up most of what people ask for, as in
real data."""

TEXT_KINDS = ("ask", "done", "no_tool", "chat")
"""Kinds whose right answer is plain text; the kind of their Truth is the same."""

TRANSIENT_ERROR = {"error": "service unavailable", "hint": "try again"}


class Unspeakable(Exception):
    """No sentence was found that is heard as it was meant; the tools are beyond this world's
    language."""


@dataclass(frozen=True)
class Task:
    """A conversation that waits for the assistant, and what it should do."""

    kind: str
    messages: list[Message]
    truth: Truth


def user(text: str) -> Message:
    """A user's turn."""
    return Message(role="user", content=text)


def assistant(calls: list[Call], text: str = "") -> Message:
    """An assistant's turn."""
    return Message(role="assistant", content=text, calls=calls)


def result_of(fields: dict[str, Any], error: bool = False) -> Message:
    """What a tool of this world answers."""
    content = TRANSIENT_ERROR if error else {"status": "ok", **fields}
    return Message(role="tool", content=json.dumps(content, ensure_ascii=False), failed=error)


def call_of(request: Request) -> Call:
    """The call that fulfils a request without references."""
    return Call(name=request.tool.name, arguments=request.arguments)


def missing_cues(tool: Tool, missing: Sequence[str]) -> list[str]:
    """What people call these parameters."""
    return [slot.cues[0] for slot in lore_of(tool).slots if slot.name in missing]


def draw_request(rng: random.Random, tool: Tool, optional: float = 0.15) -> Request:
    """A random complete request to one tool, in the order it is said: all required and this share
    of the other parameters."""
    slots = [slot for slot in lore_of(tool).slots if slot.required or rng.random() < optional]
    return Request(tool,
                   {slot.name: draw_value(rng, slot) for slot in rng.sample(slots, len(slots))})


def draw_sequence(rng: random.Random,
                  tools: Sequence[Tool]) -> tuple[Request, Request, dict[str, Any]] | None:
    """Two requests, to two tools if there are two, the second with a reference to the first's
    result, and the field that the result must hold.

    None where the drawn tool has no plain parameter to refer to.
    """
    second = draw_request(rng, rng.choice(tools))
    plain = [slot for slot in lore_of(second.tool).slots
             if slot.name in second.arguments and _is_plain(slot)]
    if not plain:
        return None
    slot = rng.choice(plain)
    first = rng.choice([tool for tool in tools if tool != second.tool] or tools)
    return (draw_request(rng, first),
            Request(second.tool, {**second.arguments, slot.name: REFERENCE}),
            {slot.name: draw_value(rng, slot)})


def _is_plain(slot: Slot) -> bool:
    return slot.kind.get("type") in ("string", "integer", "number")


def incomplete(rng: random.Random, request: Request) -> tuple[Request, dict[str, Any]] | None:
    """The request without one required value, and that value; None where nothing is required."""
    required = [name for name in lore_of(request.tool).required if name in request.arguments]
    if not required:
        return None
    name = rng.choice(required)
    left = {key: value for key, value in request.arguments.items() if key != name}
    return Request(request.tool, left), {name: request.arguments[name]}


def changed(rng: random.Random, request: Request) -> dict[str, Any] | None:
    """One argument of the request with another value; None where it has none."""
    slots = [slot for slot in lore_of(request.tool).slots if slot.name in request.arguments]
    if not slots:
        return None
    slot = rng.choice(slots)
    return {slot.name: draw_value(rng, slot)}


Draft = tuple[list[Message], Truth]
"""A conversation, and what its author means it to ask for."""


def means(*calls: Call) -> Truth:
    """That these calls are wanted."""
    return Truth("call", calls)


@dataclass(frozen=True)
class Author:
    """Writes conversations that wait for the assistant: one method a kind of task, None where the
    tools forbid it."""

    rng: random.Random
    tools: Sequence[Tool]
    foreign: Sequence[Tool]
    """Tools that a user may ask for in vain."""
    voice: Callable[[], Voice]

    def write(self, kind: str) -> Draft | None:
        return getattr(self, f"_{kind}")()

    def _request(self) -> Request:
        return draw_request(self.rng, self.rng.choice(self.tools))

    def _single(self) -> Draft:
        request = self._request()
        return [user(self.voice().say_single(request))], means(call_of(request))

    def _optional(self) -> Draft | None:
        return self._one(
            [tool for tool in self.tools if not all(slot.required for slot in lore_of(tool).slots)])

    def _nested(self) -> Draft | None:
        return self._one(
            [tool for tool in self.tools if any(slot.fields for slot in lore_of(tool).slots)])

    def _alike(self) -> Draft | None:
        return self._one([tool for tool in self.tools if siblings(tool, self.tools)], optional=0.15)

    def _one(self, tools: Sequence[Tool], optional: float = 0.7) -> Draft | None:
        """One call to one of these tools."""
        if not tools:
            return None
        request = draw_request(self.rng, self.rng.choice(tools), optional)
        return [user(self.voice().say_single(request))], means(call_of(request))

    def _parallel(self) -> Draft:
        pair = self.rng.sample(self.tools, 2) if len(self.tools) > 1 else [*self.tools, *self.tools]
        first, second = (draw_request(self.rng, tool) for tool in pair)
        return [user(self.voice().say_pair(first, second))], means(call_of(first), call_of(second))

    def _first_step(self) -> Draft | None:
        drawn = draw_sequence(self.rng, self.tools)
        return drawn and ([user(self.voice().say_sequence(*drawn[:2]))], means(call_of(drawn[0])))

    def _second_step(self) -> Draft | None:
        drawn = draw_sequence(self.rng, self.tools)
        if drawn is None:
            return None
        first, second, fields = drawn
        messages = [user(self.voice().say_sequence(first, second)), assistant([call_of(first)]),
                    result_of(fields)]
        return (messages,
                means(Call(name=second.tool.name, arguments={**second.arguments, **fields})))

    def _ask(self) -> Draft | None:
        parts = incomplete(self.rng, self._request())
        return parts and ([user(self.voice().say_single(parts[0]))],
                          Truth("ask", requests=parts[:1]))

    def _answered(self) -> Draft | None:
        parts = incomplete(self.rng, self._request())
        if parts is None:
            return None
        part, rest = parts
        question = f"Which {' and '.join(missing_cues(part.tool, list(rest)))} should I use?"
        messages = [user(self.voice().say_single(part)), assistant([], question),
                    user(self.voice().say_answer(part.tool, rest))]
        return messages, means(Call(name=part.tool.name, arguments={**part.arguments, **rest}))

    def _again(self) -> Draft | None:
        request = self._request()
        change = changed(self.rng, request)
        if change is None:
            return None
        call = call_of(request)
        messages = [user(self.voice().say_single(request)), assistant([call]), result_of({}),
                    assistant([], "Done."), user(self.voice().say_again(request.tool, change))]
        return messages, means(Call(name=call.name, arguments={**call.arguments, **change}))

    def _retry(self) -> Draft:
        request = self._request()
        call = call_of(request)
        return [user(self.voice().say_single(request)), assistant([call]),
                result_of({}, error=True)], means(call)

    def _done(self) -> Draft:
        request = self._request()
        return [user(self.voice().say_single(request)), assistant([call_of(request)]),
                result_of({})], Truth("done")

    def _no_tool(self) -> Draft:
        request = draw_request(self.rng, self.rng.choice(self.foreign))
        return [user(self.voice().say_single(request))], Truth("no_tool")

    def _chat(self) -> Draft:
        return [user(self.voice().say_chat())], Truth("chat")


def draw_kind_of_task(rng: random.Random) -> str:
    """A kind by its weight in KINDS."""
    return rng.choices(list(KINDS), list(KINDS.values()))[0]


def draw_task(rng: random.Random, tools: Sequence[Tool], split: Split, kind: str | None = None,
              wanted: Sequence[Tool] = ()) -> Task:
    """A random task over `tools`, in the words of one split; its truth and its kind are what the
    world hears in it.

    Args:
        wanted: the tools that users ask for; all of `tools` if empty.

    Raises:
        Unspeakable: 40 tries gave no sentence that is heard as it was meant.
    """
    author = Author(rng, wanted or tools, foreign_tools(tools, split),
                    lambda: Voice(rng, phrases(split)))
    for _ in range(40):
        chosen = kind or draw_kind_of_task(rng)
        draft = author.write(chosen)
        if draft is None:
            continue
        messages, meant = draft
        heard = truth(tools, messages)
        if heard is not None and heard.calls == meant.calls and kind_of(tools, messages) == chosen:
            return Task(chosen, messages, heard)
    raise Unspeakable(f"no {kind or 'task'} can be said about {[tool.name for tool in tools]}")


def foreign_tools(tools: Sequence[Tool], split: Split) -> list[Tool]:
    """Tools of the catalogue that users ask for in vain where these are at hand: those of other
    domains."""
    domains = {tool.domain for tool in tools}
    return [tool for tool in catalogue(split) if tool.domain not in domains]


def draw_tools(rng: random.Random, pool: Sequence[Tool], count: int) -> list[Tool]:
    """Tools of one task: some of one domain, so that they are alike, the rest from anywhere."""
    first = rng.choice(pool)
    alike = [tool for tool in pool if tool.domain == first.domain and tool.name != first.name]
    chosen = [first, *rng.sample(alike, min(len(alike), rng.randint(0, count - 1)))]
    names = {tool.name for tool in chosen}
    chosen += rng.sample([tool for tool in pool if tool.name not in names], count - len(chosen))
    rng.shuffle(chosen)
    return chosen
