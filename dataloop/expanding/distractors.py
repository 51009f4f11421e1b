"""New samples of an error seed by rules, with a label that is right by construction and no teacher
at all.

In: an error seed, whose label counts as right. Out: samples in which the same label is right, and
harder to see (expand.distractors, off in the paper; after COVERT, arXiv 2604.09813, which
synthesizes tasks with distractors, indirect requests and faulty results, and keeps their
verification exact):

like_tools     every tool that the label calls gets a like one beside it, named as another
indirect       the user asks, the assistant asks whether it shall, and the user says yes
failed_result  the label was tried already and reported a passing error: it is to be tried again
"""
from __future__ import annotations

import json
import random
from collections.abc import Callable

from msgspec.structs import replace

from looptool.ids import sample_id
from looptool.records import ErrorSeed, Message, Sample, Tool

QUALIFIERS = {"draft": "as a draft", "archive": "in the archive", "bulk": "in bulk",
              "trial": "as a trial"}
"""A word behind a tool's name, and what it adds to the description: another tool, which nobody
means without saying so."""
FAILURE = {"error": "timeout", "hint": "the service is available again"}
CONFIRMATIONS = (("Shall I do that now?", "Yes, please do."),
                 ("Do you want me to go on?", "Yes, go on."),
                 ("Is that what you need?", "Exactly, please."))


def _like_tools(sample: Sample, rng: random.Random) -> Sample | None:
    """The tools, each called one with a like one at a random place beside it."""
    called = {call.name for call in sample.label.calls}
    names, tools = {tool.name for tool in sample.tools}, list(sample.tools)
    for tool in sample.tools:
        like = qualified(tool, rng.choice(list(QUALIFIERS)))
        # a like tool that an earlier round has put in gets no like one of its own
        is_plain = not tool.name.lower().endswith(tuple(QUALIFIERS))
        if tool.name in called and is_plain and like.name not in names:
            tools.insert(tools.index(tool) + rng.randint(0, 1), like)
    return replace(sample, tools=tools) if len(tools) > len(names) else None


def qualified(tool: Tool, word: str) -> Tool:
    """Another tool with the same parameters: book_flight -> book_flight_draft, bookFlight ->
    bookFlightDraft."""
    separator = next((mark for mark in "_-" if mark in tool.name), "")
    name = tool.name + separator + (word if separator else word.capitalize())
    return replace(tool, name=name,
                   description=f"{tool.description.rstrip('. ')} {QUALIFIERS[word]}.")


def _indirect(sample: Sample, rng: random.Random) -> Sample | None:
    """The request, confirmed; nothing where the user has not just spoken."""
    if sample.messages[-1].role != "user":
        return None
    question, answer = rng.choice(CONFIRMATIONS)
    return replace(sample, messages=[*sample.messages, Message(role="assistant", content=question),
                                     Message(role="user", content=answer)])


def _failed_result(sample: Sample, rng: random.Random) -> Sample | None:
    """The label's calls with results that report an error which will not last."""
    result = Message(role="tool", content=json.dumps(FAILURE), failed=True)
    tried = Message(role="assistant", calls=sample.label.calls)
    return replace(sample, messages=[*sample.messages, tried, *[result] * len(sample.label.calls)])


WAYS: dict[str, Callable[[Sample, random.Random], Sample | None]] = {
    # as many as expand.distractors allows (looptool/config.py)
    "like_tools": _like_tools, "failed_result": _failed_result, "indirect": _indirect}


def distracted(seed: ErrorSeed, number: int, round: int, key: str) -> Sample | None:
    """The `number`th sample of a seed, each in another way; None where the seed does not allow it,
    or its label calls nothing."""
    old = seed.sample
    if not old.label.calls:
        return None
    rng = random.Random(f"{key}:{old.id}:{number}")
    # drawn without `number`, so that no two numbers of a seed have the same way
    ways = random.Random(f"{key}:{old.id}:ways").sample(list(WAYS), len(WAYS))
    way = ways[number]
    new = WAYS[way](old, rng)
    return new and replace(new, id=sample_id(new.tools, new.date, new.messages, new.label),
                           parent=old.id, origin="expanded", round=round,
                           source=f"distractor:{way}")
