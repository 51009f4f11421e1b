"""A vLLM that a process starts for itself, by scripts/serve.sh, at a port of this machine, and ends
with its engines."""
from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from looptool.command import end_with_parent
from looptool.config_file import ROOT

LONGEST_START = 3600
"""Seconds; a model of the hub may have to be downloaded first."""
END_SECONDS = 60
"""For it to end by itself: engines that are killed can leave their GPU's memory taken."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(words: Sequence[str], port: int, log: Path) -> subprocess.Popen[bytes]:
    """Start it with serve.sh's words, model and flags; its output is appended to the log."""
    command = ["bash", str(ROOT / "scripts" / "serve.sh"), *words, "--host", "127.0.0.1", "--port",
               str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        # a session of its own: Ctrl-C reaches only us, and killpg its engines as well
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output,
                                stderr=subprocess.STDOUT, start_new_session=True,
                                preexec_fn=end_with_parent)


def last_words(log: Path) -> str:
    """The end of what it has said, for an error."""
    lines = log.read_text(errors="replace").strip().splitlines()[-3:]
    return f"its last words: {' / '.join(lines) or 'none'}"


def end(process: subprocess.Popen[bytes]) -> None:
    """End it, and return when all of its processes are gone; without patience where a signal comes
    meanwhile."""
    try:
        _send(process, signal.SIGTERM, END_SECONDS)
    finally:
        if members(process.pid):
            _send(process, signal.SIGKILL, 10)


def signal_all(process: subprocess.Popen[bytes], sign: int) -> None:
    """To the server and its engines, if any are left."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sign)


def _send(process: subprocess.Popen[bytes], sign: int, seconds: float) -> None:
    signal_all(process, sign)
    until = time.monotonic() + seconds
    while (process.poll() is None or members(process.pid)) and time.monotonic() < until:
        time.sleep(0.2)


def members(group: int) -> list[int]:
    """Processes of a group that have not ended; the server's engines are of its group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            # behind the program's name, which is in brackets and may hold any
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found
