"""The simulated teacher as an OpenAI-compatible endpoint: in process, or over HTTP for any client.

    python -m looptool.simulation.server --port 8000 [--latency 0.2] [--capacity 256] [--config ...]
        [--set ...]

In: chat completion requests. Out: what `complete(payload) -> dict` of the teacher returns, a chat
completion. Over HTTP it answers POST /v1/chat/completions and GET /v1/models. `--latency` and
`--capacity` make it a server of known speed, for benchmarks: each answer takes so many seconds, and
at most so many are worked on at once.
"""
from __future__ import annotations

import asyncio
import hashlib
import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import httpx2
import msgspec
import openai
from aiohttp import web

from looptool.command import argument_parser
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.simulation.roles.prompt import NotUnderstood
from looptool.simulation.teacher import Teacher

BACKLOG = 4096
"""Connections that may wait to be accepted: a client opens all of its own at once."""

_log = logging.getLogger(__name__)


class Completer(Protocol):
    """Anything that answers a chat completion request with a chat completion."""

    def complete(self, payload: dict[str, Any]) -> dict[str, Any]: ...


class InProcess(httpx2.AsyncBaseTransport):
    """Carries requests of an HTTP client to a completer in this process; no socket is opened."""

    def __init__(self, completer: Completer):
        self._completer = completer

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        status, body = _answer(self._completer, request.content)
        return httpx2.Response(status, headers={"content-type": "application/json"}, content=body)


def _answer(completer: Completer, request: bytes) -> tuple[int, bytes]:
    """Status and body."""
    try:
        return 200, msgspec.json.encode(completer.complete(msgspec.json.decode(request)))
    except NotUnderstood as error:
        return 400, msgspec.json.encode(
            {"error": {"message": str(error), "type": "invalid_request_error"}})


def simulated_connection(config: Config) -> tuple[openai.AsyncOpenAI, bytes]:
    """What the base URL "simulated" stands for, and a digest of what its answers depend on beside
    the request.

    That is the configured rates, the seed and the code of the simulation; so a cache never answers
    for another world.
    """
    client = httpx2.AsyncClient(transport=InProcess(Teacher(config.simulation, config.seed)))
    world = hashlib.sha256(msgspec.json.encode((config.simulation, config.seed)))
    for file in sorted(Path(__file__).parent.rglob("*")):
        if file.suffix in (".py", ".yaml", ".txt"):
            world.update(file.read_bytes())
    return (openai.AsyncOpenAI(base_url="http://simulated/v1", api_key="none", max_retries=0,
                               http_client=client),
            world.digest())


def make_app(completer: Completer, models: list[str], latency: float = 0.0,
             capacity: int | None = None) -> web.Application:
    """The endpoint as an aiohttp application; `latency` in seconds, `capacity` in requests worked
    on at once."""
    slots = asyncio.Semaphore(capacity) if capacity else nullcontext()

    async def complete(request: web.Request) -> web.Response:
        payload = await request.read()
        async with slots:
            if latency:
                await asyncio.sleep(latency)
            status, body = _answer(completer, payload)
        return web.Response(status=status, body=body, content_type="application/json")

    async def list_models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [
            {"id": model, "object": "model", "created": 0, "owned_by": "looptool"}
            for model in models]})

    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_post("/v1/chat/completions", complete)
    app.router.add_get("/v1/models", list_models)
    return app


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--latency", type=float, default=0.0, metavar="SECONDS",
                        help="time of each answer")
    parser.add_argument("--capacity", type=int,
                        help="answers worked on at once (default: any number)")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    url = f"http://{args.host}:{args.port}/v1"
    app = make_app(Teacher(config.simulation, config.seed), config.teacher.models, args.latency,
                   args.capacity)
    _log.info(
        "simulated teacher at %s; give stages --set teacher.base_urls=[%s], or other clients\n"
        "export OPENAI_BASE_URL=%s", url, url, url)
    try:
        web.run_app(app, host=args.host, port=args.port, backlog=BACKLOG, print=None,
                    access_log=None)
    except OSError as error:
        raise InputError(f"--port {args.port}: {error.strerror}; choose another port") from None


if __name__ == "__main__":
    from looptool.command import run_main

    run_main(main)
