"""Dialogs over HTTP from a slow server: how much of its capacity a crawl uses, and whether two
kills cost anything.

    python benchmarks/dialogs_http.py [--dialogs 1000] [--latency 1] [--in_flight 256]

The SIMULATED teacher behind HTTP answers each call after `latency` seconds, at most `in_flight` at
once. The crawl is SIGKILLed after a third and two thirds of its dialogs, and started again. Share
of capacity = answers x latency / in_flight over the wall time from the first request of each start
until no dialog waits to be begun; what comes behind that is the tail, in which there are fewer
dialogs than the server could talk to. Answers are the lines of the answer cache, so a call that is
paid again after a kill shows: calls of the output's .meta.json against lines of the cache.

The last line is one JSON object; target: share at least 0.95, each dialog there once.
"""
from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from looptool.config_file import ROOT, load_config
from looptool.json_lines import read_jsonl
from looptool.records import Dialog
from looptool.run_files import RunFiles
from looptool.stages.meta import read_meta

POLL = 0.25


class Crawl:
    """One start of data_crawl, watched from outside."""

    def __init__(self, flags: list[str], files: RunFiles):
        self._files = files
        self._journal = files.dialogs.with_name(files.dialogs.name + ".journal")
        self._process = subprocess.Popen(
            [sys.executable, ROOT / "dialog_generation" / "run.py", "--func", "data_crawl", *flags],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self._answers_before = self.answers()
        self._begun: float | None = None
        self.memory = 0

    def answers(self) -> int:
        """Lines of the answer cache."""
        try:
            with sqlite3.connect(f"file:{self._files.answers}?mode=ro", uri=True) as cache:
                return cache.execute("SELECT count(*) FROM answers").fetchone()[0]
        except sqlite3.OperationalError:  # not made yet
            return 0

    def until(self, dialogs: int, latency: float) -> tuple[int, float]:
        """Watch until the journal has so many; (answers, seconds since the first request) of this
        start."""
        while self._process.poll() is None and self._journalled() < dialogs:
            time.sleep(POLL)
            if self._begun is None and self.answers() > self._answers_before:
                # the first answer was asked for so long ago
                self._begun = time.monotonic() - latency
            self.memory = max(self.memory, self._resident())
        if self._begun is None:
            raise SystemExit("the crawl ended before the first answer; run it by hand to see why")
        return self.answers() - self._answers_before, time.monotonic() - self._begun

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def wait(self) -> float:
        """Seconds until it ends by itself."""
        begun = time.monotonic()
        if self._process.wait():
            raise SystemExit(f"the crawl ended with exit code {self._process.returncode}")
        return time.monotonic() - begun

    def _journalled(self) -> int:
        # a journal begins with its header
        return max(0, self._journal.read_bytes().count(b"\n") - 1) if self._journal.exists() else 0

    def _resident(self) -> int:
        """Resident memory in bytes; 0 where the system does not tell."""
        try:
            return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[
                1]) * os.sysconf("SC_PAGE_SIZE")
        except OSError:
            return 0


def measure(dialogs: int, latency: float, in_flight: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        # the server takes the port
        free.close()
        flags = [word for value in (
            f"run_dir={folder}", f"teacher.base_urls=[http://127.0.0.1:{port}/v1]",
            f"teacher.in_flight={in_flight}", f"dialogs.count={dialogs}",
            "dialogs.messages=[8, 20]") for word in ("--set", value)]
        files = RunFiles(load_config(ROOT / "configs" / "laptop.yaml", flags[1::2]))
        subprocess.run([sys.executable, ROOT / "dialog_generation" / "synthesize_tools.py", *flags],
                       check=True)
        server = subprocess.Popen(
            [sys.executable, "-m", "looptool.simulation.server", "--port", str(port), "--latency",
             str(latency), "--capacity", str(in_flight)], stderr=subprocess.DEVNULL)
        try:
            answers = seconds = 0.0
            memory = []
            for kill_at in (dialogs // 3, 2 * dialogs // 3, None):
                crawl = Crawl(flags, files)
                # the last start is measured until no dialog waits to be begun
                got, took = crawl.until(kill_at or max(1, dialogs - in_flight + 1), latency)
                answers, seconds = answers + got, seconds + took
                if kill_at:
                    crawl.kill()
                memory.append(crawl.memory)
            tail = crawl.wait()
        finally:
            server.kill()
            server.wait()
        meta = read_meta(files.dialogs)
        ids = [dialog.id for dialog in read_jsonl(files.dialogs, Dialog)]
        paid = crawl.answers()
        share = answers * latency / in_flight / seconds
        print(f"{meta.line()}\n{share:.1%} of capacity over {seconds:.0f} s, then a tail of "
              f"{tail:.0f} s; {len(set(ids))} dialogs, {len(ids) - len(set(ids))} twice; {paid:,} "
              "answers paid for; peak memory by start "
              f"{', '.join(f'{peak / 2**20:.0f} MiB' for peak in memory)}")
        return {"share": round(share, 4), "dialogs": len(set(ids)),
                "twice": len(ids) - len(set(ids)), "accounted": sum(meta.counts.values()),
                "answers": paid, "memory_mib": round(max(memory) / 2**20)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogs", type=int, default=1000)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds of each answer")
    parser.add_argument("--in_flight", type=int, default=256)
    print(json.dumps(measure(**vars(parser.parse_args()))))


if __name__ == "__main__":
    main()
