"""How much sooner a round is probed, verified and expanded when the three overlap, on servers of
fixed latency.

    python benchmarks/overlap.py [--samples 400] [--latency 1.0] [--times 2]

Serial is greedy_capability_prob.py, judgement_label_verification.py and error_data_expansion.py one
after another; the other is dataloop/running/overlap.py. Both run as a user runs them, with their
starts, on the same samples and in turns. A process of its own serves the policy (its replies are
written down) and the SIMULATED teacher; each answers after --latency, the policy 16 requests at
once and the teacher 32, so that what overlaps has no more of a server than what does not. Outputs
must be equal.

"bound" is the time that the servers need by themselves: the longer of all policy requests and all
teacher requests. The last line is one JSON object; ratio is overlapped over serial, the mean of all
turns.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from aiohttp import web

from dataloop.probing.job import prompt_ids
from dataloop.running.overlap import STEPS
from looptool.calling.reply import render_calls
from looptool.config import Config
from looptool.config_file import ROOT, load_config, student_path
from looptool.ids import sample_id
from looptool.json_lines import write_jsonl
from looptool.prompts.length import leave_torch_out, load_tokenizer
from looptool.records import Message, Sample
from looptool.run_files import RoundFiles
from looptool.simulation.server import BACKLOG, make_app
from looptool.simulation.teacher import Teacher
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.noise import corrupt
from looptool.simulation.world.tasks import draw_task, draw_tools

POLICY_SLOTS, TEACHER_SLOTS = 16, 32
WRONG_LABELS, WRONG_REPLIES = 0.15, 0.3
OUTPUTS = ("probes.jsonl", "verdicts.jsonl", "error_seeds.jsonl", "ledger.jsonl", "high_ppl.jsonl",
           "expanded.jsonl")


def draw_samples(count: int) -> list[tuple[Sample, str]]:
    """Samples of the simulated world, each with what the policy replies."""
    drawn = []
    for index in range(count):
        rng = random.Random(f"overlap:{index}")
        tools = draw_tools(rng, catalogue("train"), rng.randint(2, 4))
        task = draw_task(rng, tools, "train")
        if not task.truth.calls:
            continue
        right = list(task.truth.calls)
        label, reply = (corrupt(rng, right, tools)[1] if rng.random() < rate else right
                        for rate in (WRONG_LABELS, WRONG_REPLIES))
        answer = Message(role="assistant", calls=label)
        sample = Sample(id=sample_id(tools, "2024-05-01", task.messages, answer), tools=tools,
                        date="2024-05-01", messages=task.messages, label=answer,
                        source=f"overlap#{index}")
        drawn.append((sample, render_calls(reply)))
    return list({sample.id: (sample, reply) for sample, reply in drawn}.values())


class Policy:
    """Continues the prompts of the samples as it is written down, whatever the order."""

    def __init__(self, config: Config, count: int):
        tokenizer = load_tokenizer(student_path(config))
        self._replies = {tuple(prompt_ids(tokenizer, sample, config.student)): reply
                         for sample, reply in draw_samples(count)}

    def complete(self, payload: dict[str, Any]) -> dict[str, Any]:
        reply = self._replies[tuple(payload["prompt"])]
        surprise = random.Random(reply).uniform(0.001, 0.5)
        return {"choices": [{"index": 0, "text": reply, "finish_reason": "stop", "logprobs": {
            "token_logprobs": [-surprise] * 40}}],
                "usage": {"prompt_tokens": len(payload["prompt"]), "completion_tokens": 40}}


class Counted:
    """A completer that counts."""

    def __init__(self, completer: Any):
        self.completer, self.count = completer, 0

    def complete(self, payload: dict[str, Any]) -> dict[str, Any]:
        self.count += 1
        return self.completer.complete(payload)


def serve(config: Config, count: int, latency: float, port: Connection) -> None:
    """Serve both, send their ports, and then, whenever asked, how many requests each has
    answered."""
    leave_torch_out()
    policy, teacher = (Counted(Policy(config, count)),
                       Counted(Teacher(config.simulation, config.seed)))

    async def run() -> None:
        for completer, slots, path in ((policy, POLICY_SLOTS, "/completions"),
                                       (teacher, TEACHER_SLOTS, "/chat/completions")):
            runner = web.AppRunner(make_app(completer, ["m"], latency, slots, path),
                                   access_log=None)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0, backlog=BACKLOG).start()
            port.send(runner.addresses[0][1])
        while True:
            await asyncio.to_thread(port.recv)
            port.send((policy.count, teacher.count))

    asyncio.run(run())


def flags(run_dir: Path, policy: int, teacher: int) -> list[str]:
    values = (f"run_dir={run_dir}", "probe.engine=endpoint",
              f"probe.base_urls=[http://127.0.0.1:{policy}/v1]", f"probe.in_flight={POLICY_SLOTS}",
              f"teacher.base_urls=[http://127.0.0.1:{teacher}/v1]",
              f"teacher.in_flight={TEACHER_SLOTS}", "student.max_prompt_tokens=4096")
    return [word for value in values for word in ("--set", value)]


def timed(run_dir: Path, samples: list[Sample], scripts: list[str], more: list[str]) -> list[float]:
    """Seconds of each script, on a new run."""
    files = RoundFiles(run_dir, 1)
    write_jsonl(files.dataset, samples)
    files.policy.symlink_to(ROOT / "grpotool" / "tiny_student" / "checkpoint")
    seconds = []
    for script in scripts:
        begun = time.perf_counter()
        subprocess.run([sys.executable, ROOT / "dataloop" / script, "--config",
                        ROOT / "configs" / "laptop.yaml", "--round", "1",
                        *more], check=True, env={**os.environ, "CI": "1"},
                       stderr=subprocess.DEVNULL)
        seconds.append(time.perf_counter() - begun)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=400)
    parser.add_argument("--latency", type=float, default=1.0, help="seconds of every answer")
    parser.add_argument("--times", type=int, default=2, help="turns")
    args = parser.parse_args()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    config = load_config(ROOT / "configs" / "laptop.yaml", ["student.max_prompt_tokens=4096"])
    server = spawn.Process(target=serve, args=(config, args.samples, args.latency, theirs),
                           daemon=True)
    server.start()
    theirs.close()  # so that a server which dies is an EOFError here, and no endless wait
    policy, teacher = ours.recv(), ours.recv()
    samples = [sample for sample, _ in draw_samples(args.samples)]
    ratios, bounds = [], []
    print(f"{len(samples)} samples, {args.latency} s an "
          f"answer\n{'probe':>8}{'verify':>8}{'expand':>8}{'serial':>8}"
          f"{'overlap':>9}{'ratio':>7}{'bound':>7}   seconds")
    with tempfile.TemporaryDirectory() as place:
        for turn in range(args.times):
            one, three = Path(place) / f"serial{turn}", Path(place) / f"overlap{turn}"
            parts = timed(one, samples, list(STEPS), flags(one, policy, teacher))
            ours.send(None)
            requests = ours.recv()
            together, = timed(three, samples, ["running/overlap.py"], flags(three, policy, teacher))
            for name in OUTPUTS:
                assert (one / "round_1" / name).read_bytes() == (
                    three / "round_1" / name).read_bytes(), name
            ours.send(None)
            used = [after - before for after, before in zip(ours.recv(), requests)]
            bounds.append(max(used[0] / POLICY_SLOTS, used[1] / TEACHER_SLOTS) * args.latency)
            ratios.append(together / sum(parts))
            print("".join(f"{seconds:8.1f}" for seconds in (*parts, sum(parts)))
                  + f"{together:9.1f}{ratios[-1]:7.2f}{bounds[-1]:7.1f}", flush=True)
    server.kill()
    print(json.dumps({"ratio": round(statistics.mean(ratios), 3), "serial_s": round(sum(parts), 1),
                      "overlap_s": round(together, 1),
                      "bound_s": round(statistics.mean(bounds), 1)}))


if __name__ == "__main__":
    main()
