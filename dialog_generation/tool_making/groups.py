"""Tools in groups with example plans, as the released code's --group_tool takes them.

In: a file or folder of JSON objects {"apis": [tool, ...], "plans": ["...", ...]}, the tools in any
form of formats/. Out: groups of distinct, valid tools; a tool that cannot be read is left out with
its reason, a group without one is no group.
"""
from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec

from dialog_generation.tool_making.files import import_tools
from dialog_generation.tool_making.formats import entries_of
from looptool.errors import InputError
from looptool.foreign.files import files_in, read_foreign
from looptool.records import Record, Refused, Tool


ADVICE = 'write a group as {"apis": [tools], "plans": [outlines]}, or leave --group_tool out'


class _Group(msgspec.Struct):
    apis: list[Any]
    plans: list[Any] = []


def read_groups(path: Path) -> tuple[list[ToolGroup], list[Refused]]:
    """The groups of a file or folder, and the tools left out.

    Raises:
        InputError: a file cannot be read, an object is no group, or no group has a tool that can be
            read.
    """
    groups, refused = [], []
    for file in files_in(path):
        for place, value in read_foreign(file):
            try:
                group = msgspec.convert(value, _Group)
            except msgspec.ValidationError as error:
                raise InputError(f"{file}: {place}: {error}; {ADVICE}") from None
            entries = (entry for api in group.apis for entry in entries_of(str(place), api))
            tools, left_out = import_tools(entries, Counter())
            refused += left_out
            if tools:
                plans = [plan if isinstance(plan, str) else msgspec.json.encode(plan).decode()
                         for plan in group.plans]
                groups.append(ToolGroup(tools=tools, plans=plans))
    if not groups:
        raise InputError(f"{path}: no group has a tool that can be read; {ADVICE}")
    return groups, refused


class ToolGroup(Record):
    """Tools that belong together, and outlines of dialogs over them."""

    tools: list[Tool]
    plans: list[str]
