"""How fast conversations become samples and samples become rows, on one core, and how much memory
that takes.

    python benchmarks/transform.py [--conversations FILE] [--counts 10000 100000 1000000]

Conversations are those of a run (default runs/laptop/conversations.jsonl, SIMULATED), again and
again under new ids. Each size is one process a step: conversation_transform_grpo_qwen.py, then
json2parquet.py, with the window of configs/qwen3_8b.yaml and the tiny student's tokenizer. Time is
that of the whole process after its imports, as CPU time and by the clock, which a slow disk
stretches; memory is its peak. Each line also has the ratio to a bare loop that decodes and encodes
the same lines with msgspec, measured in the same run.

The last line is one JSON object; targets: 12,000 conversations a second of CPU time into samples,
under 300 MB.
"""
from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from grpotool.dataset.utils import conversation_transform_grpo_qwen, json2parquet
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.prompts.length import StudentFits, leave_torch_out

STEPS = ("samples", "rows", "bare")


def repeat(source: Path, count: int, target: Path) -> None:
    """`count` conversations, those of the source in turn, each with an id of its own."""
    known = [msgspec.json.decode(line) for line in source.read_bytes().splitlines()]
    with target.open("wb") as file:
        for number in range(count):
            conversation = known[number % len(known)]
            file.write(msgspec.json.encode({**conversation, "id": f"{conversation['id']}-{number}"})
                       + b"\n")


def settings() -> Config:
    return load_config(ROOT / "configs" / "qwen3_8b.yaml",
                       ["student.model=grpotool/tiny_student/checkpoint"])


def run_step(step: str, folder: Path) -> None:
    """One step in this process; prints seconds, records and MB as JSON."""
    leave_torch_out()
    config, records = settings(), 0
    fits = StudentFits(config)
    # loads the tokenizer before the clock runs
    fits([{"role": "system", "content": "warm"}], 1)
    # user and system time, of children too
    begun, used = time.perf_counter(), sum(os.times()[:4])
    if step == "samples":
        records = conversation_transform_grpo_qwen.transform(config, folder / "conversations.jsonl",
                                                             False, folder / "samples.jsonl",
                                                             fits).records
    elif step == "rows":
        records = json2parquet.convert(folder / "samples.jsonl", folder / "train.parquet",
                                       folder / "test.parquet", config,
                                       fits).records
    else:
        with (folder / "conversations.jsonl").open("rb") as lines:
            for line in lines:
                msgspec.json.encode(msgspec.json.decode(line))
                records += 1
    print(json.dumps({"seconds": time.perf_counter() - begun, "cpu": sum(os.times()[:4]) - used,
                      "records": records,
                      "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conversations", type=Path,
                        default=ROOT / "runs" / "laptop" / "conversations.jsonl")
    parser.add_argument("--counts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.step:
        run_step(args.step, args.folder)
        return
    figures = []
    print(f"{'conversations':>13} {'step':8} {'a CPU second':>12} {'a second':>9} {'records':>9} "
          f"{'MB':>6} {'of bare':>8}")
    for count in args.counts:
        with tempfile.TemporaryDirectory() as folder:
            repeat(args.conversations, count, Path(folder) / "conversations.jsonl")
            done = {}
            for step in ("bare", "samples", "rows"):
                command = [sys.executable, __file__, "--step", step, "--folder", folder]
                shown = subprocess.run(command, check=True, stdout=subprocess.PIPE,
                                       stderr=subprocess.DEVNULL, text=True).stdout
                done[step] = json.loads(shown.splitlines()[-1])
                cpu, records, mb = (count / done[step]["cpu"], done[step]["records"],
                                    done[step]["mb"])
                clock, share = (count / done[step]["seconds"],
                                done["bare"]["cpu"] / done[step]["cpu"])
                print(f"{count:13,} {step:8} {cpu:12,.0f} {clock:9,.0f} {records:9,} {mb:6.0f} "
                      f"{share:8.1%}")
                figures.append({"conversations": count, "step": step, "a_cpu_second": round(cpu),
                                "a_second": round(clock), "records": records, "mb": round(mb),
                                "of_bare": round(share, 3)})
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
