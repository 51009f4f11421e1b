"""The tools of a run (section 3.1).

In: `--tools`, else dialogs.tools of the config: files or folders of tools, "catalogue" for the built-in list of the
project, "backends" for the tools that are run by code (docs/backends.md); of two tools of one name the first stays. The
forms of tool_formats are recognised from the content: ToolBench, OpenAPI 3, MCP `tools/list`, OpenAI
functions, xLAM style, plain JSON Schema; `--tool-format` refuses any but the named one. Out: run_dir/tools.jsonl, tools
with distinct names, and beside it, where a tool was refused, tools_refused.jsonl with the reason of each. A line of
either:

    {"name": "list_orders", "description": "...", "parameters": {"type": "object", ...}, "domain": "shopping"}
    {"place": "tools.jsonl:7", "code": "unreadable", "reason": "tool 'x': ...", "record": {...}}

Departure from the paper: tools are taken from lists as they are; the dual tree, which lets a model write new ones, is
not part of this script yet.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dialog_generation.backends import backend_tools
from dialog_generation.tool_files import file_entries, import_tools, tool_files
from dialog_generation.tool_formats import AUTO, FORMATS
from dialog_generation.tool_formats.entry import Entry
from looptool.config import RunFiles, argument_parser, load_config
from looptool.foreign import Refused, write_refused
from looptool.records import InputError, Tool
from looptool.simulation.catalogue import catalogue
from looptool.stage import run_main
from looptool.transform import run_transform

BUILT_IN = {"catalogue": lambda: catalogue("train"), "backends": backend_tools}


def find_tools(sources: Sequence[str], counts: Counter[str],
               tool_format: str = AUTO) -> tuple[list[Tool], list[Refused], list[Path]]:
    """The tools of all sources, those refused, and the files that were read.

    Raises:
        InputError: a file cannot be read or is no JSON, or none of the tools can be read.
    """
    files = [file for source in sources if source not in BUILT_IN for file in tool_files(Path(source))]
    entries = (entry for source in sources for entry in source_entries(source, tool_format))
    tools, refused = import_tools(entries, counts)
    if not tools:
        why = f"; the first of {len(refused)} refused, {refused[0].place}: {refused[0].reason}" if refused else ""
        raise InputError(f"{', '.join(sources)}: no tool that can be read{why}; mend it or give another source")
    return tools, refused, files


def source_entries(source: str, tool_format: str) -> Iterator[Entry]:
    """The tools of one source before they are read: a key of BUILT_IN, a file or a folder."""
    if source not in BUILT_IN:
        return file_entries(Path(source), tool_format)
    return (Entry(f"{source}[{index}]", msgspec.to_builtins(tool)) for index, tool in enumerate(BUILT_IN[source]()))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--tools", nargs="+", metavar="SOURCE",
                        help="files or folders of tools, 'catalogue', 'backends' (default: dialogs.tools)")
    parser.add_argument("--tool-format", choices=[AUTO, *FORMATS], default=AUTO,
                        help="the form of the tools; auto recognises it from the content of each (default: auto)")
    parser.add_argument("--output", type=Path, help="tool list to write (default: run_dir/tools.jsonl)")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    output = args.output or RunFiles(config).tools
    counts: Counter[str] = Counter()
    sources = args.tools or [config.dialogs.tools]
    tools, refused, files = find_tools(sources, counts, args.tool_format)
    run_transform("tools", tools, output, counts, settings={"tools": sources, "tool_format": args.tool_format},
                  sources=files)
    write_refused(output, refused)


if __name__ == "__main__":
    run_main(main)
