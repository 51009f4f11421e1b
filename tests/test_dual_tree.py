"""The dual tree: paths, prompts, rules, and the tools that a model writes for them."""
from __future__ import annotations

import asyncio
import json
import random

import pytest
from golden_files import check_golden
from scripted import script

from dialog_generation import synthesize_tools
from dialog_generation.tool_making.designer import TRIES, Design, design, design_prompt, read_design
from dialog_generation.tool_making.dual_tree import (
    CONSTRAINTS, CONTEXTS, Paths, Written, broken_rules, read_trees)
from looptool.errors import InputError
from looptool.json_lines import read_jsonl
from looptool.models.completion import Reply
from looptool.records import Tool
from looptool.simulation.world.catalogue import lore_of
from looptool.simulation.world.language import phrases
from looptool.simulation.world.values import Style, draw_value, read_value, say_value

TREES = read_trees()
PLAIN = {"naming": "snake_case", "parameter count": "one to three", "parameter types": "string",
         "output": "record", "description style": "terse"}


def paths(**constraints: str) -> Paths:
    return Paths(context=("Travel", "Transportation", "bus search"),
                 constraints=PLAIN
                 | {level.replace("_", " "): name for level, name in constraints.items()})


def written(**changes) -> Written:
    fields = {"name": "find_bus", "description": "Search for buses.",
              "returns": {"type": "object", "description": "It."},
              "parameters": {"type": "object", "required": [],
                             "properties": {"city": {"type": "string"}}}}
    return Written(**fields | changes)


def parameters(*schemas: dict) -> dict:
    return {"type": "object", "required": [],
            "properties": {f"p{i}": schema for i, schema in enumerate(schemas)}}


def reply_of(tool: Written) -> str:
    fields = {name: getattr(tool, name)
              for name in ("name", "description", "parameters", "returns")}
    return f"<think>\nhm\n</think>\n<tool>\n{json.dumps(fields)}\n</tool>"


def test_the_trees_are_as_wide_as_the_paper_asks():
    assert len(TREES.contexts) >= 25
    assert all(len(topics) >= 2 and all(len(jobs) >= 2 for jobs in topics.values())
               for topics in TREES.contexts.values())
    assert set(TREES.constraints["naming"]) == {"simple", "snake_case", "camelCase", "kebab-case"}
    assert [branch.count
            for branch in TREES.constraints["parameter count"].values()] == [(0, 0), (1, 3), (4, 8)]
    assert set(TREES.constraints["parameter types"]) == {"string", "numeric", "boolean", "list",
                                                         "dict", "tuple"}


def test_paths_are_drawn_alike_at_every_level_and_repeat():
    drawn = [TREES.draw(random.Random(f"{i}")) for i in range(4000)]
    assert drawn[:20] == [TREES.draw(random.Random(f"{i}")) for i in range(20)]
    for level, branches in TREES.constraints.items():
        if level == "parameter types":
            continue
        for branch in branches:
            share = sum(path.constraints[level] == branch for path in drawn) / len(drawn)
            assert share == pytest.approx(1 / len(branches), abs=0.04), (level, branch)
    assert {path.context[0] for path in drawn} == set(TREES.contexts)


def test_a_tool_without_parameters_has_no_parameter_types():
    drawn = [TREES.draw(random.Random(f"{i}")).constraints for i in range(300)]
    assert all(("parameter types" in path) == (path["parameter count"] != "zero") for path in drawn)
    assert {path["parameter count"] for path in drawn} == {"zero", "one to three", "more"}


def test_the_prompt_merges_both_paths():
    chat = design_prompt(paths(), TREES)
    assert chat[0]["content"].startswith("# Role: designer\n")
    assert "Travel > Transportation > bus search" in chat[1]["content"]
    assert [line[2:] for line in chat[1]["content"].splitlines() if line.startswith("- ")] == [
        TREES.constraints[level][branch].text for level, branch in PLAIN.items()]


@pytest.mark.parametrize("naming, good, bad", [
    ("simple", ["search"], ["find_bus", "findBus", "Search", "find-bus", "search2"]),
    ("snake_case", ["find_bus", "find_bus_2"],
     ["findbus", "findBus", "Find_bus", "find_bus_", "a_b_c_d_e"]),
    ("camelCase", ["findBus", "findBusNow"], ["findbus", "FindBus", "find_Bus"]),
    ("kebab-case", ["find-bus"], ["find_bus", "find--bus", "findBus", "-find"])])
def test_names_are_checked(naming, good, bad):
    branches = TREES.branches(paths(naming=naming))
    assert [broken_rules(written(name=name), branches) for name in good] == [[]] * len(good)
    assert [broken_rules(written(name=name), branches) for name in bad] == [["naming"]] * len(bad)


@pytest.mark.parametrize("drawn, change, broken", [
    ({}, {}, []),
    ({}, {"parameters": parameters()}, ["count"]),
    ({}, {"parameters": parameters(*[{"type": "string"}] * 4)}, ["count"]),
    ({"parameter_count": "more"}, {"parameters": parameters(*[{"type": "string"}] * 8)}, []),
    ({"parameter_count": "more"}, {"parameters": parameters(*[{"type": "string"}] * 9)}, ["count"]),
    ({}, {"parameters": parameters({"type": "integer"})}, ["types"]),
    ({"parameter_types": "numeric"},
     {"parameters": parameters({"type": "integer"}, {"type": "string"})}, []),
    ({"parameter_types": "numeric"}, {"parameters": parameters({"type": "string"})}, ["types"]),
    ({"parameter_types": "numeric"},
     {"parameters": parameters({"type": "number"}, {"type": "array"})}, ["types"]),
    ({"parameter_types": "boolean"}, {"parameters": parameters({"type": "boolean"})}, []),
    ({"parameter_types": "list"}, {"parameters": parameters({"type": "array", "items": {}})}, []),
    ({"parameter_types": "list"},
     {"parameters": parameters({"type": "array", "prefixItems": [{}]})}, ["types"]),
    ({"parameter_types": "tuple"},
     {"parameters": parameters({"type": "array", "prefixItems": [{}]})}, []),
    ({"parameter_types": "dict"},
     {"parameters": parameters({"type": "object"}, {"type": "boolean"})}, []),
    ({}, {"returns": {"type": "array"}}, ["output"]),
    ({}, {"returns": {}}, ["output"]),
    ({"output": "number"}, {"returns": {"type": "integer"}}, []),
    ({}, {"description": "Bus."}, ["words"]),
    ({}, {"description": "word " * 11}, ["words"]),
    ({"description_style": "detailed"}, {"description": "word " * 20}, []),
    ({}, {"name": "x", "description": "Bus.", "returns": {}}, ["naming", "output", "words"])])
def test_every_drawn_constraint_is_checked(drawn, change, broken):
    assert sorted(broken_rules(written(**change), TREES.branches(paths(**drawn)))) == sorted(broken)


def test_replies_are_read():
    tool, reason = read_design(reply_of(written()), paths(), TREES)
    assert reason == "accepted" and tool.domain == "Travel"
    assert tool.description == "Search for buses. Returns: It."
    for text in ("", "no tool", "<tool>\n{}\n</tool>", "<tool>\n[]\n</tool>",
                 reply_of(written())[:-30], "<tool>\ud800</tool>"):
        assert read_design(text, paths(), TREES) == (None, "unreadable")
    for schema in ({"type": "strange"}, {"type": "string", "enum": "a"},
                   {"type": "string", "minLength": "x"}):
        assert read_design(reply_of(written(parameters=parameters(schema))), paths(),
                           TREES) == (None, "invalid")


def test_a_bad_reply_is_asked_for_again():
    replies = ["nothing", reply_of(written(name="Bad Name")), reply_of(written())]
    asked = []

    async def ask(chat, draw):
        asked.append(draw)
        return Reply(text=replies[draw])

    assert (asyncio.run(design("t0", paths(), TREES, ask)).reason == "accepted"
            and asked == [0, 1, 2])
    replies[2] = reply_of(written(description="Bus."))
    refused = asyncio.run(design("t0", paths(), TREES, ask))
    assert refused == Design(id="t0", paths=paths(), reason="words",
                             tool=None) and asked[3:] == list(range(TRIES))


def test_tools_of_the_simulated_designer(tmp_path, monkeypatch):
    script(monkeypatch, synthesize_tools, tmp_path / "a", "--tools", "none", "--synthesize", "200")
    designs = list(read_jsonl(tmp_path / "a" / "designed_tools.jsonl", Design))
    tools = list(read_jsonl(tmp_path / "a" / "tools.jsonl", Tool))
    assert (len(designs) == 200 and len(tools) > 150
            and len({tool.name for tool in tools}) == len(tools))
    for drawn in designs:
        assert (drawn.tool is not None) == (drawn.reason == "accepted")
    script(monkeypatch, synthesize_tools, tmp_path / "b", "--tools", "none", "--synthesize", "200")
    assert (tmp_path / "b" / "tools.jsonl").read_bytes() == (
        tmp_path / "a" / "tools.jsonl").read_bytes()


def test_designs_golden(tmp_path, monkeypatch):
    script(monkeypatch, synthesize_tools, tmp_path, "--tools", "none", "--synthesize", "3")
    check_golden(tmp_path / "designed_tools.jsonl", "designed_tools.jsonl")


def test_designed_tools_join_those_of_others(tmp_path, monkeypatch):
    script(monkeypatch, synthesize_tools, tmp_path, "--tools", "catalogue", "--set",
           "dialogs.synthesized_tools=20")
    names = [tool.name for tool in read_jsonl(tmp_path / "tools.jsonl", Tool)]
    script(monkeypatch, synthesize_tools, tmp_path / "alone", "--tools", "catalogue")
    before = [tool.name for tool in read_jsonl(tmp_path / "alone" / "tools.jsonl", Tool)]
    assert names[:len(before)] == before and len(before) < len(names) <= len(before) + 20


def test_tuples_can_be_spoken_of():
    schema = {"type": "array", "prefixItems": [{"type": "number"}, {"type": "string"}],
              "minItems": 2, "maxItems": 2}
    slot = lore_of(Tool(name="go", parameters=parameters(schema))).slots[0]
    words = phrases("train")
    for seed in range(50):
        rng = random.Random(seed)
        value = draw_value(rng, slot)
        style = Style(words.yes_no[0], words.lists[0])
        assert len(value) == 2 and read_value(say_value(value, slot, style), slot,
                                              words.ear) == value


@pytest.mark.parametrize("contexts, constraints, message", [
    ("Travel: []", None, "contexts.yaml: Expected `object`, got `array`"),
    ("{}", None, "contexts.yaml: a level without a branch"),
    ("Travel: {Buses: []}", None, "a topic of 'Travel' has no leaf"),
    ("Travel: {Buses: [", None, "contexts.yaml: while parsing"),
    (None, "naming: {a: {txt: x}}", "constraints.yaml: Object"),
    (None, "naming: {a: {text: x, name: '['}}", "'[' is no regular expression"),
    (None, "naming: {a: {text: x, count: [1]}}", "constraints.yaml: Expected `array` of length 2")])
def test_bad_trees_are_refused(tmp_path, contexts, constraints, message):
    paths = CONTEXTS, CONSTRAINTS
    for index, text in enumerate((contexts, constraints)):
        if text is not None:
            (tmp_path / paths[index].name).write_text(text, encoding="utf-8")
    chosen = [tmp_path / path.name if (tmp_path / path.name).exists() else path for path in paths]
    with pytest.raises(InputError) as error:
        read_trees(*chosen)
    assert message in str(error.value)
