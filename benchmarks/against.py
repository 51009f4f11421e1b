"""A benchmark of this checkout and of another one, in turn, so that both meet the same machine.

    git worktree add ../before COMMIT
    python benchmarks/against.py --other ../before --times 5 \\
        benchmarks/reward.py --samples FILE --times 1

Every run is a process of its own, with the checkout's own code. A figure is the best of its runs:
the least where its name speaks of ms, MB or seconds, else the most. The last line is one JSON
object: this checkout's figures as a share of the other's.
"""
from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LESS_IS_BETTER = re.compile(r"(^|[._])(ms|mb|cpu|seconds)([._]|$)")


def run(checkout: Path, command: list[str]) -> dict[str, float]:
    """The figures of one run, by name."""
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    done = subprocess.run([sys.executable, checkout / command[0], *command[1:]], env=environment,
                          check=True,
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return dict(flatten(json.loads(done.stdout.splitlines()[-1])))


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    """The numbers of a JSON value, by their path."""
    if isinstance(value, (dict, list)):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flatten(child, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield name, value


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, required=True, help="the other checkout")
    parser.add_argument("--times", type=int, default=3, help="runs of each (default: 3)")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="the benchmark and its flags")
    args = parser.parse_args()
    runs: dict[Path, list[dict[str, float]]] = {args.other.resolve(): [], ROOT: []}
    for _ in range(args.times):
        for checkout, figures in runs.items():
            figures.append(run(checkout, args.command))
    before, now = runs.values()
    ratios = {}
    print(f"{'figure':40} {'other':>12} {'this':>12} {'ratio':>7}")
    for name in now[0]:
        if not all(name in figures for figures in before):
            continue
        best = min if LESS_IS_BETTER.search(name) else max
        other, this = (best(figures[name] for figures in each) for each in (before, now))
        if other:
            ratios[name] = round(this / other, 3)
            print(f"{name:40} {other:12,.3f} {this:12,.3f} {ratios[name]:7.2f}")
    print(json.dumps(ratios))


if __name__ == "__main__":
    main()
