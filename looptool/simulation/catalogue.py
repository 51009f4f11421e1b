"""What the simulated people know about tools: how one asks for them and what values their parameters take.

Tools of the built-in catalogue bring their own words (catalogue/<split>/*.yaml, values.yaml); for any other tool they
are derived from its name, description and JSON Schema, so that the world can be played with any tools.
"""
from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import yaml

from looptool.records import Tool

HERE = Path(__file__).parent
Split = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")

_GENERIC_KINDS: dict[str, dict[str, Any]] = {
    "string": {"type": "string", "patterns": ["*", "*", "+", "+", "* *", "+ +", "* * *", "+ *", "+ ^", "~", "^", "^ ^", "AA-9999",
                                              "A99999", "aaaa99", "*_~", "2029-01-19", "19:29", "*.~@*.com", "*-*.pdf",
                                              "99999", "the + *"]},
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
    """How values are drawn: a kind of values.yaml, {"enum"}, {"items": kind}, {"tuple": kinds}, {"fields"} or
    {"json": schema}."""
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


def read_yaml(path: Path) -> Any:
    """A YAML file, read by the C parser where there is one: it takes a seventh of the time."""
    return yaml.load(path.read_bytes(), getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def words(name: str) -> str:
    """A name in any naming style as lower-case words: "maxStops", "max_stops", "max-stops" -> "max stops"."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return " ".join(re.findall(r"\w+", spaced.replace("_", " "))).lower() or "value"


@lru_cache(maxsize=None)
def _load(split: Split) -> tuple[tuple[Tool, ...], dict[str, Lore]]:
    kinds = read_yaml(HERE / "values.yaml")[split]
    tools, lore = [], {}
    for path in sorted((HERE / "catalogue" / split).glob("*.yaml")):
        domain = read_yaml(path)
        for entry in domain["tools"]:
            parameters = entry.get("parameters") or {}
            tools.append(Tool(name=entry["name"], description=entry["description"], domain=domain["domain"],
                              parameters=_object_schema(parameters, kinds)))
            lore[entry["name"]] = Lore(tuple(entry["intents"]), _slots(parameters, kinds))
    return tuple(tools), lore


def catalogue(split: Split) -> tuple[Tool, ...]:
    """The built-in tools of one split; the two splits share no tool, intent or value list."""
    return _load(split)[0]


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
        schema = {"type": "string" if isinstance(entry["enum"][0], str) else "integer", "enum": entry["enum"]}
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
        slots.append(Slot(name, tuple(entry["cues"]), bool(entry.get("required")), kind, fields))
    return tuple(slots)


def lore_of(tool: Tool) -> Lore:
    """How people ask for this tool: from the catalogue if it is there, else derived from its definition."""
    for split in SPLITS:
        known = _load(split)[1].get(tool.name)
        if known is not None and {slot.name for slot in known.slots} == set(tool.parameters.get("properties", {})):
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
        intents += [" ".join(parts[:3]).lower()] if len(parts) > 3 else []
    return Lore(tuple(intents), _derived_slots(json.loads(parameters)))


def _derived_slots(schema: dict[str, Any]) -> tuple[Slot, ...]:
    slots, taken = [], set()
    for name, entry in schema.get("properties", {}).items():
        cues = []
        for cue in (words(name), words(entry.get("description", ""))):
            if cue not in taken and len(cue.split()) <= 3:
                cues.append(cue)
                taken.add(cue)
        fields = _derived_slots(entry) if entry.get("type") == "object" and entry.get("properties") else ()
        kind = {"fields": True} if fields else _derived_kind(entry)
        slots.append(Slot(name, tuple(cues) or (name,), name in schema.get("required", []), kind, fields))
    return tuple(slots)


def _derived_kind(schema: dict[str, Any]) -> dict[str, Any]:
    if schema.get("enum"):
        return {"enum": schema["enum"]}
    if schema.get("type") == "array":
        parts = [_derived_kind(part) for part in schema.get("prefixItems") or [schema.get("items") or {"type": "string"}]]
        if any(part.keys() & {"json", "items", "tuple"} for part in parts):
            return {"json": schema}
        return {"tuple": parts} if schema.get("prefixItems") else {"items": parts[0]}
    return _GENERIC_KINDS.get(str(schema.get("type")), {"json": schema})
