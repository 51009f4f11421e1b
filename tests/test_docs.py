"""docs/formats.md: its records are those of the golden files, folded; README and docs name only
what is there."""
from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from golden_files import FOLDER

from dataloop.mixing.manifest import Manifest
from dialog_generation.tool_making.designer import Design
from dialog_generation.verification import DialogCheck
from looptool.config_file import ROOT
from looptool.foreign.conversations import Conversation
from looptool.records import Dialog, ErrorSeed, LabelChange, Probe, Refused, Sample, Tool, Verdict
from looptool.stages.meta import StageMeta

FORMATS = ROOT / "docs" / "formats.md"
RECORDS = {record.__name__: record for record in (
    Tool, Design, Refused, Dialog, DialogCheck, Conversation, Sample, Probe, Verdict, LabelChange,
    ErrorSeed, Manifest, StageMeta)}
BLOCK = re.compile(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```json ?(\S*)\n(.*?)^```", re.M | re.S)
WIDTH = 98
SHOWN_ABOVE = {"Probe": {"sample": "<Sample>"}, "Verdict": {"probe": "<Probe>"},
               "ErrorSeed": {"sample": "<Sample>"}}
"""Fields whose record the page has shown already."""
MESSAGES = 6
"""Of a conversation that the page shows under Dialog already, the messages that are shown again."""


def fold(value: Any, indent: int = 0, before: int = 0) -> str:
    """JSON that breaks a container over lines only where it does not fit on one; what is short
    stands side by side.

    Args:
        before: characters that stand before the value on its first line.
    """
    flat = json.dumps(value, ensure_ascii=False)
    if indent + before + len(flat) <= WIDTH or not isinstance(value, (dict, list)):
        return flat
    keys = [f'"{key}": ' for key in value] if isinstance(value, dict) else [""] * len(value)
    children = list(value.values()) if isinstance(value, dict) else value
    inside, used = indent + 1, before + 1
    text, broken = "{" if isinstance(value, dict) else "[", False
    for number, (key, child) in enumerate(zip(keys, children, strict=True)):
        comma = "," if number + 1 < len(keys) else ""
        piece = key + fold(child, inside, len(key)) + comma
        if number and (broken or "\n" in piece or inside + used + len(piece) > WIDTH):
            text, used = f"{text}\n{' ' * inside}", 0
        elif number:
            text += " "
        text, used, broken = text + piece, used + len(piece) + 1, "\n" in piece
    return text + ("}" if isinstance(value, dict) else "]")


def first_record(name: str) -> Any:
    """The first JSON value of a golden file."""
    return json.JSONDecoder().raw_decode((FOLDER / name).read_text(encoding="utf-8"))[0]


def shown(heading: str, golden: str) -> str:
    """What the page has of a golden file's first record."""
    record = first_record(golden)
    if heading == "Conversation":
        record["messages"] = [*record["messages"][:MESSAGES], "..."]
    return fold(record | SHOWN_ABOVE.get(heading, {})) + "\n"


def blocks() -> list[tuple[str, str, str]]:
    """(heading, golden file, text) of each record shown."""
    found = [match.groups() for match in BLOCK.finditer(FORMATS.read_text(encoding="utf-8"))]
    if os.environ.get("REGENERATE_GOLDENS"):
        text = FORMATS.read_text(encoding="utf-8")
        for heading, golden, there in found:
            if golden:
                text = text.replace(f"```json {golden}\n{there}",
                                    f"```json {golden}\n{shown(heading, golden)}")
        FORMATS.write_text(text, encoding="utf-8")
        return [match.groups() for match in BLOCK.finditer(text)]
    return found


@pytest.mark.parametrize("heading, golden, text", blocks(),
                         ids=lambda part: part if "\n" not in part else "")
def test_a_shown_record_is_a_real_one(heading: str, golden: str, text: str) -> None:
    if golden:
        assert text == shown(heading, golden)
    if heading in RECORDS:
        record = first_record(golden) if golden else json.loads(text)
        msgspec.convert(record, RECORDS[heading])


def test_every_record_is_shown() -> None:
    assert {heading for heading, _, _ in blocks()} == {*RECORDS, "verl's rows"}


@pytest.mark.parametrize("page",
                         ["README.md",
                          *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md")))])
def test_what_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text)
             if "://" not in link]
    scripts = re.findall(
        r"\b(?:scripts|grpotool|dataloop|dialog_generation|benchmarks|configs)/[\w/]+\.\w+", text)
    named = [*((ROOT / page).parent / link for link in links if link),
             *(ROOT / name for name in scripts),
             *(ROOT / "scripts" / name for name in re.findall(r"`(\w+\.sh)`", text))]
    missing = [str(path) for path in named if not Path(path).exists()]
    assert named and not missing
