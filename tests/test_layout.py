"""The house: who may import whom, and how large a folder, a file, a function and a line may be."""
from __future__ import annotations

import ast
import re
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from looptool.config_file import ROOT

ROOMS = {
    "looptool": ["looptool", "looptool/calling", "looptool/machine", "looptool/foreign",
                 "looptool/prompts", "looptool/simulation/world", "looptool/simulation/roles",
                 "looptool/simulation", "looptool/models", "looptool/stages", "looptool/judging",
                 "looptool/charts"],
    "dialog_generation": ["dialog_generation/backends", "dialog_generation/tool_making/formats",
                          "dialog_generation/tool_making", "dialog_generation"],
    "grpotool": ["grpotool/reward", "grpotool/rows", "grpotool/groups", "grpotool/batches",
                 "grpotool/verl_run", "grpotool/cpu", "grpotool/dataset", "grpotool/dataset/utils",
                 "grpotool", "grpotool/nodes", "grpotool/cold_start", "grpotool/doctor",
                 "grpotool/tiny_student"],
    "dataloop": ["dataloop/probing", "dataloop/mixing", "dataloop/verifying", "dataloop/expanding",
                 "dataloop/reporting", "dataloop/reporting/page", "dataloop/ablations",
                 "dataloop/running", "dataloop"],
    "bfcl": ["bfcl/card", "bfcl/subset", "bfcl/system_text", "bfcl/serving", "bfcl/official",
             "bfcl", "bfcl/acebench"]}
"""From the ground up: a file imports from its own room and from those before it. A file that has a
place of its own is named, without its ending."""
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True,
                         check=True).stdout.splitlines()
CODE = [name for name in TRACKED if name.endswith(".py") and name.split("/")[0] in ROOMS]
FILES_IN_A_FOLDER = 14
LINES_OF_A_FILE = 300
LONGER = {"looptool/config.py"}
"""All keys of a config and what they mean, which are looked up in one place."""
LINES_OF_A_FUNCTION = 70
COLUMNS = 100


@cache
def syntax(name: str) -> ast.Module:
    return ast.parse((ROOT / name).read_text(encoding="utf-8"))


def path_of(module: str) -> str:
    """looptool.calling.match -> looptool/calling/match.py; empty for what is none of ours."""
    name = module.replace(".", "/")
    return next((each for each in (f"{name}.py", f"{name}/__init__.py") if each in KNOWN), "")


KNOWN = frozenset(CODE)


@cache
def imports(name: str) -> tuple[str, ...]:
    """The files of ours that a file imports, wherever in it."""
    found = []
    for node in ast.walk(syntax(name)):
        if isinstance(node, ast.Import):
            found += [path_of(alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [path_of(f"{node.module}.{alias.name}") or path_of(node.module)
                      for alias in node.names]
    return tuple(dict.fromkeys(filter(None, found)))


def floor_of(name: str) -> int:
    rooms = ROOMS[name.split("/")[0]]
    places = [name.removesuffix(".py"), str(Path(name).parent)]
    return next(rooms.index(place) for place in places if place in rooms)


@pytest.mark.parametrize("package", ROOMS)
def test_a_room_imports_only_from_the_rooms_below(package: str):
    up = [f"{name} -> {other}" for name in CODE if name.startswith(f"{package}/")
          for other in imports(name)
          if other.split("/")[0] == package and floor_of(other) > floor_of(name)]
    assert not up


def test_packages_share_looptool_and_nothing_else():
    assert not [f"{name} -> {other}" for name in CODE for other in imports(name)
                if other.split("/")[0] not in (name.split("/")[0], "looptool")]


def test_no_file_imports_itself_by_way_of_others():
    done: set[str] = set()

    def visit(name: str, way: list[str]) -> None:
        assert name not in way, " -> ".join([*way, name])
        if name not in done:
            for other in imports(name):
                visit(other, [*way, name])
            done.add(name)

    for name in CODE:
        visit(name, [])


def test_no_stage_imports_another_one():
    """The scripts of a round know each other by their files only."""
    scripts = {name for name in CODE if name.startswith("dataloop/") and name.count("/") == 1}
    assert len(scripts) == 7
    assert not [name for name in scripts if scripts & set(imports(name))]


def test_folders_files_and_functions_are_of_a_size_to_read():
    width = Counter(str(Path(name).parent) for name in TRACKED if name.split("/")[0] in ROOMS
                    and not re.search(r"/(catalogue|checkpoint|prompts)/", name))
    assert not {folder: count for folder, count in width.items() if count > FILES_IN_A_FOLDER}
    long = {name: len((ROOT / name).read_text().splitlines()) for name in CODE}
    assert not {name: count for name, count in long.items()
                if count > LINES_OF_A_FILE and name not in LONGER}
    functions = {f"{name}:{node.lineno} {node.name}": node.end_lineno - node.lineno + 1
                 for name in CODE for node in ast.walk(syntax(name))
                 if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert not {name: count for name, count in functions.items() if count > LINES_OF_A_FUNCTION}


def test_prompts_lie_in_a_folder_prompts_of_the_room_that_asks_them():
    texts = [name for name in TRACKED if name.endswith(".md") and name.split("/")[0] in ROOMS]
    elsewhere = [name for name in texts if "/prompts/" not in name]
    assert elsewhere == ["dialog_generation/tools/toolbench/README.md"] and len(texts) > 20
    for name in set(texts) - set(elsewhere):
        room = name.partition("/prompts/")[0]
        assert any("prompts" in (ROOT / other).read_text() or f"{room}/prompts/" in other
                   for other in CODE if other.startswith(f"{room}/"))


def is_wide(name: str, line: str) -> bool:
    """Whether a line is too long. Tables, addresses, and in code blocks of Markdown the records and
    what a program printed, are as wide as they are."""
    if len(line) <= COLUMNS or "://" in line:
        return False
    if name.endswith(".md"):
        start = line.lstrip()
        return not start.startswith("|") and (
            len(line) - len(start) < 4 or re.match(r"(bash|python|pip|export|cd|for) ", start))
    return True


def test_lines_have_a_length_to_read():
    """Texts for a model are left out, as a line break in them is one for the model."""
    names = [name for name in TRACKED if name.endswith((".py", ".sh", ".md", ".yaml"))
             and "/prompts/" not in name]
    assert len(names) > 300
    wide = []
    for name in names:
        fenced = False
        for number, line in enumerate((ROOT / name).read_text("utf-8").splitlines(), 1):
            fenced ^= line.lstrip().startswith("```")
            if is_wide(name, line if not fenced else f"    {line}"):
                wide.append(f"{name}:{number}")
    assert not wide


@pytest.mark.parametrize("name, line, wide", [
    ("a.py", "x" * 101, True), ("a.py", "x" * 100, False), ("a.md", "x" * 101, True),
    ("a.md", "| " + "x" * 101, False), ("a.md", "    {" + "x" * 101, False),
    ("a.md", "    bash " + "x" * 101, True), ("a.sh", "# https://" + "x" * 101, False)])
def test_what_counts_as_wide(name: str, line: str, wide: bool):
    assert bool(is_wide(name, line)) == wide
