"""What README and docs tell to run can be run: scripts, modules, flags and config keys exist.

A block that starts processes of minutes is not run here. Its words are looked up: each script is
there and parses, each flag stands in its --help or in its text, each `--set` is a key. What needs
a GPU, a model of others or a download says so in the sentence before it, by one of MARKS.
"""
from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import pytest

from looptool.config import ROOT, load_config
from looptool.config_docs import page as configuration

PAGES = ["README.md", "LOG.md", "benchmarks/README.md",
         *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
NAMED = re.compile(r"`((?:[\w-]+/)+[\w-]+\.py): ((?:[A-Z]\w*\.)?\w+)`(?:[^`\n]*`([A-Z]\w*\.\w+)`)?")
FOLDERS = (".", "scripts", "grpotool", "grpotool/dataset", "dataloop", "dialog_generation")
"""Where a page's `cd` may have led."""
GPU = re.compile(r"\bconfigs/qwen3|\bserve\.sh|multinode_qwen32b|train_grpo_qwen|flash-attn"
                 r"|probe\.engine=|train\.gpus_per_node|^\s*\$run|\bray start|requirements-gpu")
"""Words of commands that start an engine, or train a model of billions."""
MARK = "needs a GPU"


class Command(NamedTuple):
    """One command of a page."""

    page: str
    line: int
    words: list[str]
    """As a shell has them, without comments and redirections."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {' '.join(self.words)}"


def blocks(page: str) -> Iterator[tuple[int, list[str], str]]:
    """Shell blocks, indented by four or fenced: first line, lines, and the text before."""
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    inside, fence = [], None
    for number, line in enumerate([*lines, "end"], 1):
        if line.startswith("```"):
            fence = None if fence is not None else line[3:].strip()
            continue
        if (fence in ("bash", "sh")) or (fence is None and line.startswith("    ")):
            inside.append(line)
        elif inside and (line or fence is not None):
            first = number - len(inside)
            before = "\n".join(lines[:first - 1]).rstrip().rpartition("\n\n")[2]
            yield first, inside, before
            inside = []


def commands(page: str) -> Iterator[Command]:
    """Every command of a page that runs something of this repository."""
    for first, lines, _ in blocks(page):
        text = re.sub(r" *\\\n *", " ", "\n".join(lines))
        for offset, line in enumerate(text.splitlines()):
            for part in re.split(r"&&|;|\|(?!\w)", re.sub(r"(^|\s)#.*", "", line)):
                try:
                    words = shlex.split(part)
                except ValueError:  # a block that is no shell
                    continue
                while words and re.match(r"[A-Z]\w*=|do$|nohup$|run=", words[0]):
                    words = words[1:]
                if words[:1] == ["bash"] or words[:1] == ["python"]:
                    yield Command(page, first + offset, words[1:])
    inline = (ROOT / page).read_text(encoding="utf-8")
    for found in re.finditer(r"`((?:bash|python) [^`]+?)`", inline):
        line = inline.count("\n", 0, found.start()) + 1
        yield Command(page, line, shlex.split(" ".join(found[1].split()))[1:])


COMMANDS = [command for page in PAGES for command in commands(page)
            if command.words[0] not in ("-", "-c") and "NN" not in command.words[0]]


def script(command: Command) -> Path | None:
    """The file that a command runs; None for a module of others."""
    if command.words[0] == "-m":
        path = ROOT / f"{command.words[1].replace('.', '/')}.py"
        return None if command.words[1] == "pytest" else path
    there = [ROOT / folder / command.words[0] for folder in FOLDERS]
    found = [path for path in there if path.is_file()]
    assert found, f"{command}: there is no {command.words[0]}"
    return found[0]


@lru_cache
def sources(path: Path) -> str:
    """The text of a script and of all that it runs or imports from beside it."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"[\w$/{}\"]*?([\w-]+\.(?:sh|py))\b", text) if path.suffix == ".sh" else []
    near = [found for name in named if name != path.name
            for found in [*ROOT.glob(f"*/{name}"), *ROOT.glob(f"*/*/{name}"),
                          *ROOT.glob(f"grpotool/dataset/utils/{name}")]]
    imported = [ROOT / f"{module.replace('.', '/')}.py"
                for module in re.findall(r"^from ([\w.]+) import", text, re.M)]
    texts = [near_text.read_text(encoding="utf-8") for near_text in imported if near_text.is_file()]
    return "\n".join([text, *texts, *(sources(other) for other in near if other.suffix == ".py")])


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_names_a_script_and_flags_that_are_there(command: Command) -> None:
    path = script(command)
    if path is None:
        files = [word.partition("::")[0] for word in command.words if word.endswith(".py")]
        assert all((ROOT / file).is_file() for file in files), command
        return
    assert path.is_file(), command
    words = command.words[:command.words.index("--")] if "--" in command.words else command.words
    if path.name != "serve.sh":  # which hands all flags to vLLM
        flags = [word.partition("=")[0] for word in words if re.fullmatch(r"--[a-z][\w=.-]*", word)]
        known = sources(path) + sources(ROOT / "looptool" / "config.py")
        missing = [flag for flag in flags if f'"{flag}"' not in known and f"{flag})" not in known
                   and f"{flag} " not in known and not is_made(flag, known)]
        assert not missing, f"{command}: no flag {missing}"
    if path.suffix == ".sh":
        done = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    else:
        ast.parse(path.read_text(encoding="utf-8"))
    for word, value in zip(words, words[1:]):
        if word == "--set" and "..." not in value and "N" not in value.partition("=")[2]:
            load_config(ROOT / "configs" / "laptop.yaml", [value])
        if word == "--config" and value.startswith("configs/"):
            load_config(ROOT / value)


def is_made(flag: str, text: str) -> bool:
    """Whether a script makes this flag of names in a loop, as next_round.py does."""
    return 'f"--{name}"' in text and f'"{flag.removeprefix("--")}"' in text


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_needs_a_gpu_says_so(page: str) -> None:
    whole = re.search(MARK, (ROOT / page).read_text(encoding="utf-8").partition("\n## ")[0])
    silent = [f"{page}:{first}" for first, lines, before in blocks(page)
              if any(GPU.search(line.partition("#")[0]) for line in lines)
              and not whole and MARK not in before + "\n".join(lines)]
    assert not silent, f'say "{MARK}" in the paragraph before, or in a comment'


def names_in(path: Path) -> set[str]:
    """Functions, classes and methods of a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    names = {node.name for node in tree.body if isinstance(node, kinds)}
    return names | {f"{owner.name}.{node.name}" for owner in tree.body
                    if isinstance(owner, ast.ClassDef) for node in owner.body
                    if isinstance(node, kinds)}


@pytest.mark.parametrize("page", PAGES)
def test_a_named_function_is_where_the_page_says(page: str) -> None:
    found = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert found or page != "docs/life_of_a_sample.md"
    wrong = [f"{file}: {name}" for file, *names in found for name in filter(None, names)
             if not (ROOT / file).is_file() or name not in names_in(ROOT / file)]
    assert not wrong


def test_configuration_is_made_from_the_config() -> None:
    there = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert there == configuration(), "python -m looptool.config_docs > docs/configuration.md"


@pytest.mark.parametrize("page", PAGES)
def test_lines_are_read_without_scrolling(page: str) -> None:
    """A row of a table cannot be broken, and JSON is shown as it is folded."""
    text = re.sub(r"^```json.*?^```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.M | re.S)
    long = [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert not long


def test_readme_is_read_in_five_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 1000


def test_log_has_a_heading_for_each_finding() -> None:
    text = (ROOT / "LOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### .*:.*", text, re.M)
    assert len(headings) >= len(text.split()) / 100


def test_charts_of_the_readme_are_made_by_their_command(tmp_path: Path) -> None:
    help_text = subprocess.run([sys.executable, "-m", "dataloop.reporting.chart_file", "--help"],
                               capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert "docs/accuracy_and_noise.svg" in help_text
