"""The designer of tools (section 3.1), played by rules: <context>, <constraints> -> a <tool>.

Of the demands it knows those of the project's own constraint tree, by their words; parameters come
from the training catalogue, whatever the job is. At the rate of generator_error it forgets one
demand.
"""
from __future__ import annotations

import json
import random
from functools import lru_cache
from typing import Any

from looptool.simulation.roles.prompt import Prompt
from looptool.simulation.world.catalogue import catalogue, words

TUPLE = {"type": "array", "prefixItems": [{"type": "number"}, {"type": "number"}], "minItems": 2,
         "maxItems": 2, "description": "Latitude and longitude in degrees"}
NAMING = {"one plain": "simple", "snake_case": "snake_case", "camelCase": "camelCase",
          "kebab-case": "kebab-case"}
COUNTS = {"no parameters": (0, 0), "one to three": (1, 3), "four to eight": (4, 8)}
TYPES = {"are strings": "string", "one a number": "number", "one a boolean": "boolean",
         "parameter is a list": "array", "parameter is an object": "object",
         "parameter is a tuple": "tuple"}
RESULTS = {"is one JSON object": ("object", "the record with its id, name and date."),
           "is a list of": ("array", "the matches, each with id and name."),
           "is a text": ("string", "a short text."),
           "is a single number": ("number", "the amount in units."),
           "is a boolean": ("boolean", "whether it was done.")}
PLAIN = ("string", "number", "boolean")


def design(prompt: Prompt) -> str:
    """<context>, <constraints> -> a <tool>, or half of one."""
    rng, demands = prompt.rng("designer"), prompt.block("constraints").splitlines()
    if rng.random() < prompt.rates.generator_error:
        demands.remove(rng.choice(demands))
    tool = _tool(rng, prompt.block("context").split(" > "), demands)
    text = f"<tool>\n{json.dumps(tool)}\n</tool>"
    return text[:len(text) // 2] if rng.random() < prompt.rates.malformed else text


def _tool(rng: random.Random, context: list[str], demands: list[str]) -> dict[str, Any]:
    kind, returned = _first(RESULTS, demands) or ("object", "a record.")
    topic, job = context[-2], context[-1]
    detail = (f" Use it when somebody asks for {job} and nothing else is meant; it does not look "
              f"anything up beyond {topic.lower()}, and it changes nothing that was not named.")
    about = f"Do a {job} in the field of {topic.lower()}."
    return {"name": _name(rng, words(job).split(), _first(NAMING, demands) or "snake_case"),
            "description": about + detail if _has("several sentences", demands) else about,
            "parameters": _parameters(rng, _first(COUNTS, demands) or (0, 9),
                                      _first(TYPES, demands)),
            "returns": {"type": kind, "description": returned}}


def _has(mark: str, demands: list[str]) -> bool:
    return any(mark in demand for demand in demands)


def _first(table: dict[str, Any], demands: list[str]) -> Any:
    return next((value for mark, value in table.items() if _has(mark, demands)), None)


def _name(rng: random.Random, parts: list[str], naming: str) -> str:
    if naming == "simple":
        return rng.choice(parts)
    parts = parts if len(parts) > 1 else ["get", *parts]
    verb = rng.choice(["", "get", "request", "run", "new"])
    parts = [part for part in (verb, *parts) if part][:4]
    if naming == "camelCase":
        return parts[0] + "".join(part.capitalize() for part in parts[1:])
    return ("-" if naming == "kebab-case" else "_").join(parts)


def _parameters(rng: random.Random, count: tuple[int, int], wanted: str | None) -> dict[str, Any]:
    number = rng.randint(*count)
    allowed = {"string": ("string",), "array": (*PLAIN, "array"),
               "object": (*PLAIN, "object")}.get(wanted or "", PLAIN)
    pool = {kind: [entry for entry in _known_parameters() if _kind(entry[1]) == kind]
            for kind in (*PLAIN, "array", "object")}
    drawn = {"position": TUPLE} if wanted == "tuple" and number else {}
    if wanted in pool and number:
        drawn.update([rng.choice(pool[wanted])])
    for name, schema in rng.sample(sum((pool[kind] for kind in allowed), []), number):
        if len(drawn) < number:
            drawn.setdefault(name, schema)
    required = [name for name, schema in drawn.items()
                if "default" not in schema and rng.random() < 0.6]
    return {"type": "object", "properties": drawn, "required": required}


@lru_cache(maxsize=1)
def _known_parameters() -> list[tuple[str, dict[str, Any]]]:
    return [entry for tool in catalogue("train") for entry in tool.parameters["properties"].items()]


def _kind(schema: dict[str, Any]) -> str:
    return "number" if schema["type"] == "integer" else schema["type"]


DESIGN_ROLES = {"designer": design}
