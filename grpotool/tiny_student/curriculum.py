"""Endless training tasks for the tiny student: random tools in random words, and tools of the training catalogue.

The phrases are the lessons' own; of the held-out catalogue, phrases and values nothing is used.
"""
from __future__ import annotations

import random
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from looptool.records import Message, Sample, Tool
from looptool.simulation.catalogue import catalogue, read_yaml
from looptool.simulation.language import Phrases, Voice
from looptool.simulation.tasks import Author, draw_kind_of_task, draw_tools
from looptool.simulation.values import made_up_word

WORDS = tuple((Path(__file__).parent / "words.txt").read_text(encoding="utf-8").split())


def random_word(rng: random.Random) -> str:
    """A plain English word, or one that does not exist."""
    return rng.choice(WORDS) if rng.random() < 0.7 else made_up_word(rng)


def random_name(rng: random.Random, parts: list[str]) -> str:
    """The words as a name, in a style of the paper's constraint tree."""
    style = rng.randrange(4)
    if style == 0:
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return ("_", "-", "_", ".")[style].join(parts)


def random_schema(rng: random.Random, depth: int = 0) -> dict:
    """The JSON Schema of one parameter."""
    kind = rng.choices(("string", "integer", "number", "boolean", "enum", "array", "object"),
                       (45, 15, 8, 9, 10, 9, 0 if depth else 4))[0]
    if kind == "enum":
        return {"type": "string", "enum": ["_".join(random_word(rng) for _ in range(rng.choice((1, 1, 2))))
                                            for _ in range(rng.randint(2, 4))]}
    if kind == "array":
        return {"type": "array", "items": {"type": rng.choice(("string", "string", "integer"))}}
    if kind == "object":
        return random_parameters(rng, rng.randint(1, 3), depth + 1)
    schema = {"type": kind}
    if rng.random() < 0.12:
        schema["default"] = {"string": "none", "integer": 10, "number": 0.5, "boolean": False}[kind]
    return schema


def random_parameters(rng: random.Random, count: int, depth: int = 0) -> dict:
    """A JSON Schema of type object with `count` parameters."""
    properties, required = {}, []
    for _ in range(count):
        parts = [random_word(rng) for _ in range(rng.choice((1, 1, 2)))]
        about = parts + [random_word(rng) for _ in range(rng.randint(0, 2))]
        rng.shuffle(about)
        name = random_name(rng, parts)
        properties[name] = {**random_schema(rng, depth), "description": " ".join(about).capitalize()}
        if rng.random() < 0.65 and "default" not in properties[name]:
            required.append(name)
    return {"type": "object", "properties": properties, "required": required}


def random_tool(rng: random.Random) -> Tool:
    """A tool that does not exist."""
    parts = [random_word(rng) for _ in range(rng.choice((1, 2, 2, 2, 3)))]
    sentence = parts + [random_word(rng) for _ in range(rng.randint(1, 5))]
    if rng.random() < 0.4:
        rng.shuffle(sentence)
    return Tool(name=random_name(rng, parts), description=" ".join(sentence).capitalize() + ".",
                parameters=random_parameters(rng, rng.choices((0, 1, 2, 3, 4, 5), (4, 25, 30, 20, 12, 6))[0]))


@lru_cache(maxsize=1)
def lesson_phrases() -> Phrases:
    """The wording of the lessons."""
    section = read_yaml(Path(__file__).parent / "phrases.yaml")
    section["yes_no"] = [tuple(pair) for pair in section["yes_no"]]
    return Phrases(**{name: tuple(entries) for name, entries in section.items()})


def random_phrases(rng: random.Random) -> Phrases:
    """The wording of the lessons, now and then with words in between that nobody has used before."""
    words = lesson_phrases()
    if rng.random() < 0.7:
        return words
    mark = f" {random_word(rng)} "
    return replace(words, connectors=(mark,), joiners=(*words.joiners, f",{mark}"),
                   slots=(*words.slots[:9], f"{{cue}}{mark}{{value}}", f"{{value}}{mark}{{cue}}"),
                   frames=tuple(f"{random_word(rng).capitalize()} {frame[:1].lower()}{frame[1:]}" for frame in words.frames))


REPLIES = {"ask": "Which value should I use?", "done": "Done.", "no_tool": "No tool here can do that.",
           "chat": "You are welcome."}
"""What the student is taught to say where no call is right."""


CATALOGUE_SHARE = 0.5
"""Share of the tasks over tools of the training catalogue; the others are over tools that do not exist."""


def lesson_tools(rng: random.Random, most_tools: int) -> tuple[list[Tool], list[Tool]]:
    """1 to `most_tools` tools, and others that a user may ask for in vain."""
    count = rng.randint(1, most_tools)
    if rng.random() < CATALOGUE_SHARE:
        tools = draw_tools(rng, catalogue("train"), count + 1)
        return tools[1:], tools[:1]
    tools = list({tool.name: tool for tool in (random_tool(rng) for _ in range(count))}.values())
    return tools, [random_tool(rng)]


def draw_sample(rng: random.Random, most_tools: int) -> Sample:
    """One task over 1 to `most_tools` tools."""
    tools, foreign = lesson_tools(rng, most_tools)
    while True:
        kind = draw_kind_of_task(rng)
        draft = Author(rng, tools, foreign, lambda: Voice(rng, random_phrases(rng))).write(kind)
        if draft is not None:
            break
    messages, calls = draft
    label = Message(role="assistant", calls=calls, content="" if calls else REPLIES[kind])
    date = f"{rng.randint(2020, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    return Sample(id="", tools=tools, date=date, messages=messages, label=label, source=kind)
