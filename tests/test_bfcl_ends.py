"""How an evaluation on BFCL ends before its time: by Ctrl-C or SIGTERM, with the server that it has
started."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_vllm import fake_vllm
from programs import until
from test_bfcl_scores import SAMPLING
from test_bfcl import STUDENT, environment, v3

from bfcl.measure import _ended_by_signals
from bfcl.serving.ask import Asker, ServerGone
from bfcl.serving.served_model import Served
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.stages.follow import is_running


@v3
@pytest.mark.slow
@pytest.mark.parametrize("sign, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("asking", [False, True], ids=["while it loads", "while it is asked"])
@pytest.mark.parametrize("base", [[], ["--base"]], ids=["the model", "the base"])
def test_the_server_ends_with_the_command(tmp_path: Path, sign: int, code: int, asking: bool,
                                          base: list[str]) -> None:
    pid, asked = fake_vllm(tmp_path, loads=not asking)
    flags = ["--model", str(STUDENT), "--out", str(tmp_path / "out"), "--subset", "1",
             "--categories", "simple", *base]
    process = subprocess.Popen(
        ["bash", str(ROOT / "scripts" / "09_evaluate_bfcl.sh"), "--set", f"run_dir={tmp_path}",
         *flags],
        env=environment() | {"SERVE_PYTHON": str(tmp_path / "python")}, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE)
    until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    while asking and not asked.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(sign)
    said = process.communicate(timeout=60)[1].decode()
    server = int(pid.read_text())
    if is_running(server):
        os.kill(server, signal.SIGKILL)
        pytest.fail("the server goes on alone")
    assert process.returncode == code, said
    assert ("interrupted; run this again" in said) == asking and "Traceback" not in said


def test_the_server_ends_with_a_command_that_is_killed(tmp_path: Path) -> None:
    pid, _ = fake_vllm(tmp_path)
    code = ("import time; from pathlib import Path; from bfcl.serving.server import server\n"
            f"with server('m', '', '', [], Path({str(tmp_path / 'log')!r})): time.sleep(600)")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT,
                               env=os.environ | {"SERVE_PYTHON": str(tmp_path / "python")})
    until(lambda: pid.exists() and pid.read_text().endswith("\n"))
    process.kill(), process.wait()
    server, deadline = int(pid.read_text()), time.monotonic() + 20
    while is_running(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    if is_running(server):
        os.kill(server, signal.SIGKILL)
        pytest.fail("the server goes on alone")


@pytest.fixture
def asker():
    return Asker("http://127.0.0.1:9/v1", "m", SAMPLING, pauses=())


@pytest.mark.parametrize("sign, error",
                         [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_ends_the_asking_and_then_does_what_it_always_does(asker, monkeypatch, sign,
                                                                    error) -> None:
    ended = []
    handlers = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with pytest.raises(error), _ended_by_signals(asker,
                                                     Served("", "m", end=lambda: ended.append(1))):
            signal.raise_signal(sign)
            with pytest.raises(ServerGone, match="interrupted"):
                asker([])
            asker([])
        assert ended == [1] and signal.getsignal(signal.SIGINT) is handlers[signal.SIGINT]
        with pytest.raises(error):
            signal.raise_signal(sign)  # while results are scored
    finally:
        for each, handler in handlers.items():
            signal.signal(each, handler)


def test_in_the_background_ctrl_c_is_not_meant_for_the_asking(asker) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with (pytest.raises(InputError, match="no answer"),
              _ended_by_signals(asker, Served("", "m"))):
            signal.raise_signal(signal.SIGINT)
            asker([])  # still asks; nobody is there
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_server_that_is_gone_is_an_error_of_its_own(asker) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(InputError,
                       match="start the server again"), _ended_by_signals(asker, Served("", "m")):
        asker([])
    assert signal.getsignal(signal.SIGTERM) is before
