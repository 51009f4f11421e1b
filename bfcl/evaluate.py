"""BFCL of one model: the official tasks and the official scorer (bfcl-eval), our prompt, a protocol card beside the score.

In: a checkpoint of a round (--round), or any folder or hub model (--model), behind vLLM, which is started for it, or
behind a running server (--endpoint). Out, in the folder that bfcl/card.py names: bfcl-eval's own `result/` and `score/`,
`card.json`, `card.txt` and `table.txt`, which is printed. bfcl-eval's version, v3 or v4, is that of the environment, which
scripts/09_evaluate_bfcl.sh makes.

    bash scripts/09_evaluate_bfcl.sh --config configs/qwen3_8b.yaml --round 2 --base
    bash scripts/09_evaluate_bfcl.sh --model zhuiguang-ning/LoopTool-8B -- --tensor-parallel-size 8

Killed and run again it goes on where it was; entries that failed are asked again. Where it departs from bfcl-eval's own
handler of Qwen3 stands in bfcl/qwentool.py.
"""
from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from bfcl.card import Sampling, Scored, folder, read_card
from bfcl.launch import installed_version
from bfcl.measure import Job, measure
from bfcl.scores import score_table
from looptool.config import Config, argument_parser, load_config, student_path
from looptool.records import InputError, write_atomic
from looptool.run_files import round_files
from looptool.stage import run_main


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--model", metavar="DIR_OR_NAME", help="any checkpoint or hub model (default: the round's policy; in "
                        "round 0 the student before training)")
    parser.add_argument("--base", nargs="?", const="", metavar="DIR_OR_NAME", help="measure this model too, by the same "
                        "command, and print the difference (default: the student before training)")
    parser.add_argument("--endpoint", default="", metavar="URL", help="a running server, http://HOST:PORT/v1 (default: start "
                        "vLLM, with the flags that stand behind --)")
    parser.add_argument("--base-endpoint", default="", metavar="URL", help="the same for --base")
    parser.add_argument("--served-name", default="", help="the model's name there, where it lists several")
    parser.add_argument("--subset", nargs="?", type=int, const=40, default=0, metavar="N",
                        help="only N entries of each category, always the same ones (default: 40)")
    parser.add_argument("--categories", nargs="+", default=[], help="only these, by bfcl-eval's names")
    parser.add_argument("--prompt", choices=("full", "short", "native"), help="whose system text: ours, full or short, or the "
                        "model's own chat template (default: student.instructions)")
    parser.add_argument("--no-thinking", action="store_true", help="ask the chat template for replies without reasoning")
    parser.add_argument("--temperature", type=float, default=0.001)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=4096, help="of one reply, reasoning included")
    parser.add_argument("--in-flight", type=int, default=64, help="entries at a time")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has answered")
    parser.add_argument("server_flags", nargs="*", metavar="-- FLAGS", help="for vllm serve")
    return parser.parse_args()


def make_job(args: argparse.Namespace, config: Config) -> Job:
    """What the flags ask for.

    Raises:
        InputError: there is no such checkpoint.
    """
    version = "bfcl_v3" if installed_version() == "2025.6.14" else "bfcl_v4"
    if args.model:
        out = folder(config.run_dir, version, model=args.model, subset=bool(args.subset))
        label, model = args.model, str(Path(args.model).resolve()) if Path(args.model).is_dir() else args.model
    else:
        files = round_files(args, config)
        out = folder(config.run_dir, version, round=files.round, subset=bool(args.subset))
        label, model = f"round {files.round}", student_path(config) if files.round == 0 else str(files.policy)
    if not Path(model).is_dir() and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model):
        raise InputError(f"{model}: there is no such checkpoint; run scripts/04_train.sh first, or name one with --model")
    return Job(folder=args.out or out, label=label, model=model, prompt=args.prompt or config.student.instructions,
               sampling=Sampling(thinking=not args.no_thinking, temperature=args.temperature, top_p=args.top_p,
                                 max_tokens=args.max_tokens),
               categories=args.categories, per_category=args.subset, endpoint=args.endpoint, served_name=args.served_name,
               server_flags=args.server_flags, in_flight=args.in_flight, fresh=args.fresh)


def base_job(args: argparse.Namespace, config: Config) -> Job:
    """The same for the model before training."""
    changed = {"model": args.base or None, "round": "0", "out": None, "endpoint": args.base_endpoint}
    job = make_job(argparse.Namespace(**vars(args) | changed), config)
    job.label = f"base {args.base or config.student.model}"
    return job


def measure_apart(job: Job) -> Scored:
    """`measure` in a process of its own: bfcl-eval keeps to one folder in a process."""
    done = subprocess.run([sys.executable, "-m", "bfcl.measure"], input=msgspec.json.encode(job))
    if done.returncode:
        sys.exit(done.returncode)
    return read_card(job.folder)


def main() -> None:
    args = parse_arguments()
    config = load_config(args.config, args.overrides)
    job = make_job(args, config)
    rows = {}
    if args.base is not None:
        base = base_job(args, config)
        rows[base.label] = measure_apart(base)
    rows[job.label] = measure(job)
    table = score_table(rows)
    write_atomic(job.folder / "table.txt", [table.encode()])
    sys.stdout.write(table)


if __name__ == "__main__":
    run_main(main)
