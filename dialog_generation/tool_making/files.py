"""Tool lists of others -> Tool records, and what cannot be represented aside.

In: a file, or a folder of .json, .jsonl, .yaml and .parquet files, subfolders included, in the
order of their names; tools in any form of formats/. Out: tools with distinct names and valid
parameters. A tool without a domain that comes from a subfolder has the subfolder's name as its
domain, as ToolBench sorts its tools. A file of a folder that cannot be read is refused like a tool.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from dialog_generation.tool_making.formats import Entry, entries_of
from dialog_generation.tool_making.formats.entry import Origin, PassedOver, refused
from looptool.errors import InputError
from looptool.foreign.dialects import check_dialect
from looptool.foreign.files import files_in, read_foreign
from looptool.foreign.tool_objects import read_tool
from looptool.ids import content_id
from looptool.records import Refused, Tool


def import_tools(entries: Iterable[Entry], counts: Counter[str],
                 passed_over: PassedOver | None = None) -> tuple[list[Tool], list[Refused]]:
    """Read foreign tools; `counts` says what became of each, `passed_over` which keys of theirs
    were not read.

    A tool that is there already counts as "repeated"; another one of the same name is refused as
    "duplicate_name", one with the description and parameters of another as "duplicate_schema", one
    without a certain meaning as "unreadable".
    """
    tools: dict[str, Tool] = {}
    same_schema: dict[str, str] = {}
    aside = []
    for entry in entries:
        unread: PassedOver = Counter()
        try:
            tool = valid_tool(entry, unread)
        except ValueError as error:
            code, reason = "unreadable", str(error)
        else:
            code, reason = _status(tool, tools, same_schema)
        counts[code] += 1
        if reason:
            aside.append(Refused(place=entry.place, code=code, reason=reason, record=entry.record))
        elif passed_over is not None:
            passed_over.update(unread)
    return list(tools.values()), aside


def valid_tool(entry: Entry, passed_over: PassedOver | None = None) -> Tool:
    """The tool of an entry.

    Raises:
        ValueError: its meaning is not certain, or its parameters are no JSON Schema of the dialect
            that they name.
    """
    unread: PassedOver = Counter() if passed_over is None else passed_over
    try:
        tool = read_tool(entry.convert(entry.record, unread), unread)
        try:
            check_dialect(tool.parameters)
        except ValueError as error:
            raise ValueError(f"tool {tool.name!r}: parameters: {error}") from None
    except RecursionError:
        raise ValueError("the tool is nested too deeply") from None
    return tool if tool.domain else msgspec.structs.replace(tool, domain=entry.folder)


def _status(tool: Tool, tools: dict[str, Tool], same_schema: dict[str, str]) -> tuple[str, str]:
    """What becomes of a tool, and why it is refused; a new one enters `tools`.

    Without a description only the name tells what a tool does, so that none counts as a copy of
    another.
    """
    known = tools.get(tool.name)
    if known is not None:
        return ("repeated", "") if known == tool else ("duplicate_name",
                                                       f"another tool is named {tool.name!r}")
    if tool.description:
        twin = same_schema.setdefault(content_id(tool.description, tool.parameters), tool.name)
        if twin != tool.name:
            return ("duplicate_schema",
                    f"{twin!r} has the same description and parameters as {tool.name!r}")
    tools[tool.name] = tool
    return "imported", ""


def read_tool_files(path: Path, counts: Counter[str],
                    passed_over: PassedOver | None = None) -> tuple[list[Tool], list[Refused]]:
    """`import_tools` on a file or folder.

    Raises:
        InputError: the file cannot be read or is no JSON.
    """
    return import_tools(file_entries(path, passed_over), counts, passed_over)


def file_entries(path: Path, passed_over: PassedOver | None = None) -> Iterator[Entry]:
    """The tools of a file or folder before they are read, their places told from `path`."""
    root = path if path.is_dir() else path.parent
    for file in files_in(path):
        inside = file.relative_to(path).parent
        bad: list[Refused] = []
        try:
            for place, value in read_foreign(file, bad.append):
                for entry in entries_of(str(inside / place), value, Origin(file, root),
                                        passed_over):
                    yield entry._replace(folder=inside.name)
        except InputError as error:
            if file == path:
                raise
            yield refused(str(inside / file.name), None, str(error))
        yield from (refused(str(inside / entry.place), entry.record, entry.reason) for entry in bad)
