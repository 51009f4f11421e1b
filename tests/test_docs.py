"""docs/formats.md: its records are those of the golden files, folded; README and docs name only what is there."""
from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from golden_files import FOLDER

from dataloop.next_round import Manifest
from dialog_generation.tool_designer import Design
from dialog_generation.verification import DialogCheck
from looptool.config import ROOT
from looptool.conversations import Conversation
from looptool.foreign import Refused
from looptool.meta import StageMeta
from looptool.records import Dialog, ErrorSeed, LabelChange, Probe, Sample, Tool, Verdict

FORMATS = ROOT / "docs" / "formats.md"
RECORDS = {record.__name__: record for record in (
    Tool, Design, Refused, Dialog, DialogCheck, Conversation, Sample, Probe, Verdict, LabelChange, ErrorSeed, Manifest, StageMeta)}
BLOCK = re.compile(r"^## ([^\n]+)\n(?:(?!^## ).)*?^```json ?(\S*)\n(.*?)^```", re.M | re.S)
WIDTH = 118


def fold(value: Any, indent: int = 0) -> str:
    """JSON that breaks a container over lines only where it does not fit on one."""
    flat = json.dumps(value, ensure_ascii=False)
    if indent + len(flat) <= WIDTH or not isinstance(value, (dict, list)):
        return flat
    between = ",\n" + " " * (indent + 1)
    if isinstance(value, list):
        return "[" + between.join(fold(child, indent + 1) for child in value) + "]"
    return "{" + between.join(f'"{key}": ' + fold(child, indent + len(key) + 5) for key, child in value.items()) + "}"


def first_record(name: str) -> Any:
    """The first JSON value of a golden file."""
    return json.JSONDecoder().raw_decode((FOLDER / name).read_text(encoding="utf-8"))[0]


def blocks() -> list[tuple[str, str, str]]:
    """(heading, golden file, text) of each record shown."""
    if os.environ.get("REGENERATE_GOLDENS"):
        text = FORMATS.read_text(encoding="utf-8")
        FORMATS.write_text(re.sub(
            r"^```json (\S+)\n.*?^```", lambda block: f"```json {block[1]}\n{fold(first_record(block[1]))}\n```", text,
            flags=re.M | re.S), encoding="utf-8")
    return [match.groups() for match in BLOCK.finditer(FORMATS.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("heading, golden, text", blocks(), ids=lambda part: part if "\n" not in part else "")
def test_a_shown_record_is_a_real_one(heading: str, golden: str, text: str) -> None:
    if golden:
        assert text == fold(first_record(golden)) + "\n"
    if heading in RECORDS:
        msgspec.convert(json.loads(text), RECORDS[heading])


def test_every_record_is_shown() -> None:
    assert {heading for heading, _, _ in blocks()} == {*RECORDS, "verl's rows"}


@pytest.mark.parametrize("page", ["README.md", "docs/formats.md", "docs/backends.md", "docs/training.md",
                                  "docs/probing.md"])
def test_what_a_page_names_is_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    scripts = re.findall(r"\b(?:scripts|grpotool|dataloop|dialog_generation|benchmarks|configs)/[\w/]+\.\w+", text)
    named = [*((ROOT / page).parent / link for link in links if link), *(ROOT / name for name in scripts),
             *(ROOT / "scripts" / name for name in re.findall(r"`(\w+\.sh)`", text))]
    missing = [str(path) for path in named if not Path(path).exists()]
    assert named and not missing
