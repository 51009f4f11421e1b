"""What becomes of tools of the real world: taken, refused and why, and whether a taken one has its
source's parameters.

    python benchmarks/tool_sweep.py FOLDER [SOURCE ...]

In: a folder with one subfolder for each source of benchmarks/tool_sources.json, which says where
its files come from. Out: a row of the table in docs/tools.md for each source that is there, the
commonest reasons, and every difference that tool_comparison.py finds. The exit code is 1 where it
finds one.
"""
from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from pathlib import Path

import msgspec

# benchmarks is in no package that pip installs
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.tool_comparison import Shapes, differences, expected
from dialog_generation.tool_making.files import read_tool_files
from looptool.foreign.files import files_in
from looptool.records import Refused, Tool

SOURCES = Path(__file__).with_name("tool_sources.json")
_NAMES = re.compile(r"^operation ('[^']*'|\"[^\"]*\"): |^tool ('[^']*'|\"[^\"]*\"): ")


def row(name: str, folder: Path) -> tuple[str, list[str]]:
    """The row of a source, and the differences of its tools."""
    counts, passed_over = Counter(), Counter()
    tools, refused = read_tool_files(folder, counts, passed_over)
    found = [f"{name}: {tool.name}: {text}" for tool, texts in compared(folder, tools)
             for text in texts]
    again = counts["repeated"] + counts["duplicate_name"] + counts["duplicate_schema"]
    cells = [name, counts.total(), len(tools), again, counts["unreadable"], reasons(refused),
             len(found)]
    return (f"| {' | '.join(f'{cell:,}' if isinstance(cell, int) else cell for cell in cells)} |",
            found)


def compared(folder: Path, tools: list[Tool]) -> list[tuple[Tool, list[str]]]:
    """The tools that differ from every description of their name in the source, with how they
    do."""
    sources = expected(files_in(folder))
    wrong = []
    for tool in tools:
        shape = Shapes(tool.parameters, None).shape(tool.parameters, None)
        each = [list(differences(source, shape)) for source in sources.get(tool.name, [])]
        texts = min(each, key=len, default=["its name is not in the source"])
        if texts:
            wrong.append((tool, texts))
    return wrong


def reasons(refused: list[Refused]) -> str:
    """The commonest reasons, what is quoted in them left out."""
    counts = Counter(
        re.sub(r"\s+", " ", re.sub(r"'[^']*'|[\[{].*", "…", _NAMES.sub("", entry.reason)))[:70]
        for entry in refused if entry.code == "unreadable")
    return "; ".join(f"{reason} ({count:,})"
                     for reason, count in counts.most_common(3)).replace("|", "\\|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("sources", nargs="*",
                        help="default: all of tool_sources.json that are there")
    args = parser.parse_args()
    known = msgspec.json.decode(SOURCES.read_bytes(), type=dict[str, str])
    found: list[str] = []
    print("| source | described | taken | again | refused | commonest reasons | differ "
          "|\n|---|---|---|---|---|---|---|")
    for name in args.sources or [name for name in known if (args.folder / name).is_dir()]:
        line, wrong = row(name, args.folder / name)
        print(line, flush=True)
        found += wrong
    print(f"\n{len(found)} differences", *found[:200], sep="\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
