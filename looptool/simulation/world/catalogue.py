"""What the simulated people know about tools: how one asks for them and what values their
parameters take.

Tools of the built-in catalogue bring their own words (catalogue/<split>/*.yaml, values.yaml); for
any other tool they are derived from its name, description and JSON Schema, so that the world can be
played with any tools. Parameters are called by the words of their names, unless the file gives
other `cues`.
"""
from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from itertools import count
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from looptool.records import Tool

HERE = Path(__file__).parent
Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")
QUALIFIERS: dict[Split, dict[str, str]] = {
    "train": {"draft": "as a draft", "archive": "in the archive", "bulk": "in bulk",
              "team": "on behalf of the team", "trial": "as a trial", "abroad": "from abroad"},
    "heldout": {"preview": "as a preview", "backup": "in the backup",
                "guest": "on behalf of a guest", "silent": "in silence"}}
"""What makes a like tool of another one: a word more in its name, a phrase more in what it does."""

_GENERIC_KINDS: dict[str, dict[str, Any]] = {
    "string": {"type": "string",
               "patterns": ["*", "*", "+", "+", "* *", "+ +", "* * *", "+ *", "+ ^", "~", "^",
                            "^ ^", "AA-9999", "A99999", "aaaa99", "*_~", "2029-01-19", "19:29",
                            "*.~@*.com", "*-*.pdf", "99999", "the + *"]},
    "integer": {"type": "integer", "range": [1, 60]},
    "number": {"type": "number", "range": [1, 90], "decimals": 1},
    "boolean": {"type": "boolean"},
}


@dataclass(frozen=True)
class Slot:
    """One parameter as people speak of it."""

    name: str
    cues: tuple[str, ...]
    """Noun phrases that name the parameter."""
    required: bool
    kind: dict[str, Any]
    """How values are drawn: a kind of values.yaml, {"enum"}, {"items": kind}, {"tuple": kinds},
    {"fields"} or {"json": schema}."""
    fields: tuple[Slot, ...] = ()
    """Fields of an object, in order."""


@dataclass(frozen=True)
class Lore:
    """How people ask for one tool."""

    intents: tuple[str, ...]
    slots: tuple[Slot, ...]

    @property
    def required(self) -> tuple[str, ...]:
        return tuple(slot.name for slot in self.slots if slot.required)

    @cached_property
    def names(self) -> frozenset[str]:
        return frozenset(slot.name for slot in self.slots)


Known = tuple[Tool, Lore]
"""A tool, and how people ask for it."""


def read_yaml(path: Path) -> Any:
    """A YAML file, read by the C parser where there is one: it takes a seventh of the time."""
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def words(name: str) -> str:
    """A name in any naming style as lower-case words: "maxStops", "max_stops", "max-stops" -> "max
    stops"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.findall(r"\w+", spaced.replace("_", " "))).lower() or "value"


@cache
def _load(split: Split) -> tuple[tuple[Tool, ...], dict[str, Lore]]:
    kinds = read_yaml(HERE / "values.yaml")[split]
    tools, lore, numbers = [], {}, count()
    for path in sorted((HERE / "catalogue" / split).glob("*.yaml")):
        domain = read_yaml(path)
        for entry in domain["tools"]:
            parameters = entry.get("parameters") or {}
            tool = Tool(name=entry["name"], description=entry["description"],
                        domain=domain["domain"], parameters=_object_schema(parameters, kinds))
            lore[tool.name] = Lore(tuple(entry["intents"]), _slots(parameters, kinds))
            likes = [with_qualifier(tool, word, phrase)
                     for word, phrase in QUALIFIERS[split].items()]
            for like, phrase in zip(likes, QUALIFIERS[split].values(), strict=True):
                lore[like.name] = Lore(tuple(f"{intent} {phrase}" for intent in entry["intents"]),
                                       lore[tool.name].slots)
            number = next(numbers)
            tools += [tool] if number % 2 else [tool, likes[number // 2 % len(likes)]]
    return tuple(tools), lore


def catalogue(split: Split) -> tuple[Tool, ...]:
    """The built-in tools of one split, every second one with a sibling; the splits share no tool,
    intent or value list."""
    return _load(split)[0]


def with_qualifier(tool: Tool, word: str, phrase: str) -> Tool:
    """A sibling of this tool: "book_flight", "as a draft" -> "book_flight_draft", with the same
    parameters."""
    separator = next((mark for mark in "_-" if mark in tool.name), "")
    name = tool.name + separator + (word if separator else word.capitalize())
    return msgspec.structs.replace(tool, name=name,
                                   description=f"{tool.description.rstrip('.')} {phrase}.")


def siblings(tool: Tool, tools: Iterable[Tool]) -> list[Tool]:
    """The tools that are easily taken for this one: the same parameters, and one name is the other
    and a word more."""
    def is_sibling(other: Tool) -> bool:
        short, long = sorted((words(tool.name).split(), words(other.name).split()), key=len)
        return (long[:-1] == short
                and other.parameters.get("properties") == tool.parameters.get("properties"))
    return [other for other in tools if is_sibling(other)]


def _object_schema(parameters: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object",
            "properties": {name: _schema(entry, kinds) for name, entry in parameters.items()},
            "required": [name for name, entry in parameters.items() if entry.get("required")]}


def _schema(entry: dict[str, Any], kinds: dict[str, Any]) -> dict[str, Any]:
    if "object" in entry:
        schema = _object_schema(entry["object"], kinds)
    elif "list" in entry:
        schema = {"type": "array", "items": {"type": kinds[entry["list"]]["type"]}}
    elif "list_enum" in entry:
        schema = {"type": "array", "items": {"type": "string", "enum": entry["list_enum"]}}
    elif "enum" in entry:
        schema = {"type": "string" if isinstance(entry["enum"][0], str) else "integer",
                  "enum": entry["enum"]}
    else:
        schema = {"type": kinds[entry["kind"]]["type"]}
    if "about" in entry:
        schema["description"] = entry["about"]
    if "default" in entry:
        schema["default"] = entry["default"]
    return schema


def _slots(parameters: dict[str, Any], kinds: dict[str, Any]) -> tuple[Slot, ...]:
    slots = []
    for name, entry in parameters.items():
        if "object" in entry:
            kind, fields = {"fields": True}, _slots(entry["object"], kinds)
        else:
            fields = ()
            if "list" in entry:
                kind = {"items": kinds[entry["list"]]}
            elif "list_enum" in entry:
                kind = {"items": {"enum": entry["list_enum"]}}
            elif "enum" in entry:
                kind = {"enum": entry["enum"]}
            else:
                kind = kinds[entry["kind"]]
        cues = tuple(entry.get("cues", [words(name)]))
        slots.append(Slot(name, cues, bool(entry.get("required")), kind, fields))
    return tuple(slots)


def lore_of(tool: Tool) -> Lore:
    """How people ask for this tool: from the catalogue if it is there, else derived from its
    definition."""
    for split in SPLITS:
        known = _load(split)[1].get(tool.name)
        # asked for each tool of the catalogue and each sentence, so names are kept
        if known is not None and known.names == tool.parameters.get("properties", {}).keys():
            return known
    return _derived_lore(tool.name, tool.description, json.dumps(tool.parameters))


@lru_cache(maxsize=100_000)
def _derived_lore(name: str, description: str, parameters: str) -> Lore:
    spoken = words(name)
    sentence = re.split(r"[.;:,(\n]", description, maxsplit=1)[0].strip()
    intents = [spoken, f"use {spoken}"]
    parts = sentence.split()
    if 2 <= len(parts) <= 12 and '"' not in sentence:
        intents.insert(0, sentence[0].lower() + sentence[1:])
    return Lore(tuple(intents), _derived_slots(json.loads(parameters)))


def _derived_slots(schema: dict[str, Any]) -> tuple[Slot, ...]:
    slots = []
    for name, entry in schema.get("properties", {}).items():
        fields = (_derived_slots(entry) if entry.get("type") == "object" and entry.get("properties")
                  else ())
        kind = {"fields": True} if fields else _derived_kind(entry)
        slots.append(Slot(name, (words(name),), name in schema.get("required", []), kind, fields))
    return tuple(slots)


def _derived_kind(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("enum"):
        return {"enum": schema["enum"]}
    if schema.get("type") == "array":
        parts = [_derived_kind(part) for part in schema.get("prefixItems")
                 or [schema.get("items") or {"type": "string"}]]
        if any(part.keys() & {"json", "items", "tuple"} for part in parts):
            return {"json": schema}
        return {"tuple": parts} if schema.get("prefixItems") else {"items": parts[0]}
    return _GENERIC_KINDS.get(str(schema.get("type")), {"json": schema})
