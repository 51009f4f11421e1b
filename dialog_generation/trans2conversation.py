"""Dialogs in the message form of the OpenAI API, or in the from/value form of the released code.

In: the dialogs that may become seed samples, run_dir/verified_dialogs.jsonl (with dialogs.verify
"none" run_dir/dialogs.jsonl). Out: run_dir/conversations.jsonl, one conversation a dialog, in the
form that looptool/foreign/conversations.py describes: calls are "tool_calls", a turn without a
majority has "weight": 0. With `--form release` run_dir/conversations_release.jsonl, for other
programs only: {"tools", "conversations": [{"from": "user" | "assistant" | "tool", "value"}],
"date", "user_turns", "plan"}; calls are a JSON list as text, the results of one turn a list. It has
no place for masked turns, so a dialog with one is left out and counted.

Reasoning is removed; `--keep_reasoning` keeps it, as "reasoning_content" of a message, or as
<think> in a value.
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from looptool.command import argument_parser, run_main
from looptool.config_file import load_config
from looptool.foreign.conversations import from_dialog
from looptool.json_lines import read_jsonl
from looptool.records import Dialog, Message
from looptool.run_files import RunFiles
from looptool.stages.meta import StageMeta
from looptool.stages.transform import run_transform

FORMS = ("openai", "release")


def convert(dialogs: Path, output: Path, form: str = "openai",
            keep_reasoning: bool = False) -> StageMeta:
    """Stream dialogs into conversations of one of FORMS."""
    counts: Counter[str] = Counter()

    def conversations() -> Iterator[Any]:
        for dialog in read_jsonl(dialogs, Dialog):
            if form == "release" and any(message.suspect for message in dialog.messages):
                counts["masked_turn"] += 1
                continue
            counts["converted"] += 1
            yield (from_dialog(dialog, keep_reasoning) if form == "openai"
                   else release_form(dialog, keep_reasoning))

    return run_transform("conversations", conversations(), output, counts,
                         settings={"form": form, "keep_reasoning": keep_reasoning},
                         sources=[dialogs])


def release_form(dialog: Dialog, keep_reasoning: bool) -> dict[str, Any]:
    """One dialog in the from/value form."""
    turns: list[dict[str, Any]] = []
    for message in dialog.messages:
        if message.role != "tool":
            turns.append({"from": message.role, "value": _value(message, keep_reasoning)})
        elif turns[-1]["from"] == "tool":
            turns[-1]["value"].append(message.content)
        else:
            turns.append({"from": "tool", "value": [message.content]})
    return {"tools": [{"name": tool.name, "description": tool.description,
                       "parameters": tool.parameters}
                      for tool in dialog.tools],
            "conversations": turns, "date": dialog.date, "plan": msgspec.to_builtins(dialog.plan),
            "user_turns": sum(message.role == "user" for message in dialog.messages)}


def _value(message: Message, keep_reasoning: bool) -> str:
    calls = [{"name": call.name, "arguments": call.arguments} for call in message.calls]
    value = json.dumps(calls, ensure_ascii=False) if calls else message.content
    return (f"<think>\n{message.reasoning}\n</think>\n\n{value}"
            if keep_reasoning and message.reasoning else value)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path,
                        help="dialogs (default: those that dialogs.verify lets pass)")
    parser.add_argument("--output", type=Path,
                        help="conversations (default: run_dir/conversations.jsonl)")
    parser.add_argument("--form", choices=FORMS, default="openai",
                        help="default: openai, the one that later steps read")
    parser.add_argument("--keep_reasoning", action="store_true",
                        help="keep what stood inside <think>")
    args = parser.parse_args()
    files = RunFiles(load_config(args.config, args.overrides))
    output = {"openai": files.conversations,
              "release": files.conversations.with_stem("conversations_release")}[args.form]
    convert(args.input or files.seed_dialogs, args.output or output, args.form, args.keep_reasoning)


if __name__ == "__main__":
    run_main(main)
