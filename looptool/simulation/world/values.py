"""Values of parameters: drawn from their kind, said in a sentence, and read back from it."""
from __future__ import annotations

import json
import random
import string
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

from looptool.simulation.world.catalogue import HERE, Slot

UNREADABLE = object()
"""What `read_value` returns for text that is no value of the slot."""


def draw_value(rng: random.Random, slot: Slot) -> Any:
    """A random value of the slot, as JSON."""
    if slot.fields:
        return {field.name: draw_value(rng, field) for field in slot.fields
                if field.required or rng.random() < 0.5}
    return draw_kind(rng, slot.kind)


def draw_kind(rng: random.Random, kind: dict[str, Any]) -> Any:
    """A random value of one kind of values.yaml or of one derived from a schema."""
    if "enum" in kind:
        return rng.choice(kind["enum"])
    if "items" in kind:
        count = rng.choice((1, 2, 2, 3))
        if "enum" in kind["items"]:
            return rng.sample(kind["items"]["enum"], min(count, len(kind["items"]["enum"])))
        return [draw_kind(rng, kind["items"]) for _ in range(count)]
    if "tuple" in kind:
        return [draw_kind(rng, part) for part in kind["tuple"]]
    if "json" in kind:
        return ({"key": draw_kind(rng, {"pattern": "aaa9"})} if kind["json"].get("type") == "object"
                else [rng.randint(1, 9)])
    if "values" in kind:
        return rng.choice(kind["values"])
    if "patterns" in kind:
        return draw_pattern(rng, rng.choice(kind["patterns"]))
    if "pattern" in kind:
        return draw_pattern(rng, kind["pattern"])
    if "dates" in kind:
        first, last = (day if isinstance(day, date) else date.fromisoformat(day)
                       for day in kind["dates"])
        return (first + timedelta(days=rng.randint(0, (last - first).days))).isoformat()
    if "times" in kind:
        return f"{rng.randint(0, 23):02d}:{rng.choice((0, 15, 30, 45)):02d}"
    if kind["type"] == "boolean":
        return rng.random() < 0.5
    low, high = kind["range"]
    if kind["type"] == "integer":
        return rng.randint(low, high)
    value = round(rng.uniform(low, high), kind.get("decimals", 1))
    return value if value != int(value) else value + 0.5


@dataclass(frozen=True)
class Style:
    """How one person writes values; strings stand in double quotes."""

    yes_no: tuple[str, str]
    separator: str
    """Between the items of a list."""


@dataclass(frozen=True)
class Ear:
    """What a reader takes for yes, for no, and for the space between two items."""

    yes_no: dict[str, bool]
    separators: tuple[str, ...]


def draw_pattern(rng: random.Random, pattern: str) -> str:
    """Text after a pattern: A and a are letters, 9 a digit, * a word, ~ a made-up one, + and ^
    these with a capital.

    Whatever else is in it stands.
    """
    draws = {"*": lambda: rng.choice(plain_words()),
             "+": lambda: rng.choice(plain_words()).capitalize(), "~": lambda: made_up_word(rng),
             "^": lambda: made_up_word(rng).capitalize(),
             "A": lambda: rng.choice(string.ascii_uppercase),
             "a": lambda: rng.choice(string.ascii_lowercase),
             "9": lambda: rng.choice(string.digits)}
    return "".join(draws[letter]() if letter in draws else letter for letter in pattern)


@lru_cache(maxsize=1)
def plain_words() -> tuple[str, ...]:
    """Common English words, in lower case."""
    return tuple((HERE / "words.txt").read_text(encoding="utf-8").split())


def made_up_word(rng: random.Random) -> str:
    """A word that can be spoken and does not exist."""
    return "".join(rng.choice("bcdfghjklmnprstvwz") + rng.choice("aeiou")
                   + rng.choice(("", "", "n", "r", "s", "l")) for _ in range(rng.randint(1, 3)))


def say_value(value: Any, slot: Slot, style: Style) -> str:
    """The value in words."""
    if slot.fields:
        said = (f"{field.cues[0]} {say_value(value[field.name], field, style)}"
                for field in slot.fields if field.name in value)
        return "(" + "; ".join(said) + ")"
    if "json" in slot.kind:
        return json.dumps(value, ensure_ascii=False)
    if slot.kind.keys() & {"items", "tuple"}:
        return style.separator.join(_say_plain(item, style) for item in value)
    return _say_plain(value, style)


def _say_plain(value: Any, style: Style) -> str:
    if isinstance(value, bool):
        return style.yes_no[0 if value else 1]
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else str(value)


def read_value(text: str, slot: Slot, ear: Ear) -> Any:
    """The value that `say_value` put into these words, or UNREADABLE."""
    if slot.fields:
        return _read_object(text, slot, ear)
    if "json" in slot.kind:
        try:
            return json.loads(text)
        except ValueError:
            return UNREADABLE
    if slot.kind.keys() & {"items", "tuple"}:
        separator = next((mark for mark in ear.separators if mark in text), None)
        parts = text.split(separator) if separator else [text]
        kinds = slot.kind.get("tuple") or [slot.kind["items"]] * len(parts)
        items = [_read_plain(part, kind, ear) for part, kind in zip(parts, kinds)]
        return UNREADABLE if len(parts) != len(kinds) or any(item is UNREADABLE
                                                             for item in items) else items
    return _read_plain(text, slot.kind, ear)


def _read_object(text: str, slot: Slot, ear: Ear) -> Any:
    if not (text.startswith("(") and text.endswith(")")):
        return UNREADABLE
    result, fields = {}, list(slot.fields)
    for part in text[1:-1].split("; ") if len(text) > 2 else []:
        field = next((field for field in fields if part.startswith(field.cues[0] + " ")), None)
        if field is None:
            return UNREADABLE
        fields.remove(field)
        result[field.name] = read_value(part[len(field.cues[0]) + 1:], field, ear)
        if result[field.name] is UNREADABLE:
            return UNREADABLE
    return result


def _read_plain(text: str, kind: dict[str, Any], ear: Ear) -> Any:
    if kind.get("type") == "boolean":
        return ear.yes_no.get(text, UNREADABLE)
    if "enum" in kind:
        text = text[1:-1] if text.startswith('"') and text.endswith('"') else text
        return next((value for value in kind["enum"] if str(value) == text), UNREADABLE)
    if kind.get("type") in ("integer", "number"):
        try:
            number = json.loads(text)
        except ValueError:
            return UNREADABLE
        return number if type(number) in (int, float) else UNREADABLE
    if text.startswith('"'):
        try:
            value = json.loads(text)
        except ValueError:
            return UNREADABLE
        return value if isinstance(value, str) else UNREADABLE
    return text if text and not any(mark in text for mark in ',;"()&+|') else UNREADABLE
