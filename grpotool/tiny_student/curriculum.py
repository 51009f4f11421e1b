"""Endless training tasks for the tiny student: random tools in random words, and tools of the
training catalogue.

The phrases are the lessons' own; of the held-out catalogue, phrases and values nothing is used.
"""
from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache

from grpotool.tiny_student.habits import habitual
from grpotool.tiny_student.wording import random_phrases, random_word
from looptool.records import Message, Tool
from looptool.simulation.world.catalogue import QUALIFIERS, catalogue, with_qualifier, words
from looptool.simulation.world.language import Voice
from looptool.simulation.world.tasks import (
    Author, Draft, assistant, draw_tools, foreign_tools, result_of)


@dataclass(frozen=True)
class Level:
    """How hard the lessons are."""

    tools: tuple[int, int]
    """From so few to so many a lesson."""
    parameters: tuple[int, int]
    """From so few to so many a tool."""
    kinds: dict[str, int]
    """Kinds of tasks, with their weights."""
    plain: bool = False
    """Known words, plain values, nothing optional, no odd wording, one task a lesson."""
    sources: dict[str, int] = field(default_factory=lambda: {"words": 1})
    """Where tools come from, with weights: random "words", "mixed" from the parts of the training
    catalogue, or taken from this "catalogue" as they are."""
    oddity: float = 0.35
    """How much of a person's wording nobody has used before."""
    objects: float = 0.0
    """Share of the parameters that are objects, beside those that come by themselves."""
    habits: bool = False
    """Whether the assistant has its bad habits in the last reply, which alone is learnt then."""


KIND_WEIGHTS = {"single": 4, "optional": 2, "parallel": 4, "first_step": 2, "second_step": 2,
                "ask": 3, "answered": 3, "again": 3, "no_tool": 2, "alike": 4, "nested": 8,
                "retry": 2, "done": 1, "chat": 1}
"""How often each kind is drawn in lessons; where the tools do not allow it, mostly for "nested",
another one is."""
EVERYTHING = Level((1, 3), (0, 4), KIND_WEIGHTS, sources={"words": 1, "mixed": 2, "catalogue": 2})
LEVELS = (Level((1, 1), (1, 2), {"single": 1}, plain=True),
          Level((1, 1), (2, 5), {"single": 1}, plain=True),
          Level((1, 2), (0, 4), {"single": 6, "parallel": 2, "ask": 1, "answered": 1},
                sources={"words": 1, "mixed": 2}),
          EVERYTHING)
"""The lessons, one after the other: copy; tell which value belongs to which name; choose the tool;
everything.

A small model learns to copy from easy tasks in minutes and from hard ones in hours, and which value
belongs to which name from tasks with little but names and values.
"""
REVIEW = Level((1, 3), (0, 4),
               {**KIND_WEIGHTS, "optional": 4, "parallel": 6, "ask": 4, "first_step": 4,
                "second_step": 5, "again": 4},
               sources={"words": 1, "mixed": 2, "catalogue": 2}, oddity=0.5)
"""Everything again, more of what is hard, in words that are mostly new: it is by unheard words that
held-out tasks are missed."""
HARD = Level((2, 3), (1, 5),
             {**KIND_WEIGHTS, "optional": 8, "parallel": 14, "nested": 30, "alike": 10,
              "second_step": 8, "again": 8},
             sources={"words": 3, "mixed": 3, "catalogue": 1}, oddity=0.5, objects=0.15)
"""What is still missed after the review, most of all objects and calls of two tools at once."""
HABITS = Level((1, 3), (0, 4), {**KIND_WEIGHTS, "single": 8, "parallel": 8, "retry": 4, "done": 3,
                                "chat": 6},
               sources={"mixed": 1, "catalogue": 2}, habits=True)
"""The last lesson: everything once more, as text teaches it whose authors are careless."""


def styled(parts: list[str], style: int) -> str:
    """The words as a name, in one of four styles of the paper's constraint tree."""
    if style == 0:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return ("_", "-", "_", ".")[style].join(parts)


def restyled(name: str, style: int) -> str:
    """A name in another style."""
    return styled(words(name).split(), style)


PLAIN = {"string": 60, "integer": 30, "boolean": 10}
TYPES = {"string": 45, "integer": 15, "number": 8, "boolean": 9, "enum": 10, "array": 7,
         "object": 8}


def random_schema(rng: random.Random, level: Level, depth: int = 0) -> dict:
    """The JSON Schema of one parameter."""
    types = PLAIN if level.plain or depth else TYPES
    kind = ("object" if level.objects and not depth and rng.random() < level.objects
            else rng.choices(list(types), list(types.values()))[0])
    if kind == "enum":
        return {"type": "string",
                "enum": ["_".join(random_word(rng) for _ in range(rng.choice((1, 1, 2))))
                                            for _ in range(rng.randint(2, 4))]}
    if kind == "array":
        return {"type": "array", "items": {"type": rng.choice(("string", "string", "integer"))}}
    if kind == "object":
        return random_parameters(rng, rng.randint(1, 3), level, depth + 1)
    schema = {"type": kind}
    if not level.plain and rng.random() < 0.12:
        schema["default"] = {"string": "none", "integer": 10, "number": 0.5, "boolean": False}[kind]
    return schema


@lru_cache(maxsize=1)
def catalogue_parts() -> tuple[list[tuple[str, str]], list[tuple[str, dict]]]:
    """(name, description) of all tools of the training catalogue, and (name, schema) of all of
    their parameters."""
    tools = catalogue("train")
    return ([(tool.name, tool.description) for tool in tools],
            [entry for tool in tools for entry in tool.parameters["properties"].items()])


def mixed_tool(rng: random.Random, level: Level) -> Tool:
    """A tool that could exist: the name of one of the catalogue in another style, with parameters
    of others."""
    actions, parameters = catalogue_parts()
    name, description = rng.choice(actions)
    style = rng.randrange(4)
    drawn = {restyled(name, style): schema
             for name, schema in rng.sample(parameters, rng.randint(*level.parameters))}
    if level.objects and rng.random() < level.objects * len(drawn):
        name_of_object, schema = rng.choice([entry for entry in parameters
                                             if entry[1].get("type") == "object"])
        drawn[restyled(name_of_object, style)] = schema
    return Tool(name=restyled(name, style), description=description, parameters={
        "type": "object", "properties": drawn,
        "required": [name for name, schema in drawn.items()
                     if "default" not in schema and rng.random() < 0.65]})


def random_parameters(rng: random.Random, count: int, level: Level, depth: int = 0) -> dict:
    """A JSON Schema of type object with `count` parameters."""
    properties, required = {}, []
    for _ in range(count):
        parts = [random_word(rng, level.plain) for _ in range(rng.choice((1, 1, 2)))]
        about = parts + [random_word(rng)
                         for _ in range(0 if level.plain else rng.choice((0, 0, 1)))]
        if not level.plain:
            rng.shuffle(about)
        name = styled(parts, rng.randrange(4))
        properties[name] = {**random_schema(rng, level, depth),
                            "description": " ".join(about).capitalize()}
        if level.plain or rng.random() < 0.65 and "default" not in properties[name]:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def random_tool(rng: random.Random, level: Level) -> Tool:
    """A tool that does not exist."""
    parts = [random_word(rng, level.plain) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
    sentence = parts + [random_word(rng, level.plain)
                        for _ in range(0 if level.plain else rng.randint(1, 5))]
    if not level.plain and rng.random() < 0.4:
        rng.shuffle(sentence)
    return Tool(name=styled(parts, rng.randrange(4)),
                description=" ".join(sentence).capitalize() + ".",
                parameters=random_parameters(rng, rng.randint(*level.parameters), level))


REPLIES = {"ask": "Which value should I use?", "done": "Done.",
           "no_tool": "No tool here can do that.", "chat": "You are welcome.",
           "retry": "That did not work."}
"""What the student is taught to say where it makes no call."""


def lesson_tools(rng: random.Random, level: Level) -> tuple[list[Tool], list[Tool]]:
    """The tools of a lesson, in one of three with a sibling, and others that a user may ask for in
    vain."""
    count = rng.randint(*level.tools)
    source = rng.choices(list(level.sources), list(level.sources.values()))[0]
    if source == "catalogue":
        tools = draw_tools(rng, catalogue("train"), count)
        foreign = foreign_tools(tools, "train")
    else:
        make = mixed_tool if source == "mixed" else random_tool
        tools = list(
            {tool.name: tool for tool in (make(rng, level) for _ in range(count))}.values())
        foreign = [make(rng, level)]
    if len(tools) > 1 and rng.random() < 0.35:
        like = random_sibling(rng, tools[0])
        tools = [*(tool for tool in tools[:-1] if tool.name != like.name), like]
        rng.shuffle(tools)
    return tools, foreign


def random_sibling(rng: random.Random, tool: Tool) -> Tool:
    """A tool like this one, by a qualifier of the training catalogue or by any word."""
    known = QUALIFIERS["train"]
    word = rng.choice([*known, *(random_word(rng, plain=True) for _ in known)])
    phrase = known.get(word) or f"{rng.choice(('in', 'as a', 'on', 'from', 'with', 'by'))} {word}"
    return with_qualifier(tool, word, phrase)


@dataclass(frozen=True)
class Lesson:
    """A conversation of several tasks."""

    tools: list[Tool]
    date: str
    messages: list[Message]
    learnt: list[bool]
    """Which of the messages are to be learnt: the assistant's, but for what a lesson on habits has
    before its last reply."""


def draw_lesson(rng: random.Random, level: Level) -> Lesson:
    """One to four tasks with the same tools, one after the other."""
    tools, foreign = lesson_tools(rng, level)
    wording = random_phrases(rng, level.oddity, level.plain)
    author = Author(rng, tools, foreign, lambda: Voice(rng, wording))
    messages: list[Message] = []
    count = 1 if level.plain else rng.choice((1, 1, 2, 3) if level.habits else (1, 2, 3, 4))
    for left in reversed(range(count)):
        kind, (said, right) = draw_draft(rng, level, author)
        is_end = level.habits and not left
        calls = habitual(rng, tools, said, kind, right) if is_end else list(right.calls)
        messages += [*said, assistant(calls, "" if calls else REPLIES[kind])]
        if calls and not level.plain and not is_end:
            messages += [*(result_of({}) for _ in calls), assistant([], REPLIES["done"])]
    learnt = [message.role == "assistant" and not level.habits for message in messages[:-1]]
    date = f"{rng.randint(2020, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return Lesson(tools, date, messages, [*learnt, True])


def draw_draft(rng: random.Random, level: Level, author: Author) -> tuple[str, Draft]:
    """A kind that the author's tools allow, and a task of it."""
    while True:
        kind = rng.choices(list(level.kinds), list(level.kinds.values()))[0]
        draft = author.write(kind)
        if draft is not None:
            return kind, draft
