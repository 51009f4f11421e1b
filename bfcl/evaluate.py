"""BFCL of one model: the official tasks and scorer (bfcl-eval), our prompt, a protocol card beside
the score.

In: a checkpoint of a round (--round), or any folder or hub model (--model), behind vLLM, which is
started for it, or behind a running server (--endpoint). Out, in the folder that bfcl/card.py names:
bfcl-eval's own `result/` and `score/`, `card.json`, `card.txt` and `table.txt`, which is printed.
bfcl-eval's version, v3 or v4, is that of the environment, which scripts/09_evaluate_bfcl.sh makes.

    bash scripts/09_evaluate_bfcl.sh --config configs/qwen3_8b.yaml --round 2 --base
    bash scripts/09_evaluate_bfcl.sh --config configs/qwen3_8b.yaml \\
        --model zhuiguang-ning/LoopTool-8B --prompt FILE -- --tensor-parallel-size 8

Killed and run again it goes on where it was; entries that failed are asked again. Where it departs
from bfcl-eval's own handler of Qwen3 stands in bfcl/qwentool.py.
"""
from __future__ import annotations

import argparse
import subprocess
import sys

import msgspec

from bfcl.card import Scored, read_card
from bfcl.flags import (
    Job, asked, benchmark_parser, for_base, parse_words, refuse_own_base)
from bfcl.launch import installed_version
from bfcl.measure import measure
from bfcl.official.scores import score_table
from looptool.command import end_on_sigterm, end_with_parent, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.json_lines import write_atomic


def parse_arguments(words: list[str]) -> argparse.Namespace:
    parser = benchmark_parser(__doc__, subset=40)
    parser.add_argument("--categories", nargs="+", default=[],
                        help="only these, by bfcl-eval's names")
    parser.add_argument("--prompt", metavar="full|short|native|FILE",
                        help="whose system text: ours, that of the model's chat template, or a "
                             "file's (default: student.instructions)")
    return parse_words(parser, words)


def make_job(args: argparse.Namespace, config: Config) -> Job:
    """What the flags ask for.

    Raises:
        InputError: there is no such checkpoint.
    """
    benchmark = "bfcl_v3" if installed_version() == "2025.6.14" else "bfcl_v4"
    return Job(**asked(args, config, benchmark))


def measure_apart(job: Job) -> Scored:
    """`measure` in a process of its own, which ends with this one: bfcl-eval keeps to one folder in
    a process."""
    process = subprocess.Popen([sys.executable, "-m", "bfcl.measure"], stdin=subprocess.PIPE,
                               preexec_fn=end_with_parent)
    try:
        # str for the Path in it; bfcl.measure makes one of it again
        process.communicate(msgspec.json.encode(job, enc_hook=str))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode:
        sys.exit(process.returncode)
    return read_card(job.out)


def main() -> None:
    end_on_sigterm()
    args = parse_arguments(sys.argv[1:])
    config = load_config(args.config, args.overrides)
    job = make_job(args, config)
    rows = {}
    if args.base is not None:
        base = make_job(for_base(args), config)
        refuse_own_base(job.label, job.out, base.out)
        rows[base.label] = measure_apart(base)
    rows[job.label] = measure(job)
    table = score_table(rows)
    write_atomic(job.out / "table.txt", [table.encode()])
    sys.stdout.write(table)


if __name__ == "__main__":
    run_main(main)
