"""The data of the simulated world: catalogue/<split>/*.yaml and values.yaml keep the rules that its
speech relies on.

Read with yaml alone, so that a fault is one of the data and not of the reader.
"""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import date
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml

SIMULATION = Path(__file__).resolve().parent.parent / "looptool/simulation/world"
SPLITS = ("train", "heldout")
LEAST = {"train": {"domains": 30, "tools": 165, "tools a domain": 5},
         "heldout": {"domains": 20, "tools": 45, "tools a domain": 2}}
TYPES = {"string": str, "integer": int, "number": (int, float), "boolean": bool}
FORMS = ("kind", "list", "enum", "list_enum", "object")
KEYS = {*FORMS, "about", "cues", "required", "default"}
STYLES = {"simple": r"[a-z]+", "snake_case": r"[a-z0-9]+(_[a-z0-9]+)+",
          "camelCase": r"[a-z]+([A-Z][a-z0-9]*)+", "kebab-case": r"[a-z0-9]+(-[a-z0-9]+)+",
          "dotted": r"[a-z]+\.[a-zA-Z_]+"}
STOPWORDS = set(
    "a an the of to for in on at by from my me i it is that this with and or all some one".split())
JOINERS = re.compile(r" (and|plus|also|then|with|using|given|for|as the|set to|where|being) ")
"""Words by which the simulated people part a sentence; inside a value they would be misheard."""
CLAUSES = re.compile(r" (and|plus|also|then|with|using|given) ")
"""The ones among them that would be misheard even in an intent or a cue, which are known word by
word."""
BARRED = re.compile(r"""[,;"'`()\[\]{}<>/\\=:|&+?!~^]""")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load(path: Path) -> Any:
    return yaml.load(path.read_text(encoding="utf-8"), LOADER)


@cache
def domains(split: str) -> list[dict[str, Any]]:
    return [load(path) for path in sorted((SIMULATION / "catalogue" / split).glob("*.yaml"))]


@cache
def values() -> dict[str, dict[str, dict[str, Any]]]:
    return load(SIMULATION / "values.yaml")


def tools(*splits: str) -> list[dict[str, Any]]:
    return [tool for split in splits or SPLITS for domain in domains(split)
            for tool in domain["tools"]]


def objects(tool: dict[str, Any]) -> Iterator[dict[str, dict[str, Any]]]:
    """The parameters of a tool, then the fields of each object among them."""
    waiting = [tool.get("parameters") or {}]
    while waiting:
        parameters = waiting.pop()
        yield parameters
        waiting += [entry["object"] for entry in parameters.values() if "object" in entry]


def parameters(*splits: str) -> list[tuple[str, dict[str, Any]]]:
    """("tool.parameter", entry) of every parameter and field."""
    return [(f"{tool['name']}.{name}", entry) for tool in tools(*splits) for fields in objects(tool)
            for name, entry in fields.items()]


def word_set(text: str) -> set[str]:
    """Lower-case words of a name in any style or of a sentence; a plural counts as its singular."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", text).replace("_", " ").lower()
    return {word[:-1] if len(word) > 3 and word.endswith("s") else word
            for word in re.findall(r"\w+", spaced)}


def collide(first: str, second: str) -> bool:
    """Whether one phrase is the other, or begins or ends with it."""
    short, long = sorted((f" {first} ", f" {second} "), key=len)
    return long.startswith(short) or long.endswith(short)


def repeated(entries: list[str]) -> list[str]:
    return [entry for entry, count in Counter(entries).items() if count > 1]


@pytest.mark.parametrize("split", SPLITS)
def test_enough_domains_and_tools(split: str):
    assert len(domains(split)) >= LEAST[split]["domains"]
    assert len(tools(split)) >= LEAST[split]["tools"]
    assert min(len(domain["tools"]) for domain in domains(split)) >= LEAST[split]["tools a domain"]


def test_keys_are_known_and_complete():
    for split in SPLITS:
        assert all(set(domain) == {"domain", "tools"} for domain in domains(split))
    for tool in tools():
        assert {"name", "description",
                "intents"} <= set(tool) <= {"name", "description", "intents", "parameters"}, tool
        assert 1 <= len(tool["intents"]) <= 2, tool["name"]
    for where, entry in parameters():
        assert {"about"} <= set(entry) <= KEYS, where
        assert sum(form in entry for form in FORMS) == 1, where
        assert entry.get("required") in (None, True), where
        assert not ("default" in entry
                    and "required" in entry), f"{where}: only an optional parameter has a default"


def test_names_and_intents_are_distinct_over_both_splits():
    assert repeated([tool["name"].lower() for tool in tools()]) == []
    for split in SPLITS:
        assert repeated([domain["domain"] for domain in domains(split)]) == []
    assert repeated([intent for tool in tools() for intent in tool["intents"]]) == []


def test_tools_read_shortly():
    for tool in tools():
        assert 3 <= len(tool["description"].split()) <= 12, tool["description"]
        assert (tool["description"].endswith(".")
                and len(tool["description"]) <= 80), tool["description"]
    for where, entry in parameters():
        assert 1 <= len(entry["about"].split()) <= 6, where


def test_intents_are_plain_verb_phrases_of_their_tool():
    for tool in tools():
        own = word_set(f"{tool['name']} {tool['description']}")
        for intent in tool["intents"]:
            assert re.fullmatch(r"[a-z0-9é]+( [a-z0-9é]+)+", intent), intent
            assert not CLAUSES.search(f" {intent} "), intent
            assert (word_set(intent) - STOPWORDS) & own, f"{tool['name']}: {intent}"


def said(name: str, entry: dict[str, Any]) -> list[str]:
    """What people call a parameter: the words of its name, or the cues of the file."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return entry.get("cues") or [spaced.replace("_", " ").lower()]


def test_cues_are_plain_and_name_their_parameter():
    for where, entry in parameters():
        name = where.rpartition(".")[2]
        cues, own = said(name, entry), word_set(f"{name} {entry['about']}")
        assert len(cues) == 1 and ("cues" not in entry or cues
                                   != said(name, {})), f"{where}: a cue is there for an odd name"
        for cue in cues:
            assert word_set(cue) & own, f"{where}: {cue}"
            assert re.fullmatch(r"[a-z0-9]+( [a-z0-9]+){0,2}", cue), f"{where}: {cue}"
            assert not CLAUSES.search(f" {cue} "), f"{where}: {cue}"


def test_no_cue_can_be_taken_for_another_parameters_cue():
    clashes = [(tool["name"], first, second) for tool in tools() for fields in objects(tool)
               for one, other in combinations(fields.items(), 2) for first in said(*one)
               for second in said(*other) if collide(first, second)]
    assert clashes == []


def test_enums_are_plain_and_of_one_type():
    for where, entry in parameters():
        choices = entry.get("enum", entry.get("list_enum"))
        if choices is None:
            continue
        assert len(choices) >= 2 and len({type(choice) for choice in choices}) == 1, where
        assert repeated([str(choice) for choice in choices]) == [], where
        for choice in choices:
            assert type(choice) in (str, int), f"{where}: {choice!r} (quote on, off, yes and no)"
            assert (not BARRED.search(str(choice))
                    and not JOINERS.search(f" {choice} ")), f"{where}: {choice}"


def test_defaults_are_values_of_their_parameter():
    for where, entry in parameters():
        if "default" not in entry:
            continue
        default = entry["default"]
        if "enum" in entry:
            assert default in entry["enum"], where
        else:
            kind = values()["train"][entry["kind"]]
            assert isinstance(default, TYPES[kind["type"]]), f"{where}: {default!r}"
            assert isinstance(default, bool) == (kind["type"] == "boolean"), where


def test_every_used_kind_exists_in_both_splits_and_none_is_idle():
    used = {split: {entry.get("kind", entry.get("list")) for _, entry in parameters(split)} - {None}
            for split in SPLITS}
    assert set(values()) == set(SPLITS) and set(values()["train"]) == set(values()["heldout"])
    assert used["heldout"] | used["train"] == set(values()["train"])


@pytest.mark.parametrize("split", SPLITS)
def test_kinds_say_how_values_are_drawn(split: str):
    draws = {**dict.fromkeys(("values", "pattern", "dates", "times"), ("string",)),
             "range": ("integer", "number")}
    for name, kind in values()[split].items():
        how = [key for key in draws if key in kind]
        assert len(how) == 1 or kind == {"type": "boolean"}, name
        assert set(kind) - {"type", "decimals"} == set(how), name
        assert not how or kind["type"] in draws[how[0]], name
        assert ("decimals" in kind) == (kind["type"] == "number"), name
        if "range" in kind:
            assert kind["range"][0] < kind["range"][1], name
        if "dates" in kind:
            assert date.fromisoformat(kind["dates"][0]) < date.fromisoformat(kind["dates"][1]), name


@pytest.mark.parametrize("split", SPLITS)
def test_listed_values_can_be_said(split: str):
    for name, kind in values()[split].items():
        listed = kind.get("values")
        if listed is None:
            continue
        assert 25 <= len(listed) <= 40 and repeated(listed) == [], name
        for value in listed:
            assert (isinstance(value, str) and value == value.strip()
                    and value), f"{name}: {value!r} (quote it)"
            text = re.sub(r"[:/]", "", value) if name in ("url", "path") else value
            assert not BARRED.search(text) and not JOINERS.search(f" {value} "), f"{name}: {value}"


def test_the_splits_share_no_listed_value():
    for name, kind in values()["train"].items():
        shared = set(kind.get("values", ())) & set(values()["heldout"][name].get("values", ()))
        assert shared == set(), name
        assert ("pattern" not in kind
                or kind["pattern"] != values()["heldout"][name]["pattern"]), name


def test_listed_values_hold_phrases_and_other_scripts():
    for split in SPLITS:
        listed = [value for kind in values()[split].values() for value in kind.get("values", ())]
        assert sum(" " in value for value in listed) > len(listed) / 4
        assert 3 <= sum(not value.isascii() for value in listed) <= 20


@pytest.mark.parametrize("split", SPLITS)
def test_every_naming_style_occurs(split: str):
    styles = Counter(next(
        (style for style, form in STYLES.items() if re.fullmatch(form, tool["name"])), tool["name"])
                     for tool in tools(split))
    assert set(styles) == set(STYLES)
    assert min(styles.values()) >= 2


@pytest.mark.parametrize("split", SPLITS)
def test_every_json_type_and_form_occurs(split: str):
    entries = [entry for _, entry in parameters(split)]
    types = {values()[split][entry["kind"]]["type"] for entry in entries if "kind" in entry}
    assert types == set(TYPES)
    if split == "train":
        assert {"string", "integer"} <= {values()[split][entry["list"]]["type"]
                                         for entry in entries if "list" in entry}
        assert {type(entry["enum"][0]) for entry in entries if "enum" in entry} == {str, int}
    assert {form for entry in entries for form in FORMS if form in entry} == set(FORMS)
    assert (any("default" in entry for entry in entries)
            and any("required" not in entry for entry in entries))


@pytest.mark.parametrize("split", SPLITS)
def test_tools_differ_in_size_as_the_constraint_tree_wants(split: str):
    sizes = Counter(len(tool.get("parameters") or {}) for tool in tools(split))
    count = len(tools(split))
    lists = sum(any({"list", "list_enum"} & set(entry) for fields in objects(tool)
                    for entry in fields.values())
                for tool in tools(split))
    nested = sum(len(list(objects(tool))) > 1 for tool in tools(split))
    assert 0.02 <= sizes[0] / count <= 0.08
    assert sum(sizes[size] for size in (1, 2, 3)) / count >= 0.55
    assert 0.1 <= sum(sizes[size] for size in sizes if size > 3) / count <= 0.4
    assert max(sizes) in (5, 6, 7)
    assert 0.05 <= nested / count <= 0.2
    assert 0.05 <= lists / count <= 0.25


def test_held_out_tools_have_neighbours_and_familiar_parameters():
    """The held-out tools are new ones of known domains: what is new is the tool, its wording and
    its values."""
    assert {domain["domain"]
            for domain in domains("heldout")} <= {domain["domain"] for domain in domains("train")}
    known = {frozenset(word_set(where.rpartition(".")[2])) for where, _ in parameters("train")}
    names = [frozenset(word_set(where.rpartition(".")[2])) for where, _ in parameters("heldout")]
    assert 0.6 <= sum(name in known for name in names) / len(names) <= 0.9


def test_the_people_of_the_splits_share_no_pattern():
    spoken = load(SIMULATION / "phrases.yaml")
    for field, patterns in spoken["train"].items():
        shared = {str(pattern) for pattern in patterns} & {str(pattern)
                                                           for pattern in spoken["heldout"][field]}
        assert shared == set(), field
