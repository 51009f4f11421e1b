"""The tools of a run (section 3.1).

In: `--tools`, else dialogs.tools of the config: a file or folder of tools, or "catalogue" for the built-in list of the
project. The forms of tool_formats are recognised from the content: ToolBench, OpenAPI 3, MCP `tools/list`, OpenAI
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
from pathlib import Path

from dialog_generation.tool_files import read_tool_files, tool_files
from dialog_generation.tool_formats import AUTO, FORMATS
from looptool.config import RunFiles, argument_parser, load_config
from looptool.foreign import Refused, write_refused
from looptool.records import Tool
from looptool.simulation.catalogue import catalogue
from looptool.stage import run_main
from looptool.transform import run_transform


def find_tools(source: str, counts: Counter[str],
               tool_format: str = AUTO) -> tuple[list[Tool], list[Refused], list[Path]]:
    """The tools of "catalogue", a file or a folder, those refused, and the files that were read.

    Raises:
        InputError: a file cannot be read or is no JSON.
    """
    if source == "catalogue":
        tools = list(catalogue("train"))
        counts["built in"] += len(tools)
        return tools, [], []
    tools, refused = read_tool_files(Path(source), counts, tool_format)
    return tools, refused, tool_files(Path(source))


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--tools", metavar="SOURCE",
                        help="file or folder of tools, or 'catalogue' (default: dialogs.tools)")
    parser.add_argument("--tool-format", choices=[AUTO, *FORMATS], default=AUTO,
                        help="the form of the tools; auto recognises it from the content of each (default: auto)")
    parser.add_argument("--output", type=Path, help="tool list to write (default: run_dir/tools.jsonl)")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    output = args.output or RunFiles(config).tools
    counts: Counter[str] = Counter()
    source = args.tools or config.dialogs.tools
    tools, refused, sources = find_tools(source, counts, args.tool_format)
    run_transform("tools", tools, output, counts, settings={"tools": source, "tool_format": args.tool_format},
                  sources=sources)
    write_refused(output, refused)


if __name__ == "__main__":
    run_main(main)
