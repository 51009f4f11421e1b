"""One async client for every OpenAI-compatible endpoint: shared load, retries, a cache of answers, accounting by role.

An answer is paid once: it is written to SQLite when it arrives, under a key of what changes it (model, messages,
sampling, tools, draw number) and of nothing else, and looked up there before anything waits. Transient errors are tried
again, with backoff and jitter, up to `teacher.tries` times; then, and at once on a request that the server refuses, the
call fails with CallFailed. What only the user can mend (key, model name, address) is an InputError.

Requests go out through `AsyncOpenAI.post` and are read by msgspec: the typed methods of the openai package cost twice
the CPU, most of it in pydantic.
"""
from __future__ import annotations

import asyncio
import hashlib
import os
import random
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import msgspec
import openai

from looptool.answers import AnswerCache, CallFailed, Reply, Transient, Usage, read_completion
from looptool.config import Config
from looptool.records import InputError

__all__ = ["CallFailed", "Client", "Reply", "Sampling", "Usage"]

LONGEST_PAUSE = 60.0
"""Seconds; the most that backoff or a Retry-After header makes a call wait before its next try."""

_HEADERS = {"headers": {"Content-Type": "application/json"}}
_MANY_CONNECTIONS = 65536
"""The aiohttp transport takes no limit for its default of 100 connections, which would throttle the stage."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an answer is drawn; what is None is left to the server."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    max_tokens: int | None = None
    stop: list[str] | None = None
    logprobs: bool = False
    """Return the log-probability of each token of the answer."""
    thinking: bool | None = None
    """Switch a Qwen3-style template's thinking on or off; None leaves the template's default."""

    def body(self) -> dict[str, Any]:
        """The fields of the request."""
        body = msgspec.to_builtins(self)
        if self.thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": body.pop("thinking")}
        return body


class _Endpoint:
    """One server: its connection, its load, and what is known of its health."""

    def __init__(self, url: str, client: openai.AsyncOpenAI, world: bytes):
        self.url, self.client = url, client
        self.world = world
        """What its answers depend on beside the request; empty for a server of models."""
        self.in_flight = 0
        self.failures = 0
        """Errors in a row."""
        self.rests_until = 0.0
        self.lacks: dict[str, str] = {}
        """Models that it does not serve, each with the server's words."""

    async def post(self, body: bytes) -> Reply:
        """Send one request.

        Raises:
            Transient: worth another try.
            openai.APIStatusError: any other refusal.
        """
        self.in_flight += 1
        try:
            response = await self.client.post("/chat/completions", cast_to=httpx2.Response, content=body,
                                              options=_HEADERS)
            reply = read_completion(response.content)
        except (openai.APIConnectionError, aiohttp.ClientError) as error:
            raise Transient(f"no response ({_cause(error)})") from None
        except openai.APIStatusError as error:
            if error.status_code in (408, 425, 429) or error.status_code >= 500:
                raise Transient(f"status {error.status_code}", _retry_after(error.response)) from None
            raise
        finally:
            self.in_flight -= 1
        self.failures = 0
        return reply

    def rest(self) -> None:
        """Let others go first for a while, lest a server that fails at once draws all the load."""
        self.failures += 1
        self.rests_until = time.monotonic() + min(0.25 * 2 ** min(self.failures, 8), LONGEST_PAUSE)


class Client:
    """Asks models; an async context manager. `usage` holds the accounts by role."""

    def __init__(self, endpoints: list[_Endpoint], cache: Path, config: Config, in_flight: int):
        self.usage: defaultdict[str, Usage] = defaultdict(Usage)
        self.backoff_seconds = 0.5
        """Pause before the second try; doubled for each further one, and drawn between half and all of it."""
        self._endpoints = endpoints
        self._cache = AnswerCache(cache)
        self._teacher = config.teacher
        self._slots = asyncio.Semaphore(in_flight)
        self.world = b"".join(endpoint.world for endpoint in endpoints).hex()
        """What answers depend on beside the request; "" for servers of models. Part of what a stage's settings are."""
        self._pending: dict[bytes, asyncio.Future[Reply]] = {}

    @classmethod
    def from_config(cls, config: Config, cache: Path, base_urls: list[str] | None = None,
                    in_flight: int | None = None) -> Client:
        """A client for the teacher, or with `base_urls` and `in_flight` for other servers.

        Raises:
            InputError: no endpoint is configured, or one is no URL.
        """
        urls = base_urls or config.teacher.base_urls or [os.environ.get("OPENAI_BASE_URL", "")]
        return cls([_Endpoint(url, *_connect(url, config)) for url in urls], cache, config,
                   in_flight or config.teacher.in_flight)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(endpoint.client.close() for endpoint in self._endpoints))
        self._cache.close()

    async def ask(self, role: str, messages: list[dict[str, Any]], sampling: Sampling, draw: int = 0,
                  model: str | None = None, tools: list[dict[str, Any]] | None = None) -> Reply:
        """One answer to chat `messages`; `draw` tells repeated draws apart and is sent as the request's seed.

        Raises:
            CallFailed: no answer after all tries, or the server refuses this request.
            InputError: wrong key, unknown model or address, or a cache that cannot be written.
        """
        model = model or self._teacher.models[0]
        request = {"model": model, "messages": messages, **sampling.body(), "seed": draw}
        if tools:
            request["tools"] = tools
        body = msgspec.json.encode(request, order="sorted")
        key = hashlib.sha256(body + self.world.encode()).digest()
        usage = self.usage[role]
        try:
            reply = self._cache.get(key) or await self._shared(key)
            if reply is None:
                return await self._own(key, model, body, usage)
        except CallFailed:
            usage.failed += 1
            raise
        usage.calls += 1
        usage.cached += 1
        return reply

    async def _shared(self, key: bytes) -> Reply | None:
        """The answer of an equal call in flight; None where there is none, or where it was cancelled."""
        while (pending := self._pending.get(key)) is not None:
            await asyncio.wait([pending])
            if not pending.cancelled():
                return pending.result()
        return None

    async def _own(self, key: bytes, model: str, body: bytes, usage: Usage) -> Reply:
        """Pay one answer, for all who wait for it."""
        pending = self._pending[key] = asyncio.get_running_loop().create_future()
        started = time.monotonic()
        try:
            reply = await self._try(model, body, usage)
            self._cache.put(key, reply)
            pending.set_result(reply)
        except CallFailed as error:
            pending.set_exception(error)
            pending.exception()  # retrieved, so that asyncio does not report it where nobody waits
            raise
        finally:
            del self._pending[key]
            pending.cancel()
            usage.seconds += time.monotonic() - started
        usage.calls += 1
        usage.prompt_tokens += reply.prompt_tokens
        usage.completion_tokens += reply.completion_tokens
        usage.dollars += (reply.prompt_tokens * self._teacher.dollars_per_million_prompt_tokens
                          + reply.completion_tokens * self._teacher.dollars_per_million_completion_tokens) / 1e6
        return reply

    async def _try(self, model: str, body: bytes, usage: Usage) -> Reply:
        failed = 0
        while True:
            async with self._slots:
                endpoint = self._choose(model)
                try:
                    return await endpoint.post(body)
                except openai.NotFoundError as error:
                    endpoint.lacks[model] = _detail(error)
                    continue
                except openai.APIStatusError as error:
                    raise _refusal(endpoint.url, error) from None
                except Transient as error:
                    endpoint.rest()
                    reason, pause = str(error), error.retry_after
            failed += 1
            usage.failed_tries += 1
            if failed >= self._teacher.tries:
                raise CallFailed(f"no answer in {failed} tries; last: {reason}")
            backoff = min(self.backoff_seconds * 2 ** (failed - 1), LONGEST_PAUSE) * random.uniform(0.5, 1)
            await asyncio.sleep(max(backoff, pause))

    def _choose(self, model: str) -> _Endpoint:
        """The endpoint with the fewest calls in flight, one that rests only where all do."""
        able = [endpoint for endpoint in self._endpoints if model not in endpoint.lacks]
        if not able:
            said = "; ".join(f"{endpoint.url}: 404 {endpoint.lacks[model]}" for endpoint in self._endpoints)
            raise InputError(f"no endpoint serves the model {model!r} ({said}); check teacher.models, and "
                             "teacher.base_urls, which mostly end in /v1")
        now = time.monotonic()
        return min(able, key=lambda endpoint: (endpoint.rests_until > now, endpoint.in_flight))


def _connect(url: str, config: Config) -> tuple[openai.AsyncOpenAI, bytes]:
    if url == "simulated":
        from looptool.simulation.server import simulated_connection  # the only line that knows of the simulation
        return simulated_connection(config)
    if not url.startswith(("http://", "https://")):
        raise InputError(f"teacher.base_urls: {url!r} is no URL; set it, or the environment variable OPENAI_BASE_URL, "
                         "to something like http://localhost:8000/v1")
    timeout = openai.Timeout(config.teacher.timeout_seconds, connect=min(30.0, config.teacher.timeout_seconds))
    limits = httpx2.Limits(max_connections=_MANY_CONNECTIONS, keepalive_expiry=3)
    return openai.AsyncOpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY") or "none", max_retries=0,
                              http_client=openai.DefaultAioHttpClient(timeout=timeout, limits=limits)), b""


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


def _detail(error: openai.APIStatusError) -> str:
    """The server's own words in one line, without our key."""
    words = " ".join(error.response.text.split())[:300]
    key = os.environ.get("OPENAI_API_KEY")
    return words.replace(key, "<key>") if key else words


def _refusal(url: str, error: openai.APIStatusError) -> Exception:
    if error.status_code in (401, 403):
        return InputError(f"{url}: {error.status_code}, the server refuses the key; set OPENAI_API_KEY")
    return CallFailed(f"{url}: {error.status_code}, refused: {_detail(error)}")
