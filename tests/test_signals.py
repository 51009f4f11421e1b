"""Started in the background or by nohup, a process keeps ignoring what its starter ignores."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from looptool.config_file import ROOT
from looptool.stages.follow import is_running

RAY = """import os, pathlib, sys, time
pathlib.Path(sys.argv[-3]).write_text(f"{os.getpid()}\\n")
time.sleep(60)
"""
"""In the place of Ray: says who it is, and waits. Its last arguments are --block and another."""


@pytest.mark.parametrize("ignored", [True, False], ids=["by nohup", "in a terminal"])
def test_a_node_of_ray_outlives_its_terminal_under_nohup(tmp_path: Path, ignored: bool) -> None:
    package = tmp_path / "ray" / "scripts"
    package.mkdir(parents=True)
    for folder in (package.parent, package):
        (folder / "__init__.py").touch()
    (package / "scripts.py").write_text(RAY)
    there = tmp_path / "there"
    handler = signal.SIG_IGN if ignored else signal.SIG_DFL
    node = subprocess.Popen(
        [sys.executable, str(ROOT / "grpotool/nodes/ray_node.py"), "none", str(there)],
        stdin=subprocess.PIPE, env=os.environ | {"PYTHONPATH": str(tmp_path)},
        preexec_fn=lambda: signal.signal(signal.SIGHUP, handler))
    while not there.exists() or not there.read_text():
        assert node.poll() is None
        time.sleep(0.02)
    node.send_signal(signal.SIGHUP)
    if ignored:
        time.sleep(1)
        assert is_running(int(there.read_text()))
        node.stdin.close()
    assert node.wait(10) == -signal.SIGTERM & 0xFF
