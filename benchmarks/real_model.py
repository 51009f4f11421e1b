"""A real language model over real tools: base, after the cold start, after each round of the loop
and of static training.

    python benchmarks/real_model.py --tools tools.jsonl --model FOLDER [--rounds 2] [--set
        train.profile=cpu]

A fifth of the tools, drawn by a hash of their names, is held out; D_1 is of the others. The teacher
is the simulated one of configs/small.yaml (--config names another), so the truth of every held-out
task is known. Everything lies in the config's run_dir; killed and run again, it goes on. A CPU
takes hours: begin it early, in the background. Last come one line a policy, with the 95% interval
of its accuracy (Wilson), and the figures of scripts/ablations.sh stand before it.
"""
from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dataloop.reporting.measures import rate
from looptool.config_file import ROOT, load_config
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Probe, Tool

HELD_OUT = 5
"""One tool of so many."""


def is_held_out(tool: Tool) -> bool:
    return int(hashlib.sha256(tool.name.encode()).hexdigest(), 16) % HELD_OUT == 0


def split(tools: Path, run: Path) -> list[str]:
    """Two lists of tools in the run's folder, and the overrides that name them."""
    found = list(read_jsonl(tools, Tool))
    known, held_out = run / "tools_known.jsonl", run / "tools_held_out.jsonl"
    print(f"{write_jsonl(known, (tool for tool in found if not is_held_out(tool)))} tools to train "
          f"on, {write_jsonl(held_out, (tool for tool in found if is_held_out(tool)))} held out")
    return [f"dialogs.tools={known}", f"simulation.heldout_tools={held_out}"]


def accuracy(probes: Path) -> str:
    """A line's figures: how many held-out tasks are right, and why the others are not."""
    reasons = Counter(probe.reason for probe in read_jsonl(probes, Probe))
    count = reasons.total()
    right = reasons.pop("match", 0)
    share = rate(Counter({True: right, False: count - right}))
    causes = ", ".join(f"{number} {reason}" for reason, number in reasons.most_common(4))
    return f"{right}/{count} = {share.share:.1%} [{share.low:.1%}, {share.high:.1%}]; {causes}"


def policies(run: Path, rounds: int) -> Iterator[tuple[str, Path]]:
    """Name and held-out probes of every policy, in order."""
    loop, static = (run / "ablations" / f"{variant}_seed0" for variant in ("none", "static"))
    yield "base", run / "base_probes.jsonl"
    yield "cold start", loop / "round_0" / "heldout_probes.jsonl"
    for number in range(1, rounds + 1):
        yield f"loop, round {number}", loop / f"round_{number}" / "heldout_probes.jsonl"
    for number in range(2, rounds + 1):  # the first round is the same
        yield f"static, round {number}", static / f"round_{number}" / "heldout_probes.jsonl"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tools", required=True,
                        help="a file or folder of tools, in any form that 01_synthesize_tools.sh "
                             "reads")
    parser.add_argument("--model", required=True, help="folder or hub name of the base model")
    parser.add_argument("--config", default=str(ROOT / "configs" / "small.yaml"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--set", action="append", default=[], dest="overrides",
                        metavar="SECTION.KEY=VALUE")
    args = parser.parse_args()
    overrides = [f"student.model={args.model}", *args.overrides]
    run = Path(load_config(args.config, overrides).run_dir)

    def call(script: str, *words: str, settings: list[str] = []) -> None:
        flags = [word for override in overrides + settings for word in ("--set", override)]
        begin = ["bash"] if script.endswith(".sh") else [sys.executable]
        subprocess.run([*begin, ROOT / script, "--config", args.config, *flags, *words], check=True)

    call("scripts/01_synthesize_tools.sh", "--tools", args.tools, "--output",
         str(run / "tools_all.jsonl"))
    overrides += split(run / "tools_all.jsonl", run)
    base = run / "base_probes.jsonl"
    call("looptool/simulation/heldout.py")
    call("dataloop/greedy_capability_prob.py", "--heldout", "--round", "0", "--output", str(base),
         settings=["train.cold_start.steps=0"])
    call("scripts/ablations.sh", "--variants", "static", "--seeds", "0", "--rounds",
         str(args.rounds))
    for name, probes in policies(run, args.rounds):
        print(f"{name + ':':18} {accuracy(probes)}")


if __name__ == "__main__":
    main()
