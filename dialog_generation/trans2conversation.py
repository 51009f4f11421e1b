"""Dialogs in the message form of the OpenAI API.

In: the dialogs that may become seed samples, run_dir/verified_dialogs.jsonl (with dialogs.verify "none"
run_dir/dialogs.jsonl). Out: run_dir/conversations.jsonl, one conversation a dialog, in the
form that looptool/conversations.py describes: reasoning and outline are left out, calls are "tool_calls", a turn
without a majority has "weight": 0.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from looptool.config import RunFiles, argument_parser, load_config
from looptool.conversations import Conversation, from_dialog
from looptool.meta import StageMeta
from looptool.records import Dialog, read_jsonl
from looptool.stage import run_main
from looptool.transform import run_transform


def convert(dialogs: Path, output: Path) -> StageMeta:
    """Stream dialogs into conversations."""
    counts: Counter[str] = Counter()

    def conversations() -> Iterator[Conversation]:
        for dialog in read_jsonl(dialogs, Dialog):
            counts["converted"] += 1
            yield from_dialog(dialog)

    return run_transform("conversations", conversations(), output, counts, settings={}, sources=[dialogs])


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path, help="dialogs (default: those that dialogs.verify lets pass)")
    parser.add_argument("--output", type=Path, help="conversations (default: run_dir/conversations.jsonl)")
    args = parser.parse_args()
    files = RunFiles(load_config(args.config, args.overrides))
    convert(args.input or files.seed_dialogs, args.output or files.conversations)


if __name__ == "__main__":
    run_main(main)
