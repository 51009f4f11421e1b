"""How good is a real model as the teacher of dialogs, with structured replies and without?

    python benchmarks/real_teacher.py --endpoint http://HOST:PORT/v1 --model NAME \\
        [--tools ../shared/data/xlam_style_tools.jsonl] [--dialogs 30] [--out runs/real_teacher]

In: a file of tools, and a REAL model behind an OpenAI-compatible server, which plays all four
agents. The same dialogs are begun twice, with `teacher.structured` on and off; nothing else
differs. Out: for each way how the dialogs ended, calls and tokens; one JSON object as last line.
Killed and run again it goes on where it was; `--out` keeps the dialogs.
"""
from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import fmean

from looptool.config_file import ROOT, load_config
from looptool.json_lines import read_jsonl
from looptool.records import Dialog
from looptool.run_files import RunFiles
from looptool.stages.meta import StageMeta, read_meta

AGENTS = ("planner", "user", "assistant", "tool")
CONFIG = ROOT / "configs" / "laptop.yaml"
SCRIPTS = ROOT / "dialog_generation"
TOOLS = ROOT.parent / "shared" / "data" / "xlam_style_tools.jsonl"


def crawl(structured: str, args: argparse.Namespace) -> RunFiles:
    """The dialogs of one way, in a run folder of its own."""
    values = [f"run_dir={args.out / structured}", f"teacher.base_urls=[{args.endpoint}]",
              f"teacher.models=[{args.model}]", f"teacher.in_flight={args.in_flight}",
              f'teacher.structured="{structured}"', "teacher.timeout_seconds=3600",
              *(f"teacher.max_tokens.{agent}={args.max_tokens}" for agent in AGENTS),
              f"dialogs.count={args.dialogs}"]
    flags = ["--config", str(CONFIG), *(word for value in values for word in ("--set", value))]
    for script, *words in (["synthesize_tools.py", "--tools", str(args.tools)],
                           ["run.py", "--func", "data_crawl"]):
        subprocess.run([sys.executable, str(SCRIPTS / script), *words, *flags], check=True)
    return RunFiles(load_config(CONFIG, values))


def summary(meta: StageMeta, dialogs: list[Dialog]) -> dict[str, object]:
    """What one way came to: counts, and tokens of the calls that were paid."""
    usage = meta.usage
    return {
        "dialogs": meta.inputs, "ends": meta.counts, "failed": meta.failed,
        "messages a dialog": fmean(len(dialog.messages) for dialog in dialogs) if dialogs else None,
        "assistant's calls": sum(len(message.calls) for dialog in dialogs
                                 for message in dialog.messages),
        "requests": {role: used.calls for role, used in usage.items()},
        "cut": {role: used.cut for role, used in usage.items() if used.cut},
        "unstructured": {role: used.unstructured for role, used in usage.items()
                         if used.unstructured},
        "prompt tokens": sum(used.prompt_tokens for used in usage.values()),
        "reply tokens": sum(used.completion_tokens for used in usage.values()),
        "seconds": round(meta.seconds)}


def shown(value: object) -> str:
    """A cell of the table."""
    if isinstance(value, dict):
        return ", ".join(f"{count:,} {name}" for name, count in value.items()) or "none"
    return "-" if value is None else f"{value:,.1f}" if isinstance(value, float) else f"{value:,}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--model", required=True, help="its name there")
    parser.add_argument("--tools", type=Path, default=TOOLS)
    parser.add_argument("--dialogs", type=int, default=30)
    parser.add_argument("--max-tokens", type=int, default=512, help="of one reply")
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "real_teacher")
    args = parser.parse_args()
    os.environ.setdefault("CI", "1")
    rows = {}
    for structured in ("on", "off"):
        files = crawl(structured, args)
        dialogs = list(read_jsonl(files.dialogs, Dialog))
        rows[structured] = summary(read_meta(files.dialogs), dialogs)
    print(f"teacher {args.model}, {args.dialogs} dialogs over {args.tools.name}, "
          f"at most {args.max_tokens} tokens a reply")
    for name in rows["on"]:
        print(f"{name}\n    structured:     {shown(rows['on'][name])}\n"
              f"    not structured: {shown(rows['off'][name])}")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
