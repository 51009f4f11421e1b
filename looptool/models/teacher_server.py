"""A teacher's server that a step starts when it asks, and ends: "serve MODEL FLAGS" in base_urls.

So training, probing and the teacher each have all GPUs of a node, one after the other. The server
is scripts/serve.sh with these words; it starts with the first answer that is not in the cache, and
its output is appended to run_dir/teacher_server.log.
"""
from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shlex
import signal
import socket
import time
from pathlib import Path

import aiohttp

from looptool.command import end_with_parent
from looptool.config_file import ROOT
from looptool.errors import InputError

_log = logging.getLogger(__name__)
WORD = "serve "
LONGEST_START = 3600
"""Seconds; a model of the hub may have to be downloaded first."""
END_SECONDS = 60
"""For it to end by itself: engines that are killed can leave their GPU's memory taken."""


class OwnServer:
    """One server, at a free port of this machine; may be waited for by many calls at once."""

    def __init__(self, words: str, log: Path):
        self._words, self._log = shlex.split(words.removeprefix(WORD)), log
        # chosen now, as the address is needed before the server is started
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    async def up(self) -> None:
        """Return when it answers, started if it is not.

        Raises:
            InputError: it ended, or did not come up.
        """
        async with self._starting:
            if self._process is None:
                await self._start()
            elif self._process.returncode is not None:
                raise InputError(f"{self._log}: the teacher's server has ended{self._last_words()}")

    async def _start(self) -> None:
        command = ["bash", str(ROOT / "scripts" / "serve.sh"), *self._words,
                   "--host", "127.0.0.1", "--port", str(self._port)]
        begun = time.monotonic()
        _log.info("teacher: starting %s, see %s", shlex.join(self._words), self._log)
        self._log.parent.mkdir(parents=True, exist_ok=True)
        with self._log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.DEVNULL, stdout=output, stderr=output,
                # a group of its own, so that `end` reaches its engines too
                start_new_session=True, preexec_fn=end_with_parent)
        while not await self._answers():
            if self._process.returncode is not None or time.monotonic() - begun > LONGEST_START:
                raise InputError(f"{self._log}: the teacher's server did not come up"
                                 f"{self._last_words()}")
            await asyncio.sleep(1)
        _log.info("teacher: up after %.0f s", time.monotonic() - begun)

    async def _answers(self) -> bool:
        patience = aiohttp.ClientTimeout(total=10)
        try:
            async with (aiohttp.ClientSession(timeout=patience) as session,
                        session.get(f"{self.url}/models") as response):
                return response.status == 200
        # the last two are one from Python 3.11 on
        except (aiohttp.ClientError, TimeoutError, asyncio.TimeoutError):
            return False

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").strip().splitlines()[-3:]
        return f"; its last words: {' / '.join(lines) or 'none'}"

    async def end(self) -> None:
        """End it, if it was started, and return when all of its processes are gone."""
        if self._process is None:
            return
        for sign in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, sign)
            until = time.monotonic() + END_SECONDS
            while members(self._process.pid):
                if time.monotonic() > until:
                    break
                await asyncio.sleep(0.2)
            else:
                return


def members(group: int) -> list[int]:
    """Processes of a group that have not ended; the server's engines are of its group."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended since
            # behind the program's name, which is in brackets and may hold any
            state, _, pgrp = stat.read_text().rpartition(")")[2].split()[:3]
            if int(pgrp) == group and state != "Z":
                found.append(int(stat.parent.name))
    return found
