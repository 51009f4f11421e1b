"""How much of a server's capacity an LLM stage uses, and what a call costs the client in CPU.

    python benchmarks/llm_stage.py [--seconds 40]

A server in its own process answers every request after a fixed time, any number at once. A whole
stage (prompts of 5 KB, answer cache, journal, output) sends it as many distinct calls as it can
answer in so many seconds. Share of capacity = the time that the calls would need with no overhead
at all, calls x latency / in_flight, over the wall time from the start of the stage (no connection
open yet) to its return (output written); so start-up and the last wave's tail count. CPU is the
process time of the client, user and system, over the same span. For scale, calls as the openai
package makes them by default (typed, over httpx).

The last line is one JSON object; targets: share at least 0.97 at 1 s x 256 and 0.90 at 0.2 s x 64,
CPU at most 1.5 ms.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import openai
from aiohttp import web

from looptool.config import Config, Student, Teacher
from looptool.models.client import Client
from looptool.models.sampling import Sampling
from looptool.simulation.server import BACKLOG, make_app
from looptool.stages.llm_stage import run_stage
from looptool.stages.workers import Outcome

SETTINGS = [(1.0, 256), (0.2, 64)]
BASELINE = (0.2, 256, 2048)
"""Latency, calls in flight and calls of the comparison."""
PROMPT = [{"role": "system", "content": "a tool and what it does, " * 200}]
ANSWER = {"id": "1", "object": "chat.completion", "created": 0, "model": "m",
          "choices": [{"index": 0, "finish_reason": "stop", "message": {
              "role": "assistant",
              "content": "<think>" + "some thought " * 60 + "</think>a verdict"}}],
          "usage": {"prompt_tokens": 1500, "completion_tokens": 130, "total_tokens": 1630}}


class Fixed:
    """Answers everything alike."""

    def complete(self, payload: dict) -> dict:
        return ANSWER


def serve(latency: float, port: Connection) -> None:
    """Serve on a free port, which is sent through `port`, until the process is ended."""
    async def run() -> None:
        runner = web.AppRunner(make_app(Fixed(), ["m"], latency), access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG)
        await site.start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


class Server:
    """A server process for the time of a `with` block, whose value is its URL."""

    def __init__(self, latency: float):
        self._latency = latency

    def __enter__(self) -> str:
        spawn = multiprocessing.get_context("spawn")
        receiver, sender = spawn.Pipe(duplex=False)
        self._process = spawn.Process(target=serve, args=(self._latency, sender), daemon=True)
        self._process.start()
        sender.close()  # so that a server which dies is an EOFError here, and no endless wait
        return f"http://127.0.0.1:{receiver.recv()}/v1"

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.join()


def prompt(number: int) -> list[dict[str, str]]:
    return [*PROMPT, {"role": "user", "content": f"question {number}"}]


async def stage(url: str, folder: Path, in_flight: int, calls: int) -> None:
    """The stage under test."""
    config = Config(run_dir=str(folder), student=Student(model=""),
                    teacher=Teacher(base_urls=[url], models=["m"], in_flight=in_flight))
    async with Client.from_config(config, folder / "answers.sqlite") as client:
        async def work(number: int) -> Outcome:
            reply = await client.ask("judge", prompt(number), Sampling(temperature=0.6))
            return Outcome([{"number": number, "text": reply.text}], "answered")

        meta = await run_stage("benchmark", [(str(number), number) for number in range(calls)],
                               work, folder / "answers.jsonl", settings={}, sources=[],
                               in_flight=in_flight, usage=client.usage)
        assert meta.records == calls and not client.usage["judge"].failed_tries


async def typed_calls(url: str, in_flight: int, calls: int) -> None:
    """The same calls through the openai package's own method, over its default transport."""
    numbers = iter(range(calls))
    async with openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        async def worker() -> None:
            for number in numbers:
                await client.chat.completions.create(model="m", messages=prompt(number),
                                                     temperature=0.6)

        await asyncio.gather(*(worker() for _ in range(in_flight)))


def measure(latency: float, in_flight: int, calls: int, run) -> tuple[float, float]:
    """(share of capacity, client CPU in ms a call) of `run(url, in_flight, calls)`."""
    with Server(latency) as url:
        wall, cpu = time.perf_counter(), time.process_time()
        asyncio.run(run(url, in_flight, calls))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    share, cost = calls * latency / in_flight / wall, cpu / calls * 1e3
    print(f"{run.__name__:12} {latency:7.1f} s {in_flight:9} {calls:7} {wall:8.1f} s {share:9.1%} "
          f"{cost:9.2f} ms")
    return share, cost


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=40,
                        help="size of each stage, in time at full capacity")
    args = parser.parse_args()
    print(f"{'what':12} {'latency':>9} {'in flight':>9} {'calls':>7} {'wall':>10} {'capacity':>9} "
          f"{'CPU a call':>12}")
    figures = {}
    for latency, in_flight in SETTINGS:
        with tempfile.TemporaryDirectory() as folder:
            async def run(url: str, in_flight: int, calls: int) -> None:
                await stage(url, Path(folder), in_flight, calls)

            run.__name__ = "stage"
            share, cost = measure(latency, in_flight, round(args.seconds / latency) * in_flight,
                                  run)
        figures |= {f"share_{latency:g}s_{in_flight}": round(share, 4),
                    f"client_cpu_ms_{latency:g}s_{in_flight}": round(cost, 3)}
    latency, in_flight, calls = BASELINE
    _, typed = measure(latency, in_flight, calls, typed_calls)
    figures |= {"typed_httpx_cpu_ms": round(typed, 3), "times_cheaper": round(typed / cost, 2)}
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
