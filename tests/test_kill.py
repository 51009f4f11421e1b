"""SIGKILL at random instants, run again: nothing lost, nothing twice, no finished call paid again.

LOOPTOOL_KILLS sets how many kills (default 12). The stage runs in processes forked from a server
that has imported it, so that the instants fall into the work and not into imports.
"""
from __future__ import annotations

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import tempfile
import time
from pathlib import Path

import msgspec
import pytest

import kill_stage
from local_server import LocalServer
from looptool.stages.meta import StageMeta

KILLS = int(os.environ.get("LOOPTOOL_KILLS", "12"))
INPUTS = 120
EXPECTED = b"".join(
    b'{"number":%d,"text":"echo is it true that echo question %d?","part":%d}\n'
    % (number, number, part) for number in range(INPUTS) for part in range(number % 3))
forks = multiprocessing.get_context("forkserver")
forks.set_forkserver_preload(["kill_stage"])


pytestmark = pytest.mark.slow


def start(*args) -> multiprocessing.process.BaseProcess:
    """Run kill_stage.run(*args) in a new process."""
    process = forks.Process(target=kill_stage.run, args=args)
    process.start()
    return process


def cached_keys(folder: Path) -> set[bytes]:
    """What the cache of a killed process holds; read from a copy, so that the next process finds it
    as it was left."""
    with tempfile.TemporaryDirectory() as copy:
        for file in folder.glob("answers.sqlite*"):
            shutil.copy(file, copy)
        with contextlib.closing(sqlite3.connect(Path(copy) / "answers.sqlite")) as connection:
            if not connection.execute(
                    "SELECT 1 FROM sqlite_master WHERE name = 'answers'").fetchone():
                return set()
            return {key for key, in connection.execute("SELECT key FROM answers")}


def check(folder: Path, server: LocalServer, kills: int) -> None:
    """What must hold of a finished output, however often its run was killed."""
    assert (folder / "out.jsonl").read_bytes() == EXPECTED
    left = {path.name for path in folder.iterdir()} - {"answers.sqlite-wal", "answers.sqlite-shm"}
    assert left == {"answers.sqlite", "out.jsonl", "out.jsonl.meta.json"}
    meta = msgspec.json.decode((folder / "out.jsonl.meta.json").read_bytes(), type=StageMeta)
    assert (meta.inputs, meta.records, meta.failed) == (INPUTS, EXPECTED.count(b"\n"), 0)
    assert meta.counts == {"none": 40, "one": 40, "two": 40}
    assert len(server.requests) == 2 * INPUTS
    assert server.count <= 2 * INPUTS + kills * kill_stage.IN_FLIGHT


def finish(folder: Path, server: LocalServer) -> None:
    process = start(server.url, folder, INPUTS)
    process.join(60)
    assert process.exitcode == 0


def test_unbroken_run(tmp_path):
    with LocalServer() as server:
        finish(tmp_path, server)
        check(tmp_path, server, kills=0)


def test_killed_at_random_instants(tmp_path):
    rng = random.Random(KILLS)
    kills = finished = 0
    while kills < KILLS:
        folder = tmp_path / str(finished)
        folder.mkdir()
        kills += kill_until_finished(folder, rng, KILLS - kills)
        finished += 1
    print(f"{kills} kills, {finished} outputs finished")


def kill_until_finished(folder: Path, rng: random.Random, most: int) -> int:
    """Make one output, killing its process up to `most` times; returns how often."""
    kills = 0
    paid: dict[bytes, int] = {}
    with LocalServer(latency=0.01) as server:
        while kills < most:
            process = start(server.url, folder, INPUTS)
            # requests, not seconds: a busy machine must not kill too early
            wanted = server.count + rng.randint(0, 60)
            while server.count < wanted and process.is_alive():
                time.sleep(0.001)
            process.join(rng.uniform(0, 0.03))
            process.kill()
            process.join()
            if process.exitcode == 0:
                break
            assert process.exitcode == -signal.SIGKILL
            kills += 1
            time.sleep(0.05)  # for requests that are on their way
            cached = cached_keys(folder)
            assert {key: server.requests[key]
                    for key in paid} == paid, "an answer in the cache was asked for again"
            assert len(server.requests.keys()
                       - cached) <= kill_stage.IN_FLIGHT, "an answer that arrived was lost"
            paid = {key: server.requests[key] for key in cached}
        finish(folder, server)
        assert {key: server.requests[key] for key in paid} == paid
        check(folder, server, kills)
    return kills


@pytest.mark.parametrize("instant",
                         ["ftruncate 1", "ftruncate 2", "write 1", "write 2", "write 60",
                          "replace 1", "replace 2", "unlink 1"])
def test_killed_between_two_steps(tmp_path, instant):
    with LocalServer() as server:
        process = start(server.url, tmp_path, INPUTS, instant)
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
        finish(tmp_path, server)
        check(tmp_path, server, kills=1)
