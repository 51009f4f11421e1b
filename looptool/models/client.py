"""One async client for every OpenAI-compatible endpoint: shared load, retries, a cache of answers,
accounting by role.

An answer is paid once: it is written to SQLite when it arrives, under a key of what changes it
(model, messages, sampling, tools, draw number; see looptool.models.request for schema and limit)
and of nothing else, and looked up there before anything waits. Transient errors are tried again,
with backoff and jitter, up to `teacher.tries` times, one that took the whole of
`teacher.timeout_seconds` once; then, and at once on a request that the server refuses, the call
fails with CallFailed. What only the user can mend (key, model name, address) is an InputError.

Requests go out through `AsyncOpenAI.post` and are read by msgspec: the typed methods of the openai
package cost twice the CPU, most of it in pydantic.
"""
from __future__ import annotations

import asyncio
import os
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import msgspec
import openai

from looptool.config import Config
from looptool.errors import InputError
from looptool.models.answer_cache import AnswerCache
from looptool.models.completion import CallFailed, Reply, Transient, Usage, read_text_completion
from looptool.models.endpoint import LONGEST_PAUSE, Endpoint, connect, detail, refusal
from looptool.models.request import Question, put
from looptool.models.sampling import Continuation, Sampling

TEACHER = ("teacher.models", "teacher.base_urls")
"""Where the config names models and addresses, for what only the user can mend."""
HOME_ADVANTAGE = 16
"""A prompt goes to the endpoint that has its beginning in its cache, unless that has so many more
calls in flight than the least busy one."""
TIMEOUTS = 2
"""Tries of one call that may run into teacher.timeout_seconds: a server that hangs is met once
more, not five times."""
T = TypeVar("T")


class Client:
    """Asks models; an async context manager. `usage` holds the accounts by role."""

    def __init__(self, endpoints: list[Endpoint], cache: Path, config: Config, in_flight: int,
                 keys: tuple[str, str] = TEACHER):
        self.usage: defaultdict[str, Usage] = defaultdict(Usage)
        self.backoff_seconds = 0.5
        """Pause before the second try; doubled for each further one, and drawn between half and all
        of it."""
        self._endpoints = endpoints
        self._cache = AnswerCache(cache)
        self._teacher = config.teacher
        self._keys = keys
        self._slots = asyncio.Semaphore(in_flight)
        self.world = b"".join(endpoint.world for endpoint in endpoints).hex()
        """What answers depend on beside the request; "" for servers of models. Part of what a
        stage's settings are."""
        self._pending: dict[bytes, asyncio.Future[tuple[Reply, bool]]] = {}

    @classmethod
    def from_config(cls, config: Config, cache: Path, base_urls: list[str] | None = None,
                    in_flight: int | None = None, keys: tuple[str, str] = TEACHER) -> Client:
        """A client for the teacher, or with `base_urls` and `in_flight` for other servers, which
        `keys` of the config name.

        Raises:
            InputError: no endpoint is configured, or one is no URL.
        """
        urls = base_urls or config.teacher.base_urls or [os.environ.get("OPENAI_BASE_URL", "")]
        return cls([Endpoint(url, *connect(url, config, keys[1])) for url in urls], cache, config,
                   in_flight or config.teacher.in_flight, keys)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        for endpoint in self._endpoints:
            # first what asks a server on its own, over the connections that close next
            endpoint.support.close()
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
        self._cache.close()

    async def ask(self, role: str, messages: list[dict[str, Any]], sampling: Sampling,
                  draw: int = 0, model: str | None = None,
                  tools: list[dict[str, Any]] | None = None) -> Reply:
        """One answer to chat `messages`; `draw` tells repeated draws apart and is sent as the
        request's seed.

        Raises:
            CallFailed: no answer after all tries, or the server refuses this request.
            InputError: wrong key, unknown model or address, or a cache that cannot be written.
        """
        model = model or self._teacher.models[0]
        body = {"model": model, "messages": messages, **sampling.body(), "seed": draw}
        if tools:
            body["tools"] = tools
        mode, usage = self._teacher.structured, self.usage[role]
        # a caller's own limit is in the body already, and so in the key of the answer
        question = Question(body, 0 if sampling.max_tokens else self.limit(role),
                            None if mode == "off" else sampling.form, self.world)
        try:
            answer = question.known(self._cache, mode == "auto") or await self._shared(question)
            if answer is None:
                answer = await self._own(question, usage)
            else:
                usage.cached += 1
        except CallFailed:
            usage.failed += 1
            raise
        reply, formed = answer
        usage.calls += 1
        usage.cut += reply.finish == "length"
        if question.form is not None and reply.finish != "length":
            usage.unstructured += not (formed and question.form.fits(reply.text))
        return reply

    def limit(self, role: str) -> int:
        """The most tokens of an answer of this role, where the caller sets none; 0 is the server's
        own limit."""
        return getattr(self._teacher.max_tokens, role, 0)

    def settings(self, *roles: str) -> dict[str, Any]:
        """What answers to these roles depend on beside what a stage asks: part of its settings."""
        return {"world": self.world, "structured": self._teacher.structured,
                "max_tokens": {role: self.limit(role) for role in roles}}

    async def complete(self, role: str, prompt: list[int], how: Continuation, home: int) -> Reply:
        """The continuation of a prompt in tokens, with the log-probability of each of its tokens.

        Nothing is cached: the same server may serve another checkpoint under the same name
        tomorrow.

        Args:
            home: prompts with the same number begin alike, and go to the same endpoint unless that
                has much more to do.

        Raises: as `ask`.
        """
        body = msgspec.json.encode(msgspec.to_builtins(how) | {"prompt": prompt})
        usage, started = self.usage[role], time.monotonic()
        try:
            reply = await self._try(how.model, lambda endpoint: endpoint.post(
                body, "/completions", read_text_completion), usage, home)
        except CallFailed:
            usage.failed += 1
            raise
        finally:
            usage.seconds += time.monotonic() - started
        usage.calls += 1
        self._pay(usage, reply)
        return reply

    async def served_models(self) -> list[list[dict[str, Any]]]:
        """What each endpoint lists at /models, asked before the first call of a stage.

        Raises:
            InputError: one gives no such answer.
        """
        lists = []
        for endpoint in self._endpoints:
            try:
                lists.append(
                    [model.model_dump() for model in (await endpoint.client.models.list()).data])
            except (openai.OpenAIError, aiohttp.ClientError) as error:
                raise InputError(f"{endpoint.url}: does not list its models "
                                 f"({type(error).__name__}); start the server, or check its "
                                 "address") from None
        return lists

    async def _shared(self, question: Question) -> tuple[Reply, bool] | None:
        """The answer of an equal call in flight; None where there is none, or where it was
        cancelled."""
        # again after one that was cancelled: another who waited may be asking by now
        while (pending := self._pending.get(question.identity)) is not None:
            await asyncio.wait([pending])
            if not pending.cancelled():
                return pending.result()
        return None

    async def _own(self, question: Question, usage: Usage) -> tuple[Reply, bool]:
        """Pay one answer, for all who wait for it."""
        pending = self._pending[question.identity] = asyncio.get_running_loop().create_future()
        started = time.monotonic()
        try:
            reply, formed = await self._try(question.model,
                                            partial(put, question,
                                                    self._teacher.structured == "on"), usage)
            question.keep(self._cache, reply, formed)
            pending.set_result((reply, formed))
        except CallFailed as error:
            pending.set_exception(error)
            pending.exception()  # retrieved, so that asyncio does not report it where nobody waits
            raise
        finally:
            del self._pending[question.identity]
            # without effect where it has its answer; else one of those who wait asks anew
            pending.cancel()
            usage.seconds += time.monotonic() - started
        self._pay(usage, reply)
        return reply, formed

    def _pay(self, usage: Usage, reply: Reply) -> None:
        """Book one answer."""
        usage.prompt_tokens += reply.prompt_tokens
        usage.completion_tokens += reply.completion_tokens
        usage.dollars += (reply.prompt_tokens * self._teacher.dollars_per_million_prompt_tokens
                          + reply.completion_tokens
                          * self._teacher.dollars_per_million_completion_tokens) / 1e6

    async def _try(self, model: str, put: Callable[[Endpoint], Awaitable[T]], usage: Usage,
                   home: int | None = None) -> T:
        failed = timeouts = 0
        while True:
            async with self._slots:
                endpoint = self._choose(model, home)
                endpoint.in_flight += 1
                try:
                    answer = await put(endpoint)
                    endpoint.failures = 0
                    return answer
                except openai.NotFoundError as error:
                    # no failed try: the next endpoint may serve the model
                    endpoint.lacks[model] = detail(error)
                    continue
                except openai.APIStatusError as error:
                    raise refusal(endpoint.url, error) from None
                except Transient as error:
                    endpoint.rest()
                    reason, pause = str(error), error.retry_after
                    timeouts += error.timed_out
                finally:
                    endpoint.in_flight -= 1
            failed += 1
            usage.failed_tries += 1
            if failed >= self._teacher.tries or timeouts >= TIMEOUTS:
                raise CallFailed(f"no answer in {failed} tries; last: {reason}")
            # outside of the slot, so that a call that pauses keeps no other one waiting
            backoff = min(self.backoff_seconds * 2 ** (failed - 1),
                          LONGEST_PAUSE) * random.uniform(0.5, 1)
            await asyncio.sleep(max(backoff, pause))

    def _choose(self, model: str, home: int | None) -> Endpoint:
        """The endpoint with the fewest calls in flight, one that rests only where all do; `home`
        may have some more."""
        able = [endpoint for endpoint in self._endpoints if model not in endpoint.lacks]
        if not able:
            said = "; ".join(f"{endpoint.url}: 404 {endpoint.lacks[model]}"
                             for endpoint in self._endpoints)
            raise InputError(
                f"no endpoint serves the model {model!r} ({said}); check {self._keys[0]}, and "
                f"{self._keys[1]}, which mostly end in /v1")
        # of all endpoints and not the able ones, so that a home stays where it is
        now, near = (time.monotonic(), None if home is None
                     else self._endpoints[home % len(self._endpoints)])
        return min(able, key=lambda endpoint: (endpoint.rests_until > now,
                                               endpoint.in_flight
                                               - (HOME_ADVANTAGE if endpoint is near else 0)))
