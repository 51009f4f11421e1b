"""Endless training tasks for the tiny student: random tools in random words, and tools of the training catalogue.

The phrases are the lessons' own; of the held-out catalogue, phrases and values nothing is used.
"""
from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace
from functools import lru_cache

from grpotool.tiny_student.wording import LooseVoice, random_phrases, random_word
from looptool.records import Call, Message, Tool
from looptool.simulation.catalogue import catalogue, words
from looptool.simulation.tasks import KINDS, TEXT_KINDS, Author, draw_tools, result_of

@dataclass(frozen=True)
class Level:
    """How hard the lessons are."""

    tools: int
    """At most so many a task."""
    parameters: tuple[int, int]
    """From so few to so many a tool."""
    kinds: dict[str, int]
    """Kinds of tasks, with their weights."""
    plain: bool = False
    """Known words, plain values, nothing optional, no odd wording."""
    sources: dict[str, int] = field(default_factory=lambda: {"words": 1})
    """Where tools come from, with weights: random "words", "mixed" from the parts of the training catalogue, or taken
    from this "catalogue" as they are."""
    looseness: float = 0.0
    """How often people name a tool or a parameter by some of its words."""
    careless: float = 0.0
    """How often the assistant writes all values of a reply's calls as strings, whatever the tool's schema says."""


EVERYTHING = Level(4, (0, 4), KINDS, sources={"words": 1, "mixed": 2, "catalogue": 2}, looseness=0.25)
LEVELS = (Level(1, (1, 2), {"single": 1}, plain=True),
          Level(1, (2, 6), {"single": 1}, plain=True),
          Level(3, (0, 4), {"single": 6, "parallel": 2, "ask": 1, "answered": 1}, sources={"words": 1, "mixed": 2}),
          EVERYTHING,
          replace(EVERYTHING, kinds={kind: weight for kind, weight in KINDS.items() if kind not in TEXT_KINDS},
                  careless=0.6))
"""The lessons, one after the other: copy; tell which value belongs to which name; choose the tool; everything; bad habits.

A small model learns to copy from easy tasks in minutes and from hard ones in hours, and which value belongs to which
name from tasks with little but names and values. The last level teaches what careless text teaches any base model, to
write values as strings and to call where no call is right: skills that the student has but does not show, for rewards
to bring out.
"""


def styled(parts: list[str], style: int) -> str:
    """The words as a name, in one of four styles of the paper's constraint tree."""
    if style == 0:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return ("_", "-", "_", ".")[style].join(parts)


def restyled(name: str, style: int) -> str:
    """A name in another style."""
    return styled(words(name).split(), style)


PLAIN = {"string": 60, "integer": 30, "boolean": 10}
TYPES = {"string": 45, "integer": 15, "number": 8, "boolean": 9, "enum": 10, "array": 9, "object": 4}


def random_schema(rng: random.Random, level: Level, depth: int = 0) -> dict:
    """The JSON Schema of one parameter."""
    types = PLAIN if level.plain or depth else TYPES
    kind = rng.choices(list(types), list(types.values()))[0]
    if kind == "enum":
        return {"type": "string", "enum": ["_".join(random_word(rng) for _ in range(rng.choice((1, 1, 2))))
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
    """(name, description) of all tools of the training catalogue, and (name, schema) of all of their parameters."""
    tools = catalogue("train")
    return ([(tool.name, tool.description) for tool in tools],
            [entry for tool in tools for entry in tool.parameters["properties"].items()])


def mixed_tool(rng: random.Random, level: Level) -> Tool:
    """A tool that could exist: the name of one of the catalogue in another style, with parameters of others."""
    actions, parameters = catalogue_parts()
    name, description = rng.choice(actions)
    style = rng.randrange(4)
    drawn = {restyled(name, style): schema for name, schema in rng.sample(parameters, rng.randint(*level.parameters))}
    return Tool(name=restyled(name, style), description=description, parameters={
        "type": "object", "properties": drawn,
        "required": [name for name, schema in drawn.items() if "default" not in schema and rng.random() < 0.65]})


def random_parameters(rng: random.Random, count: int, level: Level, depth: int = 0) -> dict:
    """A JSON Schema of type object with `count` parameters."""
    properties, required = {}, []
    for _ in range(count):
        parts = [random_word(rng, level.plain) for _ in range(rng.choice((1, 1, 2)))]
        about = parts + [random_word(rng) for _ in range(0 if level.plain else rng.choice((0, 0, 1)))]
        if not level.plain:
            rng.shuffle(about)
        name = styled(parts, rng.randrange(4))
        properties[name] = {**random_schema(rng, level, depth), "description": " ".join(about).capitalize()}
        if level.plain or rng.random() < 0.65 and "default" not in properties[name]:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def random_tool(rng: random.Random, level: Level) -> Tool:
    """A tool that does not exist."""
    parts = [random_word(rng, level.plain) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
    sentence = parts + [random_word(rng, level.plain) for _ in range(0 if level.plain else rng.randint(1, 5))]
    if not level.plain and rng.random() < 0.4:
        rng.shuffle(sentence)
    return Tool(name=styled(parts, rng.randrange(4)), description=" ".join(sentence).capitalize() + ".",
                parameters=random_parameters(rng, rng.randint(*level.parameters), level))


REPLIES = {"ask": "Which value should I use?", "done": "Done.", "no_tool": "No tool here can do that.",
           "chat": "You are welcome."}
"""What the student is taught to say where no call is right."""


def lesson_tools(rng: random.Random, level: Level) -> tuple[list[Tool], list[Tool]]:
    """The tools of a task, and others that a user may ask for in vain."""
    count = rng.randint(1, level.tools)
    source = rng.choices(list(level.sources), list(level.sources.values()))[0]
    if source == "catalogue":
        tools = draw_tools(rng, catalogue("train"), count + 1)
        return tools[1:], tools[:1]
    make = mixed_tool if source == "mixed" else random_tool
    tools = list({tool.name: tool for tool in (make(rng, level) for _ in range(count))}.values())
    return tools, [make(rng, level)]


def in_strings(call: Call) -> Call:
    """The call as somebody writes it who does not look at types: 5 becomes "5", ["a", "b"] becomes "a, b"."""
    def text(value: object) -> str:
        return ", ".join(map(text, value)) if isinstance(value, list) else \
            value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return Call(name=call.name, arguments={name: text(value) for name, value in call.arguments.items()})


@dataclass(frozen=True)
class Lesson:
    """A conversation of several tasks; every assistant turn in it is right, but for the types of careless levels."""

    tools: list[Tool]
    date: str
    messages: list[Message]


def draw_lesson(rng: random.Random, level: Level) -> Lesson:
    """One to four tasks with the same tools, one after the other."""
    tools, foreign = lesson_tools(rng, level)
    wording = random_phrases(rng, level.plain)
    author = Author(rng, tools, foreign, lambda: LooseVoice(rng, wording, level.looseness))
    messages: list[Message] = []
    for _ in range(1 if level.plain else rng.choice((1, 1, 2, 3))):
        draft = None
        while draft is None:
            kind = rng.choices(list(level.kinds), list(level.kinds.values()))[0]
            draft = author.write(kind)
        said, calls = draft
        written = [in_strings(call) for call in calls] if rng.random() < level.careless else calls
        messages += [*said, Message(role="assistant", calls=written, content="" if calls else REPLIES[kind])]
        if calls and not level.plain:
            messages += [*(result_of({}) for _ in calls), Message(role="assistant", content=REPLIES["done"])]
    date = f"{rng.randint(2020, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return Lesson(tools, date, messages)
