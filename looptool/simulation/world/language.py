"""What simulated people say, and the ear that understands it again.

`Voice.say_*` writes a sentence with random wording; `hear_*` reads any sentence that some voice
could have said. Whoever speaks checks that the sentence is heard as it was meant (see tasks.py), so
a sentence is never ambiguous.
"""
from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, cache
from typing import Any, Literal

from looptool.records import Tool
from looptool.simulation.world.catalogue import HERE, Known, Lore, Slot, lore_of, read_yaml
from looptool.simulation.world.values import UNREADABLE, Ear, Style, read_value, say_value


Wording = Literal["train", "heldout", "chinese"]
"""A section of phrases.yaml."""


class Reference:
    """The value of an argument that the previous call's result holds under the parameter's name."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Reference)


REFERENCE = Reference()


@dataclass(frozen=True)
class Request:
    """One call that somebody wants; an argument may be REFERENCE."""

    tool: Tool
    arguments: dict[str, Any]

    @property
    def missing(self) -> list[str]:
        """Required parameters without a value."""
        return [name for name in lore_of(self.tool).required if name not in self.arguments]


@dataclass(frozen=True)
class Phrases:
    """One section of phrases.yaml."""

    frames: tuple[str, ...]
    pairs: tuple[str, ...]
    sequences: tuple[str, ...]
    connectors: tuple[str, ...]
    joiners: tuple[str, ...]
    slots: tuple[str, ...]
    yes_no: tuple[tuple[str, str], ...]
    lists: tuple[str, ...]
    references: tuple[str, ...]
    answers: tuple[str, ...]
    agains: tuple[str, ...]
    chats: tuple[str, ...]

    @property
    def ear(self) -> Ear:
        return Ear({pair[index]: not index for pair in self.yes_no for index in (0, 1)}, self.lists)


@cache
def phrases(wording: Wording) -> Phrases:
    """How the people of one wording speak."""
    section = read_yaml(HERE / "phrases.yaml")[wording]
    section["yes_no"] = tuple(tuple(pair) for pair in section["yes_no"])
    return Phrases(**{name: tuple(entries) for name, entries in section.items()})


class Voice:
    """One person's wording, drawn once a sentence."""

    def __init__(self, rng: random.Random, words: Phrases):
        self.rng, self.words = rng, words
        self.style = Style(rng.choice(words.yes_no), rng.choice(words.lists))
        self.connector, self.joiner = rng.choice(words.connectors), rng.choice(words.joiners)

    def say_single(self, request: Request) -> str:
        return self._frame(self._request(request))

    def say_pair(self, first: Request, second: Request) -> str:
        return self._frame(self._both(self.words.pairs, first, second))

    def say_sequence(self, first: Request, second: Request) -> str:
        return self._frame(self._both(self.words.sequences, first, second))

    def say_answer(self, tool: Tool, arguments: dict[str, Any]) -> str:
        return _capital(_put(self.rng.choice(self.words.answers),
                             slots=self._slots(lore_of(tool), arguments)))

    def say_again(self, tool: Tool, arguments: dict[str, Any]) -> str:
        return _capital(_put(self.rng.choice(self.words.agains),
                             slots=self._slots(lore_of(tool), arguments)))

    def say_chat(self) -> str:
        return self.rng.choice(self.words.chats)

    def _frame(self, request: str) -> str:
        return _capital(_put(self.rng.choice(self.words.frames), request=request))

    def _both(self, patterns: tuple[str, ...], first: Request, second: Request) -> str:
        return _put(self.rng.choice(patterns), first=self._request(first),
                    second=self._request(second))

    def _request(self, request: Request) -> str:
        intent, lore = self._intent(request.tool), lore_of(request.tool)
        return (intent + self.connector + self._slots(lore, request.arguments) if request.arguments
                else intent)

    def _intent(self, tool: Tool) -> str:
        return self.rng.choice(lore_of(tool).intents)

    def _cue(self, slot: Slot) -> str:
        return self.rng.choice(slot.cues)

    def _slots(self, lore: Lore, arguments: dict[str, Any]) -> str:
        slots = {slot.name: slot for slot in lore.slots}
        return self.joiner.join(self._slot(slots[name], value) for name, value in arguments.items())

    def _slot(self, slot: Slot, value: Any) -> str:
        said = (self.rng.choice(self.words.references) if value == REFERENCE
                else say_value(value, slot, self.style))
        return _put(self.rng.choice(self.words.slots), cue=self._cue(slot), value=said)


def _put(pattern: str, **values: str) -> str:
    return re.sub(r"\{(\w+)\}", lambda place: values[place[1]], pattern)


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def hear_request(text: str, tools: Sequence[Known],
                 words: Phrases) -> tuple[str, list[Request]] | None:
    """("single" | "pair" | "sequence", requests) of a whole request to these tools, or None."""
    for frame in words.frames:
        request = _inside(frame, "{request}", text)
        if request is None:
            continue
        single = _hear_one(request, tools, words)
        if single is not None:
            return "single", [single]
        for kind, patterns in (("sequence", words.sequences), ("pair", words.pairs)):
            for pattern in patterns:
                both = _hear_both(pattern, request, tools, words)
                if both is not None:
                    return kind, both
    return None


def hear_slots(text: str, patterns: tuple[str, ...], tool: Tool,
               words: Phrases) -> dict[str, Any] | None:
    """The arguments that an answer or a repetition supplies for `tool`, or None."""
    for pattern in patterns:
        inner = _inside(pattern, "{slots}", text)
        if inner is not None:
            arguments = _hear_slots(inner, lore_of(tool).slots, words)
            if arguments is not None:
                return arguments
            arguments = _hear_slots(_lower(inner), lore_of(tool).slots, words)
            if arguments is not None:
                return arguments
    return None


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _inside(pattern: str, place: str, text: str) -> str | None:
    """What stands at `place` when `text` follows `pattern`; a capital first letter does not
    matter."""
    before, after = pattern.split(place)
    if len(text) < len(before) + len(after) or not text.endswith(after):
        return None
    if text[:len(before)].lower() != before.lower():
        return None
    inner = text[len(before):len(text) - len(after)]
    return inner if before else _lower(inner)


def _hear_both(pattern: str, text: str, tools: Sequence[Known],
               words: Phrases) -> list[Request] | None:
    head, middle = pattern.split("{first}")
    middle = middle.split("{second}")[0]
    if not text.lower().startswith(head):
        return None
    start = text.find(middle, len(head))
    while start >= 0:
        first = _hear_one(text[len(head):start], tools, words)
        if first is not None:
            second = _hear_one(text[start + len(middle):], tools, words)
            if second is not None:
                return [first, second]
        start = text.find(middle, start + 1)
    return None


def _hear_one(text: str, tools: Sequence[Known], words: Phrases) -> Request | None:
    for tool, lore in tools:
        for intent in lore.intents:
            if not text.startswith(intent):
                continue
            rest = text[len(intent):]
            if not rest:
                return Request(tool, {})
            for connector in words.connectors:
                if rest.startswith(connector):
                    arguments = _hear_slots(rest[len(connector):], lore.slots, words)
                    if arguments is not None:
                        return Request(tool, arguments)
    return None


@lru_cache(maxsize=100_000)
def _forms(cues: tuple[tuple[str, ...], ...],
           patterns: tuple[str, ...]) -> tuple[tuple[int, str, str], ...]:
    """(index of the slot, text before the value, text after it) of each way to name a slot, the
    longest first.

    The order matters: "song title X" names a song's title, not a song called "title X".
    """
    forms = [(index, *pattern.replace("{cue}", cue).split("{value}"))
             for index, names in enumerate(cues) for cue in names for pattern in patterns]
    return tuple(sorted(forms, key=lambda form: -len(form[1]) - len(form[2])))


def _hear_slots(text: str, slots: tuple[Slot, ...], words: Phrases) -> dict[str, Any] | None:
    for index, before, after in _forms(tuple(slot.cues for slot in slots), words.slots):
        if text.startswith(before):
            heard = _hear_value(text[len(before):], after, slots[index], slots, words)
            if heard is not None:
                return heard
    return None


def _hear_value(text: str, after: str, slot: Slot, slots: tuple[Slot, ...],
                words: Phrases) -> dict[str, Any] | None:
    """Arguments in `text`, which starts with the value of `slot`, then `after`, then a joiner or
    the end."""
    others = tuple(other for other in slots if other.name != slot.name)
    if text.endswith(after):
        value = _read(text[:len(text) - len(after)], slot, words)
        if value is not UNREADABLE:
            return {slot.name: value}
    for joiner in words.joiners:
        end = text.find(after + joiner)
        while end >= 0:
            value = _read(text[:end], slot, words)
            if value is not UNREADABLE:
                rest = _hear_slots(text[end + len(after) + len(joiner):], others, words)
                if rest is not None:
                    return {slot.name: value, **rest}
            end = text.find(after + joiner, end + 1)
    return None


def _read(text: str, slot: Slot, words: Phrases) -> Any:
    if text in words.references:
        return REFERENCE
    if (not slot.fields and not text.startswith('"')
            and any(joiner in text for joiner in words.joiners)):
        return UNREADABLE
    return read_value(text, slot, words.ear)
