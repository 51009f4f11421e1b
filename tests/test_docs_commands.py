"""What README and docs tell to run can be run: scripts, modules, flags and config keys exist.

Most take minutes and are not run here. Their words are looked up: each script is there and parses,
each flag is known, each `--set` is a key. The slow part asks each Python script for its --help.
What needs a GPU says so in the paragraph before it, or in a comment. Their list:

    python tests/test_docs_commands.py
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

from looptool.config_docs import page as configuration
from looptool.config_file import ROOT, load_config

PAGES = ["README.md", "LOG.md", "benchmarks/README.md",
         *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))]
NAMED = re.compile(r"`((?:[\w-]+/)+[\w-]+\.py): ((?:[A-Z]\w*\.)?\w+)`(?:[^`\n]*`([A-Z]\w*\.\w+)`)?")
FOLDERS = (".", "scripts", "grpotool", "grpotool/dataset", "dataloop", "dialog_generation")
"""Where a page's `cd` may have led."""
GPU = re.compile(r"\bconfigs/qwen3|\bserve\.sh|multinode_qwen32b|train_grpo_qwen|flash-attn"
                 r"|probe\.engine=|train\.gpus_per_node|^\s*\$run|\bray start|requirements-gpu")
"""Words of commands that start an engine, or train a model of billions."""
MARK = re.compile(r"\bneeds\s+a\s+GPU")


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
    inside: list[str] = []
    first, fence = 0, ""
    for number, line in enumerate([*lines, "end"], 1):
        ends = line.startswith("```")
        if not ends and (fence in ("bash", "sh") or not fence and line.startswith("    ")):
            first = first if inside else number
            inside.append(line)
        elif inside and line:
            text = "\n".join(lines[:first - 1]).removesuffix(f"```{fence}").rstrip()
            yield first, inside, text.rpartition("\n\n")[2]
            inside = []
        if ends:
            fence = "" if fence else line[3:].strip() or "text"


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
    return found[0] if found else ROOT / command.words[0]


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
    assert path.is_file(), f"{command}: there is no {path.name}"
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


def gpu_blocks(page: str) -> Iterator[tuple[str, str, bool]]:
    """Blocks that need a GPU: place, first line, and whether the page says so."""
    whole = MARK.search((ROOT / page).read_text(encoding="utf-8").partition("\n## ")[0])
    for first, lines, before in blocks(page):
        if any(GPU.search(line.partition("#")[0]) for line in lines):
            said = bool(whole or MARK.search(before + "\n".join(lines)))
            yield f"{page}:{first}", next(line.strip() for line in lines if line.strip()), said


@pytest.mark.parametrize("page", PAGES)
def test_a_block_that_needs_a_gpu_says_so(page: str) -> None:
    silent = [place for place, _, said in gpu_blocks(page) if not said]
    assert not silent, 'say that it "needs a GPU" in the paragraph before, or in a comment'


PYTHON = sorted({(path, word.partition("=")[0]) for command in COMMANDS
                 if (path := script(command)) and path.suffix == ".py" and path.is_file()
                 and "bfcl" not in path.parts
                 for word in command.words[1:]
                 if re.match(r"--(?!config|set|round|fresh|help)[a-z]", word)})
"""Scripts and their own flags; those of bfcl/ have an environment of their own."""


@pytest.mark.slow
@pytest.mark.parametrize("path", sorted({path for path, _ in PYTHON}), ids=lambda path: path.name)
def test_a_script_lists_the_flags_that_are_named(path: Path) -> None:
    done = subprocess.run([sys.executable, str(path), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    listed = set(re.findall(r"--[a-z][\w-]*", done.stdout))
    assert {flag for script, flag in PYTHON if script == path} <= listed


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
    text = re.sub(r"^```json.*?^```", "", (ROOT / page).read_text(encoding="utf-8"),
                  flags=re.M | re.S)
    long = [line for line in text.splitlines() if len(line) > 100 and not line.startswith("|")]
    assert not long


def test_readme_is_read_in_five_minutes() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) < 1000


def test_log_has_a_heading_for_each_finding() -> None:
    text = (ROOT / "LOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### .*:.*", text, re.M)
    assert len(headings) >= len(text.split()) / 100


def test_the_chart_shows_the_figures_of_the_table() -> None:
    """docs/accuracy_and_noise.svg is of the run whose table README quotes."""
    chart = (ROOT / "docs" / "accuracy_and_noise.svg").read_text(encoding="utf-8")
    table = (ROOT / "README.md").read_text(encoding="utf-8")
    shown = re.findall(r">([\d.]+%)</text>", re.sub(r'<text class="tick".*?</text>', "", chart))
    rows = [re.findall(r"[\d.]+%", row) for row in table.splitlines()
            if row.strip().startswith(("held-out accuracy", "label noise"))]
    assert len(shown) >= 4 and sorted(shown) == sorted(figure for row in rows for figure in row)


if __name__ == "__main__":
    for page in PAGES:
        for place, line, said in gpu_blocks(page):
            print(f"{place}: {line}{'' if said else '   (not said)'}")
