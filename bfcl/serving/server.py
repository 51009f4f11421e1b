"""The server of the model that is measured: a running one, or vLLM for as long as the measuring
takes."""
from __future__ import annotations

import contextlib
import functools
import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bfcl.serving.served_model import NoServer, Served, find_server, refuse_another, telling
from looptool.command import end_with_parent
from looptool.config_file import ROOT
from looptool.errors import InputError

LONGEST_START = 3600
"""Seconds; a model of the hub may have to be downloaded first."""


@contextlib.contextmanager
def server(model: str, endpoint: str, name: str, flags: Sequence[str],
           log: Path) -> Iterator[Served]:
    """The server at `endpoint`, else one that scripts/serve.sh starts with `flags` for vLLM, and
    ends.

    Raises:
        InputError: no server is there or comes up, or it has loaded another checkpoint.
    """
    if endpoint:
        served = find_server(endpoint.rstrip("/"), model, name)
        refuse_another(served, model)
        yield served
        return
    port = _free_port()
    command = ["bash", str(ROOT / "scripts" / "serve.sh"), model, "--host", "127.0.0.1", "--port",
               str(port), *flags]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        # a session of its own: Ctrl-C reaches only us, and killpg its engines as well
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=end_with_parent)
    try:
        served = _wait(process, f"http://127.0.0.1:{port}/v1", model, name, log)
        served.server += "".join(f" {shlex.quote(word)}" for word in telling(flags))
        served.end = functools.partial(_end, process)
        yield served
    finally:
        _end(process)


def _wait(process: subprocess.Popen, url: str, model: str, name: str, log: Path) -> Served:
    """What the server says of itself once it answers."""
    deadline = time.monotonic() + LONGEST_START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return find_server(url, model, name)
        except NoServer:
            time.sleep(2)
    last = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:])
    raise InputError(f"{log}: the server did not come up; its last words: {last or 'none'}")


def _end(process: subprocess.Popen) -> None:
    """End the server and the engines that it started; without patience where a signal comes
    meanwhile."""
    try:
        _send(process, signal.SIGTERM, 60)
    finally:
        if process.poll() is None:
            _send(process, signal.SIGKILL, 10)


def _send(process: subprocess.Popen, sign: int, seconds: float) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, sign)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
