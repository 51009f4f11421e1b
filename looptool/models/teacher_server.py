"""A teacher's server that a step starts when it asks, and ends: "serve MODEL FLAGS" in base_urls.

So training, probing and the teacher each have all GPUs of a node, one after the other. The server
is scripts/serve.sh with these words; it starts with the first answer that is not in the cache, and
its output is appended to run_dir/teacher_server.log.
"""
from __future__ import annotations

import asyncio
import logging
import shlex
import signal
import subprocess
import time
from pathlib import Path

import aiohttp

from looptool.errors import InputError
from looptool.machine import vllm_server

_log = logging.getLogger(__name__)
WORD = "serve "


class OwnServer:
    """One server, at a free port of this machine; may be waited for by many calls at once."""

    def __init__(self, words: str, log: Path):
        self._words, self._log = shlex.split(words.removeprefix(WORD)), log
        # chosen now, as the address is needed before the server is started
        self._port = vllm_server.free_port()
        self.url = f"http://127.0.0.1:{self._port}/v1"
        self._starting = asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    async def up(self) -> None:
        """Return when it answers, started if it is not.

        Raises:
            InputError: it ended, or did not come up.
        """
        async with self._starting:
            if self._process is None:
                await self._start()
            elif self._process.poll() is not None:
                raise InputError(f"{self._log}: the teacher's server has ended; "
                                 f"{vllm_server.last_words(self._log)}")

    async def _start(self) -> None:
        begun = time.monotonic()
        _log.info("teacher: starting %s, see %s", shlex.join(self._words), self._log)
        self._process = vllm_server.start(self._words, self._port, self._log)
        while not await self._answers():
            is_late = time.monotonic() - begun > vllm_server.LONGEST_START
            if self._process.poll() is not None or is_late:
                raise InputError(f"{self._log}: the teacher's server did not come up; "
                                 f"{vllm_server.last_words(self._log)}")
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

    async def end(self) -> None:
        """End it, if it was started, and return when all of its processes are gone; killed where a
        signal comes meanwhile."""
        if self._process is not None:
            try:
                await asyncio.to_thread(vllm_server.end, self._process)
            finally:  # at a second Ctrl-C some are left; the thread sees them gone, and ends
                vllm_server.signal_all(self._process, signal.SIGKILL)
