"""Dialogs in the message form of the OpenAI API.

In: the dialogs that may become seed samples, run_dir/verified_dialogs.jsonl (with dialogs.verify
"none" run_dir/dialogs.jsonl). Out: run_dir/conversations.jsonl, one conversation a dialog, in the
form that looptool/foreign/conversations.py describes: calls are "tool_calls", a turn without a
majority has "weight": 0. Reasoning is removed; `--keep_reasoning` keeps it, as "reasoning_content"
of a message.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from looptool.command import argument_parser, run_main
from looptool.config_file import load_config
from looptool.foreign.conversations import Conversation, from_dialog
from looptool.json_lines import read_jsonl
from looptool.records import Dialog
from looptool.run_files import RunFiles
from looptool.stages.meta import StageMeta
from looptool.stages.transform import run_transform


def convert(dialogs: Path, output: Path, keep_reasoning: bool = False) -> StageMeta:
    """Stream dialogs into conversations."""
    counts: Counter[str] = Counter()

    def conversations() -> Iterator[Conversation]:
        for dialog in read_jsonl(dialogs, Dialog):
            counts["converted"] += 1
            yield from_dialog(dialog, keep_reasoning)

    return run_transform("conversations", conversations(), output, counts,
                         settings={"keep_reasoning": keep_reasoning}, sources=[dialogs])


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path,
                        help="dialogs (default: those that dialogs.verify lets pass)")
    parser.add_argument("--output", type=Path,
                        help="conversations (default: run_dir/conversations.jsonl)")
    parser.add_argument("--keep_reasoning", action="store_true",
                        help="keep what stood inside <think>")
    args = parser.parse_args()
    files = RunFiles(load_config(args.config, args.overrides))
    convert(args.input or files.seed_dialogs, args.output or files.conversations,
            args.keep_reasoning)


if __name__ == "__main__":
    run_main(main)
