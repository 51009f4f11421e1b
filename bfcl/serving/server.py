"""The server of the model that is measured: a running one, or vLLM for as long as the measuring
takes."""
from __future__ import annotations

import contextlib
import functools
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bfcl.serving.served_model import NoServer, Served, find_server, refuse_another, telling
from looptool.errors import InputError
from looptool.machine.vllm_server import LONGEST_START, end, free_port, last_words, start


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
    port = free_port()
    log.unlink(missing_ok=True)  # its last words are to be this server's
    process = start([model, *flags], port, log)
    try:
        served = _wait(process, f"http://127.0.0.1:{port}/v1", model, name, log)
        served.server += "".join(f" {shlex.quote(word)}" for word in telling(flags))
        served.end = functools.partial(end, process)
        yield served
    finally:
        end(process)


def _wait(process: subprocess.Popen, url: str, model: str, name: str, log: Path) -> Served:
    """What the server says of itself once it answers."""
    deadline = time.monotonic() + LONGEST_START
    while process.poll() is None and time.monotonic() < deadline:
        try:
            return find_server(url, model, name)
        except NoServer:
            time.sleep(2)
    raise InputError(f"{log}: the server did not come up; {last_words(log)}")
