"""A Python with a vLLM that lists one model and never answers: for how a server starts and ends."""
from __future__ import annotations

import sys
from pathlib import Path

from programs import program

PYTHON = '#!/bin/bash\nPYTHONPATH="{path}" exec {real} "$@"\n'
LISTS = """
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
if "--broken" in sys.argv: sys.exit("no GPU here")
open({pid!r}, "a").write(f"{{os.getpid()}}\\n")
class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if {loads!r}: time.sleep(60)
        model = {{"id": "tiny", "root": sys.argv[2], "max_model_len": 77}}
        body = json.dumps({{"data": [model], "version": "9"}}).encode()
        self.send_response(200), self.send_header("Content-Length", str(len(body)))
        self.end_headers(), self.wfile.write(body)
    def do_POST(self):
        open({asked!r}, "w"), time.sleep(60)
port = int(sys.argv[sys.argv.index("--port") + 1])
ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def install(folder: Path, server: str) -> Path:
    """A Python for SERVE_PYTHON, whose vLLM is `server`."""
    program(folder / "has" / "vllm" / "entrypoints" / "openai" / "api_server.py", server)
    return program(folder / "python", PYTHON.format(path=folder / "has", real=sys.executable))


def fake_vllm(folder: Path, loads: bool = False) -> tuple[Path, Path]:
    """Make folder/python, which has it; the files that say its process, and that it was asked."""
    pid, asked = folder / "pid", folder / "asked"
    install(folder, LISTS.format(pid=str(pid), asked=str(asked), loads=loads))
    return pid, asked
