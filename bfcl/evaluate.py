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


def parse_arguments(words: list[str]) -> argparse.Namespace:
    """The flags; what stands behind -- is vLLM's."""
    parser = argument_parser(__doc__, with_round=True)
    add = parser.add_argument
    add("--model", metavar="DIR_OR_NAME",
        help="any checkpoint or hub model (default: the round's policy; in round 0 the student before training)")
    add("--base", nargs="?", const="", metavar="DIR_OR_NAME",
        help="measure this model too, by the same command, and print the difference (default: the student)")
    add("--endpoint", default="", metavar="URL",
        help="a running server, http://HOST:PORT/v1 (default: start vLLM, with the flags that stand behind --)")
    add("--base-endpoint", default="", metavar="URL", help="the same for --base")
    add("--served-name", default="", help="the model's name there, where it lists several")
    add("--subset", nargs="?", type=int, const=40, default=0, metavar="N",
        help="only N entries of each category, always the same ones (default: 40)")
    add("--categories", nargs="+", default=[], help="only these, by bfcl-eval's names")
    add("--prompt", choices=("full", "short", "native"),
        help="whose system text: ours, or that of the model's chat template (default: student.instructions)")
    add("--no-thinking", action="store_true", help="ask the chat template for replies without reasoning")
    add("--temperature", type=float, default=0.001)
    add("--top-p", type=float, default=1.0)
    add("--max-tokens", type=int, default=4096, help="of one reply, reasoning included")
    add("--in-flight", type=int, default=64, help="entries at a time")
    add("--out", type=Path, metavar="FOLDER")
    add("--fresh", action="store_true", help="forget what an earlier run has answered")
    end = words.index("--") if "--" in words else len(words)
    return parser.parse_args(words[:end], argparse.Namespace(server_flags=words[end + 1:]))


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
    done = subprocess.run([sys.executable, "-m", "bfcl.measure"], input=msgspec.json.encode(job, enc_hook=str))
    if done.returncode:
        sys.exit(done.returncode)
    return read_card(job.folder)


def main() -> None:
    args = parse_arguments(sys.argv[1:])
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
