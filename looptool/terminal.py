"""What a person sees of a script: one line a step, and a bar while it runs.

On a terminal the name of the step is bold, warnings are yellow and errors red, but not with
NO_COLOR. Lines are broken between words. A bar shows what is done and the time left, and goes when
the step ends. In a pipe or a file there are whole lines and nothing else. Paths are shown as from
the current folder.
"""
from __future__ import annotations

import logging
import os
import shutil
import sys
import textwrap
from typing import TextIO

from tqdm import tqdm

WIDTH = 120
"""Columns that a line of a step may take."""
BOLD, RED, YELLOW = "\033[1m", "\033[31m", "\033[33m"
PLAIN = "\033[0m"
# some of these log a line for every request
_NOISY = ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "aiohttp")
_BAR = "{desc}: {n_fmt}/{total_fmt} |{bar:24}| {elapsed}, {remaining} left{postfix}"
_BAR_OF_UNKNOWN = "{desc}: {n_fmt}, {elapsed}{postfix}"


def has_colors(stream: TextIO) -> bool:
    """Whether escape codes may go there (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def colored(text: str, color: str, stream: TextIO) -> str:
    """The text in a color, where the stream takes any."""
    return f"{color}{text}{PLAIN}" if text and has_colors(stream) else text


class Lines(logging.Handler):
    """Writes log records to stderr, above the bar that may be there."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(shown(record.getMessage(), record.levelno), file=sys.stderr)


def shown(text: str, level: int) -> str:
    """A message as it stands on stderr."""
    folder = os.getcwd().rstrip("/") + "/"
    text = text.replace(folder, "") if folder != "/" else text
    if not sys.stderr.isatty():
        return text
    width = min(WIDTH, shutil.get_terminal_size().columns)
    text = "\n".join(textwrap.fill(line, width, subsequent_indent="    ", break_long_words=False,
                                   break_on_hyphens=False)
                     for line in text.splitlines())
    if level >= logging.WARNING:
        return colored(text, RED if level >= logging.ERROR else YELLOW, sys.stderr)
    # the name of a step is short; another colon stands in a sentence
    name, colon, rest = text.partition(":")
    return colored(name, BOLD, sys.stderr) + colon + rest if len(name) < 30 else text


def log_to_terminal() -> None:
    """Send the log of this process to stderr; LOOPTOOL_LOG=debug shows the lines that files hold
    too."""
    # of a word that is no level it makes a text
    level = logging.getLevelName(os.environ.get("LOOPTOOL_LOG", "info").upper())
    logging.basicConfig(level=level if isinstance(level, int) else logging.INFO, handlers=[Lines()])
    for name in _NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def progress(name: str, total: int | None, done: int = 0, unit: str = "it") -> tqdm:
    """A bar on a terminal, nothing elsewhere and under CI; use it in a `with`."""
    return tqdm(desc=name, total=total, initial=done, unit=unit, dynamic_ncols=True, leave=False,
                # None lets tqdm ask whether there is a terminal
                disable=True if os.environ.get("CI") else None,
                bar_format=_BAR if total else _BAR_OF_UNKNOWN)
