"""A real OpenAI-compatible server in a thread, with faults to order and a count of every
request."""
from __future__ import annotations

import asyncio
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from looptool.config import Config, Student, Teacher

FAULTS = ["429", "429_retry_after", "500", "503", "hang", "reset", "reset_in_body", "not_http",
          "cut_json", "empty_body", "empty_choices", "no_message", "wrong_type", "error_object",
          "not_json", "aborted"]
"""Every way in which a try can fail and the next one may not."""

_BODIES = {"cut_json": b'{"choices": [{"message": {"content": "half a', "empty_body": b"",
           "empty_choices": b'{"choices": []}',
           "no_message": b'{"choices": [{"text": "old style"}]}',
           "wrong_type": b'{"choices": [{"message": {"content": 5}}]}',
           "error_object": b'{"error": {"message": "busy"}}',
           "not_json": b"<html>gateway</html>",
           "aborted": b'{"choices": [{"message": {"content": "half"}, "finish_reason": "abort"}]}'}


def completion(text: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    """A chat completion of 7 prompt and 3 completion tokens."""
    return {"id": "1", "object": "chat.completion", "created": 0, "model": "m",
            "choices": [{"index": 0, "finish_reason": finish,
                         "message": {"role": "assistant", "content": text, **message}}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}}


def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return completion("echo " + payload["messages"][-1]["content"])


class LocalServer:
    """A context manager; `url` is its address.

    `fault` says for each request, from its payload and the number of its earlier tries, what goes
    wrong: a name in FAULTS, a (status, body) pair, or None. Answers wait while `hold` is true.
    """

    def __init__(self, answer: Callable[[dict], dict] = echo, latency: float = 0.0,
                 fault: Callable[[dict, int],
                                 str | tuple[int, bytes] | None] = lambda payload, tries: None,
                 hold: Callable[[LocalServer], bool] = lambda server: False):
        self.answer, self.latency, self.fault, self.hold = answer, latency, fault, hold
        self.models: list[dict[str, str]] = [{"id": "m"}]
        self.models_status, self.models_text = 200, ""
        """The list of models; another text in its place, where there is one."""
        self.requests: Counter[bytes] = Counter()
        """Requests by the sha256 of their body, a limit of tokens apart: the client's cache key."""
        self.payloads: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.at_work = self.most_at_work = 0

    @property
    def count(self) -> int:
        return sum(self.requests.values())

    def __enter__(self) -> LocalServer:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.url = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> str:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/chat/completions", self._handle)
        app.router.add_post("/v1/completions", self._handle)
        app.router.add_get("/v1/models", self._list)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=2048).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"

    async def _list(self, request: web.Request) -> web.Response:
        self.headers.append(dict(request.headers))
        listed = {"object": "list", "data": [
            {"object": "model", "created": 0, "owned_by": "us", **model} for model in self.models]}
        return web.Response(status=self.models_status, content_type="application/json",
                            text=self.models_text or json.dumps(listed))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        payload = msgspec.json.decode(body)
        unlimited = {name: value for name, value in payload.items() if name != "max_tokens"}
        key = hashlib.sha256(msgspec.json.encode(unlimited, order="sorted")).digest()
        tries = self.requests[key]
        self.requests[key] += 1
        self.payloads.append(payload)
        self.headers.append(dict(request.headers))
        self.at_work += 1
        self.most_at_work = max(self.most_at_work, self.at_work)
        try:
            await asyncio.sleep(self.latency)
            while self.hold(self):  # no limit: beside other work, whoever ends it may come late
                await asyncio.sleep(0.01)
            fault = self.fault(payload, tries)
            if fault is not None:
                return await self._fail(request, fault)
            return web.json_response(self.answer(payload))
        finally:
            self.at_work -= 1

    async def _fail(self, request: web.Request,
                    fault: str | tuple[int, bytes]) -> web.StreamResponse:
        if isinstance(fault, tuple):
            return web.Response(status=fault[0], body=fault[1], content_type="application/json")
        if fault.startswith("429"):
            return web.Response(status=429, headers={"Retry-After": "0.05"}
                                if fault == "429_retry_after" else {})
        if fault in ("500", "503"):
            return web.Response(status=int(fault), text="oops")
        if fault == "hang":
            await asyncio.sleep(30)
        if fault == "not_http":
            request.transport.write(b"who is there?\r\n\r\n")
            request.transport.close()
        if fault == "reset":
            request.transport.abort()
        if fault == "reset_in_body":
            response = web.StreamResponse(
                headers={"Content-Length": "1000", "Content-Type": "application/json"})
            await response.prepare(request)
            await response.write(b'{"choices": [')
            request.transport.abort()
            return response
        return web.Response(body=_BODIES.get(fault, b""), content_type="application/json")


def client_config(*urls: str, **teacher: Any) -> Config:
    """A config whose teacher is at `urls`."""
    return Config(run_dir="", student=Student(model=""),
                  teacher=Teacher(base_urls=list(urls), models=["m"], **teacher))


def user(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
