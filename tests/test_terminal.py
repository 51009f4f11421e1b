"""looptool/terminal.py: what a person sees, in a pipe and on a terminal of a given width."""
from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

from looptool.stages.meta import StageMeta, shortly
from looptool.terminal import WIDTH

SCRIPT = """
import logging, time
from looptool.command import run_main
from looptool.terminal import progress
log = logging.getLogger()
def main():
    with progress("round 1: probe", 3) as bar:
        for _ in range(3):
            time.sleep(0.15)
            bar.update()
    log.info("probe: %s", " ".join(["words"] * 30))
    log.warning("%s/runs/x: odd", __import__("os").getcwd())
    log.debug("details")
    raise __import__("looptool.errors").errors.InputError("it is; mend it")
run_main(main)
"""
CODES = re.compile(r"\x1b\[[0-9;]*m")


def in_pipe(tmp_path: Path, **variables: str) -> str:
    return subprocess.run([sys.executable, "-c", SCRIPT], stderr=subprocess.PIPE, text=True,
                          cwd=tmp_path, env={**os.environ, **variables}).stderr


def on_terminal(tmp_path: Path, columns: int, **variables: str) -> str:
    """What a terminal of so many columns is sent."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items()
            if name not in ("CI", "NO_COLOR", "COLUMNS")}
    process = subprocess.Popen([sys.executable, "-c", SCRIPT], stdin=follower, stdout=follower,
                               stderr=follower, cwd=tmp_path,
                               env={**kept, "TERM": "xterm", **variables})
    os.close(follower)
    said = b""
    try:
        while part := os.read(leader, 65536):
            said += part
    except OSError:  # Linux ends the reading so when the last writer is gone
        pass
    assert process.wait() == 2
    os.close(leader)
    return said.decode()


def test_a_pipe_gets_whole_lines_without_colors_or_bars(tmp_path: Path) -> None:
    lines = in_pipe(tmp_path).splitlines()
    assert lines == ["probe: " + " ".join(["words"] * 30), "runs/x: odd", "it is; mend it"]
    assert "details" in in_pipe(tmp_path, LOOPTOOL_LOG="debug").splitlines()


@pytest.mark.parametrize("columns", [80, 120, 200])
def test_a_terminal_gets_lines_that_fit_and_a_bar_that_goes(tmp_path: Path, columns: int) -> None:
    said = on_terminal(tmp_path, columns)
    assert "\x1b[1mprobe\x1b[0m: words" in said and "\x1b[33mruns/x: odd\x1b[0m" in said
    assert "\x1b[31mit is; mend it\x1b[0m" in said
    plain = CODES.sub("", said).replace("\r\n", "\n")
    assert re.search(r"round 1: probe: 1/3 \|.+\| 00:00, 00:0\d left", plain)
    shown = [line.rpartition("\r")[2].rstrip() for line in plain.split("\n")]
    assert not any("left" in line for line in shown), "the bar stays"
    assert max(map(len, shown)) <= min(columns, WIDTH)


def test_no_color_is_kept_to(tmp_path: Path) -> None:
    assert not CODES.search(on_terminal(tmp_path, 100, NO_COLOR="1"))


def test_a_stage_says_the_commonest_reasons_and_how_many_others() -> None:
    counts = {f"reason_{number}": 18_304 - number for number in range(9)}
    assert shortly(counts, 2) == "18,304 reason_0, 18,303 reason_1, 128,093 more"
    meta = StageMeta(stage="conversations", settings=None, sources={}, version="0", inputs=164_700,
                     counts=counts, failed=12, failures={}, records=164_688, usage={},
                     seconds=3600.0)
    assert len(meta.line()) <= WIDTH and " more, 12 failed; " in meta.line()
