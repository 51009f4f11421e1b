"""Tool lists of others -> Tool records, and what cannot be represented aside.

In: a file, or a folder of .json and .jsonl files in the order of their names; a tool in any form that
looptool.schema.read_tool knows: plain JSON Schema, OpenAI's function form, xLAM style. Out: tools with distinct names.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from looptool.foreign import Refused, read_foreign
from looptool.records import InputError, Tool
from looptool.schema import read_tool


def tool_files(path: Path) -> list[Path]:
    """The files that `path` stands for.

    Raises:
        InputError: it does not exist, or the folder holds no such file.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.iterdir() if file.suffix in (".json", ".jsonl"))
    if not files:
        raise InputError(f"{path}: holds no .json or .jsonl file of tools; put one there or name another place")
    return files


def import_tools(entries: Iterable[tuple[str, Any]], counts: Counter[str]) -> tuple[list[Tool], list[Refused]]:
    """Read (place, raw tool) pairs; `counts` says what became of each.

    A tool that is there already counts as "repeated"; another one of the same name is refused as "duplicate_name", one
    without a certain meaning as "unreadable".
    """
    tools: dict[str, Tool] = {}
    refused = []
    for place, raw in entries:
        try:
            tool = read_tool(raw)
        except ValueError as error:
            counts["unreadable"] += 1
            refused.append(Refused(place=place, code="unreadable", reason=str(error), record=raw))
            continue
        known = tools.setdefault(tool.name, tool)
        if known is tool:
            counts["imported"] += 1
        elif known == tool:
            counts["repeated"] += 1
        else:
            counts["duplicate_name"] += 1
            refused.append(Refused(place=place, code="duplicate_name", record=raw,
                                   reason=f"another tool is named {tool.name!r}"))
    return list(tools.values()), refused


def read_tool_files(path: Path, counts: Counter[str]) -> tuple[list[Tool], list[Refused]]:
    """`import_tools` on a file or folder.

    Raises:
        InputError: a file cannot be read or is no JSON.
    """
    return import_tools((entry for file in tool_files(path) for entry in read_foreign(file)), counts)
