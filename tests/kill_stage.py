"""The stage that test_kill.py kills: two calls for each input, run in a process of its own."""
from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path

from local_server import client_config, user
from looptool.command import run_main
from looptool.models.client import Client
from looptool.models.sampling import Sampling
from looptool.stages.llm_stage import run_stage
from looptool.stages.workers import Outcome

IN_FLIGHT = 8


def run(url: str, folder: Path, inputs: int, die_at: str | None = None) -> None:
    """Run the stage to its end; with `die_at`, "<function of os> <n>", die by SIGKILL before the
    n-th such call."""
    if die_at:
        _arm(*die_at.split())
    run_main(lambda: asyncio.run(_stage(url, folder, inputs)))


async def _stage(url: str, folder: Path, inputs: int) -> None:
    config = client_config(url, in_flight=IN_FLIGHT)
    async with Client.from_config(config, folder / "answers.sqlite") as client:
        async def work(number: int) -> Outcome:
            first = await client.ask("user", user(f"question {number}"), Sampling(temperature=0.6))
            second = await client.ask("judge", user(f"is it true that {first.text}?"),
                                      Sampling(temperature=0.0))
            return Outcome([{"number": number, "text": second.text, "part": part}
                            for part in range(number % 3)],
                           ["none", "one", "two"][number % 3])

        await run_stage("kill", [(f"id{number}", number) for number in range(inputs)], work,
                        folder / "out.jsonl", settings={"inputs": inputs}, sources=[],
                        in_flight=IN_FLIGHT, usage=client.usage)


def _arm(function: str, number: str) -> None:
    real, calls = getattr(os, function), 0

    def deadly(*args, **kwargs):
        nonlocal calls
        calls += 1
        if calls == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)

    setattr(os, function, deadly)
