"""The tools of a run (section 3.1): those of others, and new ones by the dual tree.

In: `--tools`, else dialogs.tools of the config: files or folders of tools, "catalogue" for the
built-in list of the project, "backends" for the tools that are run by code (docs/backends.md),
"none". Their form is recognised from the content: ToolBench, OpenAPI 3 and Swagger 2.0, MCP
`tools/list`, the functions of OpenAI, Anthropic, Gemini, Bedrock, Cohere, LangChain and smolagents,
xLAM style, plain JSON Schema; docs/tools.md has the list. `--synthesize N`, else
dialogs.synthesized_tools: a model writes N tools more, each for one leaf path of the context tree
and one of the constraint tree (tool_making/trees/*.yaml, made to be edited).

Out: run_dir/tools.jsonl, tools with distinct names, of two of one name the first; beside it, where
a tool was refused, tools_refused.jsonl with the reason of each; and with N > 0
designed_tools.jsonl, what was written for which paths, or why nothing; docs/formats.md shows a line
of each.
"""
from __future__ import annotations

import argparse
import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from dialog_generation.backends import backend_tools
from dialog_generation.tool_making.designer import Design, design_tools
from dialog_generation.tool_making.dual_tree import CONSTRAINTS, CONTEXTS, read_trees
from dialog_generation.tool_making.files import file_entries, import_tools
from dialog_generation.tool_making.formats.entry import Entry, PassedOver
from looptool.command import argument_parser, run_main
from looptool.config_file import ROOT, load_config
from looptool.foreign.files import files_in
from looptool.json_lines import read_jsonl
from looptool.run_files import RunFiles
from looptool.simulation.world.catalogue import catalogue
from looptool.stages.transform import run_transform

BUILT_IN = {"catalogue": lambda: catalogue("train"), "backends": backend_tools, "none": lambda: []}


def find_entries(sources: Sequence[str], designs: Sequence[Design],
                 passed_over: PassedOver) -> Iterator[Entry]:
    """The tools of all sources and the designed ones before they are read.

    Args:
        sources: each a key of BUILT_IN, a file or a folder.

    Raises:
        InputError: a file cannot be read or is no JSON.
    """
    for source in sources:
        if source in BUILT_IN:
            for index, tool in enumerate(BUILT_IN[source]()):
                yield Entry(f"{source}[{index}]", msgspec.to_builtins(tool))
        else:
            yield from file_entries(Path(source), passed_over)
    for design in designs:
        if design.tool:
            yield Entry(design.id, msgspec.to_builtins(design.tool))


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--tools", nargs="+", metavar="SOURCE",
                        help="files or folders of tools, 'catalogue', 'backends', 'none' (default: "
                             "dialogs.tools)")
    parser.add_argument("--synthesize", type=int, metavar="N",
                        help="tools that a model writes by the dual tree (default: "
                             "dialogs.synthesized_tools)")
    parser.add_argument("--contexts", type=Path, default=CONTEXTS, metavar="FILE",
                        help="the context tree (default: "
                             "dialog_generation/tool_making/trees/contexts.yaml)")
    parser.add_argument("--constraints", type=Path, default=CONSTRAINTS, metavar="FILE",
                        help="the constraint tree (default: "
                             "dialog_generation/tool_making/trees/constraints.yaml)")
    parser.add_argument("--output", type=Path,
                        help="tool list to write (default: run_dir/tools.jsonl)")
    parser.add_argument("--fresh", action="store_true",
                        help="forget the tools that an earlier run has written")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    config = load_config(args.config, args.overrides)
    files = RunFiles(config)
    configured = config.dialogs.tools
    sources = args.tools or [configured if configured in BUILT_IN else str(ROOT / configured)]
    count = config.dialogs.synthesized_tools if args.synthesize is None else args.synthesize
    read = [file for source in sources if source not in BUILT_IN
            for file in files_in(Path(source))]
    trees = read_trees(args.contexts, args.constraints)
    designs: list[Design] = []
    if count > 0:
        asyncio.run(design_tools(config, trees, [args.contexts, args.constraints], count,
                                 files.designed_tools, args.fresh))
        designs = list(read_jsonl(files.designed_tools, Design))
    counts, passed_over = Counter(), Counter()
    entries = find_entries(sources, designs, passed_over)
    tools, refused = import_tools(entries, counts, passed_over)
    run_transform("tools", tools, args.output or files.tools, counts, settings={"tools": sources},
                  sources=[*read, files.designed_tools] if designs else read, refused=refused,
                  passed_over=passed_over)


if __name__ == "__main__":
    run_main(main)
