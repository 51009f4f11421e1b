"""New samples from one error seed (section 4.4): generated, read, and checked by rules and by a
checker.

In: an ErrorSeed, its scenarios, and `ask`. Out: for each scenario a Sample, or the reason why there
is none. Bad output of the generator is a reason that is counted; it never becomes a sample.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from difflib import SequenceMatcher
from functools import partial
from pathlib import Path
from typing import Any, Literal

import msgspec

from dataloop.expanding.scenarios import Scenario
from dataloop.mixing.contamination import WORD
from looptool.calling.json_in_text import read_object, read_objects, read_only_objects
from looptool.calling.sample_rules import fault_kind, sample_faults
from looptool.ids import sample_id
from looptool.judging.checker import is_correct
from looptool.judging.question import Ask, Unread, ask_until_read, chat_about, one_line
from looptool.models.structured_outputs import ANY_OBJECT, TEXT, Form, closed, one_of
from looptool.records import Call, ErrorSeed, Message, Sample

GENERATOR_PROMPT = Path(__file__).resolve().parent / "prompts" / "generator.md"
Window = Callable[[Sample], bool]
"""Whether the whole prompt of a sample is within the student's limits."""


class Turn(msgspec.Struct):
    """One line of a generated conversation; whatever else a model writes into it is left aside."""

    role: Literal["user", "assistant", "tool"]
    content: str | dict[str, Any] | list[Any] = ""
    """A result may be written as JSON itself and not as text."""
    calls: list[Call] = []

    def message(self) -> Message | None:
        """None where nothing is said, or somebody else than the assistant calls."""
        text = self.content if isinstance(self.content,
                                          str) else json.dumps(self.content, ensure_ascii=False)
        if not (text.strip() or self.calls) or self.calls and self.role != "assistant":
            return None
        return Message(role=self.role, content=text, calls=self.calls)


class Written(msgspec.Struct):
    """What the generator writes, as one object."""

    conversation: list[Turn]
    answer: Turn


_TURN = {"type": "object", "properties": {
    "role": one_of("user", "assistant", "tool"), "content": TEXT,
    "calls": {"type": "array", "items": closed(name=TEXT, arguments=ANY_OBJECT)}},
    "required": ["role", "content"], "additionalProperties": False}
CANDIDATE = Form("example", strict=False, schema=closed(
    conversation={"type": "array", "items": _TURN, "minItems": 1}, answer=_TURN))


class Candidate(msgspec.Struct):
    """What the generator wrote, read."""

    messages: list[Message]
    label: Message


def read_candidate(text: str) -> Candidate | None:
    """The conversation and the answer of a reply; None where one is absent or a line is no
    message."""
    written = _written(text)
    if written is None:
        return None
    messages, label = [turn.message() for turn in written.conversation], written.answer.message()
    if not messages or None in messages or label is None or label.role != "assistant":
        return None
    return Candidate(messages, label)


def _written(text: str) -> Written | None:
    """In their two blocks, else in one object."""
    conversation, answer = _block(text, "conversation"), _block(text, "answer")
    if conversation is None or answer is None:
        return read_object(text, Written)
    turns, answers = read_only_objects(conversation, Turn), read_objects(answer, Turn)
    if turns is None or len(answers) != 1:  # of two answers neither is known to be the label
        return None
    return Written(turns, answers[0])


def _block(text: str, name: str) -> str | None:
    # the last one, whatever a model has said or tried before it
    start = text.rfind(f"<{name}>")
    end = text.find(f"</{name}>", start)
    return text[start + len(name) + 2:end].strip() if 0 <= start < end else None


def new_sample(seed: ErrorSeed, candidate: Candidate, scenario: Scenario, round: int) -> Sample:
    """The candidate as a sample, with the seed's tools and date, so with the seed's system
    prompt."""
    old = seed.sample
    return Sample(id=sample_id(old.tools, old.date, candidate.messages, candidate.label),
                  tools=old.tools, date=old.date, messages=candidate.messages,
                  label=candidate.label, origin="expanded", round=round, parent=old.id,
                  source=scenario.id)


def candidate_faults(sample: Sample) -> list[str]:
    """Tier 1: the rules of every sample, and what holds for a conversation that a model has made
    up.

    Codes beyond those of sample_faults: not_user_first, unknown_tool_in_history, stray_result (of
    no call), missing_result.
    """
    names = {tool.name for tool in sample.tools}
    faults = sample_faults(sample)
    faults += ["not_user_first"] if sample.messages[0].role != "user" else []
    faults += [f"unknown_tool_in_history:{call.name}" for message in sample.messages
               for call in message.calls if call.name not in names]
    return faults + _result_faults(sample.messages)


def _result_faults(messages: list[Message]) -> list[str]:
    """Each call has to be followed by its result, and each result to follow its call."""
    waiting = 0
    for message in messages:
        if message.role != "tool":
            if waiting:
                return ["missing_result"]
            waiting = len(message.calls)
        elif waiting:
            waiting -= 1
        else:
            return ["stray_result"]
    return ["missing_result"] if waiting else []


def spoken(messages: list[Message]) -> list[str]:
    """The words of the users in lower case, of Chinese its characters, without signs: equal for two
    copies that differ in dress."""
    return WORD.findall(
        " ".join(message.content for message in messages if message.role == "user").lower())


def likeness(words: list[str], others: list[str]) -> float:
    """Share of both that is the same words in the same order: 1 for equal ones."""
    # with autojunk difflib passes over words that are frequent, once a text has 200 of them
    return SequenceMatcher(None, words, others, autojunk=False).ratio()


class Family:
    """The new samples of one seed: siblings, which must not be copies of each other."""

    def __init__(self, seed: ErrorSeed, scenarios: list[Scenario], round: int, near_copy: float):
        self.seed, self.scenarios, self.round, self.near_copy = seed, scenarios, round, near_copy
        self._candidates: dict[int, asyncio.Task[Sample | Unread]] = {}

    async def member(self, index: int, ask: Ask, generator: str, checker: str | None,
                     fits: Window) -> Sample | str:
        """The new sample under the scenario `index`, or the reason why there is none.

        Args:
            checker: the model of the second tier; None leaves it out.

        Raises:
            CallFailed: a call got no answer.
        """
        candidate = partial(self._candidate, ask=ask, generator=generator)
        sample = await candidate(index)
        if isinstance(sample, str):
            return {"unreadable": "unreadable", "cut": "generator_cut"}[sample]
        faults = candidate_faults(sample)
        if faults:
            return fault_kind(faults[0])
        said = spoken(sample.messages)
        if likeness(said, spoken(self.seed.sample.messages)) >= self.near_copy:
            return "copy_of_seed"
        # against earlier scenarios only: of two copies the first stays, whichever reply comes first
        for earlier in [await candidate(other) for other in range(index)]:
            if isinstance(earlier, Sample) and likeness(
                    said, spoken(earlier.messages)) >= self.near_copy:
                return "copy_of_sibling"
        if not fits(sample):
            return "too_long"
        return sample if checker is None else await check(sample, ask, checker)

    async def _candidate(self, index: int, ask: Ask, generator: str) -> Sample | Unread:
        """What the generator wrote under one scenario, asked for once however many siblings compare
        with it."""
        if index not in self._candidates:
            self._candidates[index] = asyncio.create_task(
                generate(self.seed, self.scenarios[index], self.round, ask, generator))
        # siblings wait for the same task, so the end of one of them must not end it
        return await asyncio.shield(self._candidates[index])


async def generate(seed: ErrorSeed, scenario: Scenario, round: int, ask: Ask,
                   generator: str) -> Sample | Unread:
    """A new sample as the generator wrote it, unchecked; or why no reply can be read."""
    chat = chat_about(GENERATOR_PROMPT, seed.sample, right=one_line(seed.sample.label),
                      wrong=one_line(seed.wrong),
                      analysis=f"{seed.analysis}\n{seed.approach}".strip(), scenario=scenario.text)
    read = await ask_until_read(ask, "generator", chat, generator, read_candidate)
    return read if isinstance(read, str) else new_sample(seed, read[0], scenario, round)


async def check(sample: Sample, ask: Ask, checker: str) -> Sample | str:
    """Tier 2: the sample if the checker finds it correct, else the reason."""
    return {True: sample, False: "refused_by_checker", "unreadable": "unchecked",
            "cut": "checker_cut"}[await is_correct(sample, ask, checker)]
