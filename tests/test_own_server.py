"""A teacher's server that a step starts and ends, by scripts/serve.sh: a Python without vLLM whose
stand-in for it answers after a while, and has an engine in a process of its own."""
from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_vllm import install
from programs import until

from dataloop.running import overlap
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.machine import vllm_server
from looptool.machine.vllm_server import members
from looptool.models.client import Client
from looptool.models.sampling import Sampling
from looptool.models.teacher_server import OwnServer
from looptool.stages.follow import is_running

SERVER = """
import argparse, json, os, signal, subprocess, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
for flag in ("--model", "--host", "--after", "--served-model-name"):
    parser.add_argument(flag, default="0")
parser.add_argument("--port", type=int)
for flag in ("--fails", "--stubborn", "--ends", "--enable-prefix-caching"):
    parser.add_argument(flag, action="store_true")
args = parser.parse_args()
with open(os.environ["NOTES"], "a") as notes:
    notes.write(f"{args.model} {args.served_model_name}\\n")
if args.fails:
    sys.exit("CUDA out of memory")
signal.signal(signal.SIGTERM, signal.SIG_IGN if args.stubborn else lambda *_: sys.exit(0))
engine = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
time.sleep(float(args.after))

class Handler(BaseHTTPRequestHandler):
    def reply(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.reply(b'{"data": []}')

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if args.ends:
            os.kill(engine.pid, signal.SIGKILL)
            os._exit(3)
        message = {"role": "assistant", "content": "Rome"}
        self.reply(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}],
                               "usage": {"prompt_tokens": 1, "completion_tokens": 1}}).encode())

    def log_message(self, *_):
        pass

ThreadingHTTPServer((args.host, args.port), Handler).serve_forever()
"""


def make_machine(folder: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    """A machine whose SERVE_PYTHON has a vLLM, which is `server`."""
    monkeypatch.setenv("SERVE_PYTHON", str(install(folder, server)))
    monkeypatch.setenv("NOTES", str(folder / "notes"))


@pytest.fixture
def machine(tmp_path, monkeypatch) -> Path:
    make_machine(tmp_path, monkeypatch, SERVER)
    return tmp_path


def config_with(folder: Path, words: str) -> Config:
    return load_config(ROOT / "configs" / "qwen3_8b.yaml", [
        f"run_dir={folder}", f"teacher.base_urls=['serve org/teacher {words}']",
        "teacher.structured='off'", "teacher.tries=9"])


def ask(config: Config, question: str, draws: int = 3) -> tuple[list[str], list[int]]:
    """Answers to several draws at once, and the server's processes at that time."""
    async def asking():
        async with Client.from_config(config, Path(config.run_dir) / "answers.sqlite") as client:
            client.backoff_seconds = 0.05
            replies = await asyncio.gather(*(client.ask(
                "judge", [{"role": "user", "content": question}], Sampling(), draw)
                for draw in range(draws)))
            process = client._endpoints[0].server._process
            return [reply.text for reply in replies], members(process.pid) if process else []
    return asyncio.run(asking())


def started(folder: Path) -> list[str]:
    notes = folder / "notes"
    return notes.read_text().splitlines() if notes.exists() else []


def running(processes: list[int]) -> list[int]:
    return list(filter(is_running, processes))


def test_it_is_there_for_the_first_answer_and_gone_after_the_last(machine):
    config = config_with(machine, "--served-model-name Qwen3-32B --after 1")
    answers, processes = ask(config, "Where?")
    assert answers == ["Rome"] * 3 and len(processes) == 2 and not running(processes)
    assert started(machine) == ["org/teacher Qwen3-32B"]
    assert ask(config, "Where?") == (["Rome"] * 3, [])  # known already, so none is started
    assert len(started(machine)) == 1
    assert ask(config, "Who?")[0] == ["Rome"] * 3 and len(started(machine)) == 2


def test_one_that_does_not_end_by_itself_is_killed(machine, monkeypatch):
    monkeypatch.setattr(vllm_server, "END_SECONDS", 1)
    _, processes = ask(config_with(machine, "--stubborn"), "Where?")
    assert len(processes) == 2 and not running(processes)


def test_one_whose_end_is_interrupted_is_killed_at_once(machine):
    server = OwnServer("serve org/teacher --stubborn", machine / "log")

    async def interrupted() -> list[int]:
        await server.up()
        processes = members(server._process.pid)
        end = asyncio.create_task(server.end())
        await asyncio.sleep(0.5)
        assert running(processes)  # it leaves SIGTERM aside
        end.cancel()  # as Ctrl-C does
        await asyncio.wait([end])
        return processes

    begun = time.monotonic()
    processes = asyncio.run(interrupted())
    assert processes and not running(processes)
    assert time.monotonic() - begun < vllm_server.END_SECONDS


@pytest.mark.parametrize("words, message", [
    ("--fails", "teacher_server.log: the teacher's server did not come up; its last words: .*CUDA"),
    ("--no-such-flag", "did not come up; its last words: .*unrecognized arguments: --no-such-flag"),
    ("--ends", "the teacher's server has ended; its last words: ")])
def test_one_that_breaks_down_ends_the_step_with_its_last_words(machine, words, message):
    with pytest.raises(InputError, match=message):
        ask(config_with(machine, words), "Where?", draws=1)


def test_a_step_that_is_killed_takes_it_along(machine):
    words = f"run_dir={machine}", "teacher.base_urls=['serve org/teacher --after 600']"
    command = [sys.executable, ROOT / "dialog_generation" / "run.py", "--func", "data_crawl",
               "--config", ROOT / "configs" / "laptop.yaml"]
    tools = [sys.executable, ROOT / "dialog_generation" / "synthesize_tools.py", *command[4:]]
    flags = [word for value in words for word in ("--set", value)]
    subprocess.run([*tools, *flags], check=True, capture_output=True)
    step = subprocess.Popen([*command, *flags], stderr=subprocess.DEVNULL)
    until(lambda: started(machine))
    children = Path(f"/proc/{step.pid}/task/{step.pid}/children").read_text().split()
    (server,) = [int(pid) for pid in children]
    assert members(server)
    step.send_signal(signal.SIGKILL)
    step.wait()
    deadline = time.monotonic() + 120
    while server in members(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    left = members(server)
    for pid in left:  # vLLM's engine ends with its server; the stand-in's sleeps on
        os.kill(pid, signal.SIGKILL)
    assert server not in left


def test_overlap_is_refused(machine, monkeypatch):
    flags = [word for value in (f"run_dir={machine}", "teacher.base_urls=[serve m]")
             for word in ("--set", value)]
    monkeypatch.setattr(sys, "argv", ["overlap.py", "--round", "1", "--config",
                                      str(ROOT / "configs" / "laptop.yaml"), *flags])
    with pytest.raises(InputError, match="--overlap: verifying, expanding and probing would each"):
        overlap.main()
