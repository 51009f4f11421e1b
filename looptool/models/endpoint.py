"""One OpenAI-compatible server: its connection, its load, its health, and what its errors mean."""
from __future__ import annotations

import functools
import os
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import aiohttp
import httpx2
import openai

from looptool.config import Config
from looptool.errors import InputError
from looptool.models.completion import CallFailed, Reply, Transient, read_completion
from looptool.models.structured_outputs import Support
from looptool.models.teacher_server import WORD, OwnServer

LONGEST_PAUSE = 60.0
"""Seconds; the most that backoff or a Retry-After header makes a call wait before its next try."""

REFUSED = (openai.BadRequestError, openai.UnprocessableEntityError)
"""What servers answer to a request that they do not take; the same one again would be refused
again."""
_HEADERS = {"headers": {"Content-Type": "application/json"}}
_MANY_CONNECTIONS = 65536
"""The aiohttp transport takes no limit for its default of 100 connections, which would throttle the
stage."""


class Endpoint:
    """One server: its connection, its load, and what is known of its health."""

    def __init__(self, url: str, client: openai.AsyncOpenAI, world: bytes,
                 server: OwnServer | None = None):
        self.url, self.client = url, client
        self.server = server
        """Where it is ours to start and to end."""
        self.support = Support(url)
        self.world = world
        """What its answers depend on beside the request; empty for a server of models."""
        self.in_flight = 0
        self.failures = 0
        """Errors in a row."""
        self.rests_until = 0.0
        self.lacks: dict[str, str] = {}
        """Models that it does not serve, each with the server's words."""

    async def post(self, body: bytes, path: str = "/chat/completions",
                   read: Callable[[bytes], Reply] = read_completion) -> Reply:
        """Send one request, and `read` what comes back.

        Raises:
            Transient: worth another try.
            openai.APIStatusError: any other refusal.
            InputError: a server of our own does not come up.
        """
        if self.server is not None:
            await self.server.up()
        try:
            response = await self.client.post(path, cast_to=httpx2.Response, content=body,
                                              options=_HEADERS)
            return read(response.content)
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            # a host that cannot be reached fails sooner, and keeps all of its tries
            timed_out = isinstance(error.__cause__, httpx2.ReadTimeout)
            raise Transient(f"no response ({_cause(error)})", timed_out=timed_out) from None
        except openai.APIStatusError as error:
            if error.status_code in (408, 425, 429) or error.status_code >= 500:
                raise Transient(f"status {error.status_code}",
                                _retry_after(error.response)) from None
            raise

    async def close(self) -> None:
        """Close the connection, and end a server of our own."""
        await self.client.close()
        if self.server is not None:
            await self.server.end()

    def rest(self) -> None:
        """Let others go first for a while, lest a server that fails at once draws all the load."""
        self.failures += 1
        # 8: the pause has reached its longest, and 2 ** 1100 would be no float
        self.rests_until = time.monotonic() + min(0.25 * 2 ** min(self.failures, 8), LONGEST_PAUSE)


def connect(url: str, config: Config,
            key: str) -> tuple[openai.AsyncOpenAI, bytes, OwnServer | None]:
    """The connection to `url`, which `key` of the config names, what its answers depend on beside
    the request, and the server where that is to be started.

    Raises:
        InputError: `url` is none.
    """
    server = None
    if url == "simulated":
        # the only line that knows of the simulation
        from looptool.simulation.server import simulated_connection
        return *simulated_connection(config), None
    if url.startswith(WORD) and key == "teacher.base_urls":
        server = OwnServer(url, Path(config.run_dir) / "teacher_server.log")
        url = server.url
    if not url.startswith(("http://", "https://")):
        environment = (", or the environment variable OPENAI_BASE_URL,"
                       if key == "teacher.base_urls" else "")
        raise InputError(f"{key}: {url!r} is no URL; set it{environment} to something like "
                         "http://localhost:8000/v1")
    timeout = openai.Timeout(config.teacher.timeout_seconds,
                             connect=min(30.0, config.teacher.timeout_seconds))
    # 3 seconds: uvicorn, by which vLLM serves, closes an idle connection after 5
    limits = httpx2.Limits(max_connections=_MANY_CONNECTIONS, keepalive_expiry=3)
    http_client = openai.DefaultAioHttpClient(timeout=timeout, limits=limits,
                                              verify=_certificates())
    # the package wants some key; tries are counted in `Client`, so it makes none of its own
    return openai.AsyncOpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY") or "none",
                              max_retries=0, http_client=http_client), b"", server


@functools.cache
def _certificates() -> ssl.SSLContext:
    """The usual certificates; reading them takes 20 ms, which many endpoints need not spend
    each."""
    return httpx2.create_ssl_context()


def _retry_after(response: httpx2.Response) -> float:
    try:
        return min(max(float(response.headers.get("retry-after", 0)), 0.0), LONGEST_PAUSE)
    except ValueError:  # an HTTP date
        return 0.0


def _cause(error: BaseException) -> str:
    """The name of the innermost error, which says more than the openai package's own sentence."""
    while error.__cause__ is not None:
        error = error.__cause__
    return type(error).__name__


def detail(error: openai.APIStatusError) -> str:
    """The server's own words in one line, without our key."""
    words = " ".join(error.response.text.split())[:300]
    key = os.environ.get("OPENAI_API_KEY")
    return words.replace(key, "<key>") if key else words


def refusal(url: str, error: openai.APIStatusError) -> CallFailed | InputError:
    """What a refused request means: a wrong key is the user's to mend, anything else fails this
    call only."""
    if error.status_code in (401, 403):
        return InputError(
            f"{url}: {error.status_code}, the server refuses the key; set OPENAI_API_KEY")
    return CallFailed(f"{url}: {error.status_code}, refused: {detail(error)}")
