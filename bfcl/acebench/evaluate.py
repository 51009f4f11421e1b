"""ACEBench of one model: its tasks and its own scorer from a checkout, our prompt, a protocol card beside the score.

In: a checkout of the benchmark (--acebench, pinned in checkout.py), and a checkpoint of a round (--round), or any folder or
hub model (--model), behind vLLM, which is started for it, or behind a running server (--endpoint). The user of the 30
agent_multi_turn tasks is played by any model behind any OpenAI-compatible server (--user-model, --user-endpoint); without
one they are left out, and with them the figures that they are part of.

Out, in the folder that bfcl/card.py names: `*_answers.jsonl`, the scorer's own files in `official/` and `corrected/` (what
is corrected says scoring.py), `card.json` and `card.txt` of the official score, `corrected/card.json`, and `table.txt`,
which is printed.

    bash scripts/10_evaluate_acebench.sh --acebench ~/ACEBench --config configs/qwen3_8b.yaml --round 2 --base \
        --user-model Qwen3-32B --user-endpoint http://localhost:8000/v1

Killed and run again it goes on where it was; tasks that got no answer are asked again.
"""
from __future__ import annotations

import argparse
import os
import re
import sys
from pathlib import Path
from typing import get_args

import msgspec

from bfcl.acebench.checkout import CATEGORIES, Language, open_checkout
from bfcl.acebench.figures import category_table, table
from bfcl.acebench.measuring import Job, measure
from bfcl.acebench.scoring import Way
from bfcl.card import Sampling, Scored, card_text, differences, folder
from bfcl.scores import tallies_of
from looptool.config import Config, argument_parser, load_config, student_path
from looptool.records import InputError, write_atomic
from looptool.run_files import round_files
from looptool.stage import run_main


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--acebench", type=Path, default=os.environ.get("ACEBENCH"), metavar="FOLDER",
                        help="checkout of the benchmark (default: $ACEBENCH)")
    parser.add_argument("--any-commit", action="store_true", help="take another commit than the pinned one, or an edited one")
    parser.add_argument("--language", choices=get_args(Language), default="en")
    parser.add_argument("--model", metavar="DIR_OR_NAME", help="any checkpoint or hub model (default: the round's policy; in "
                        "round 0 the student before training)")
    parser.add_argument("--base", nargs="?", const="", metavar="DIR_OR_NAME", help="measure this model too, by the same "
                        "command, and print the difference (default: the student before training)")
    parser.add_argument("--endpoint", default="", metavar="URL", help="a running server, http://HOST:PORT/v1 (default: start "
                        "vLLM, with the flags that stand behind --)")
    parser.add_argument("--base-endpoint", default="", metavar="URL", help="the same for --base")
    parser.add_argument("--served-name", default="", help="the model's name there, where it lists several")
    parser.add_argument("--user-model", default="", metavar="NAME", help="plays the user of agent_multi_turn")
    parser.add_argument("--user-endpoint", default="", metavar="URL", help="where (default: $OPENAI_BASE_URL)")
    parser.add_argument("--subset", nargs="?", type=int, const=10, default=0, metavar="N",
                        help="only N tasks or conversations of each category, always the same ones (default: 10)")
    parser.add_argument("--categories", nargs="+", choices=CATEGORIES, default=[], metavar="CATEGORY")
    parser.add_argument("--prompt", choices=("full", "short"), help="our system text (default: student.instructions)")
    parser.add_argument("--no-thinking", action="store_true", help="ask the chat template for replies without reasoning")
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--top-p", type=float, default=1.0)
    parser.add_argument("--max-tokens", type=int, default=4096, help="of one reply, reasoning included")
    parser.add_argument("--in-flight", type=int, default=64, help="requests at a time")
    parser.add_argument("--failed-as-wrong", action="store_true", help="score although tasks got no answer; the card says so")
    parser.add_argument("--out", type=Path, metavar="FOLDER")
    parser.add_argument("--fresh", action="store_true", help="forget what an earlier run has answered")
    parser.add_argument("server_flags", nargs="*", metavar="-- FLAGS", help="for vllm serve")
    return parser.parse_args()


def make_job(args: argparse.Namespace, config: Config) -> Job:
    """What the flags ask for.

    Raises:
        InputError: there is no such checkout or checkpoint.
    """
    if args.acebench is None:
        raise InputError("--acebench: name the folder of a checkout of the benchmark, or set ACEBENCH to it; see "
                         "docs/evaluation_acebench.md")
    checkout = open_checkout(Path(args.acebench).expanduser(), args.any_commit)
    name, subset = f"acebench_{args.language}", bool(args.subset or args.categories)
    if args.model:
        label, model = args.model, str(Path(args.model).resolve()) if Path(args.model).is_dir() else args.model
        out = folder(config.run_dir, name, model=args.model, subset=subset)
    else:
        files = round_files(args, config)
        label, model = f"round {files.round}", student_path(config) if files.round == 0 else str(files.policy)
        out = folder(config.run_dir, name, round=files.round, subset=subset)
    if not Path(model).is_dir() and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", model):
        raise InputError(f"{model}: there is no such checkpoint; run scripts/04_train.sh first, or name one with --model")
    return Job(checkout=checkout, language=args.language, out=args.out or out, label=label, model=model,
               endpoint=args.endpoint, served_name=args.served_name, server_flags=args.server_flags,
               user_model=args.user_model, user_endpoint=args.user_endpoint,
               instructions=args.prompt or config.student.instructions,
               sampling=Sampling(thinking=not args.no_thinking, temperature=args.temperature, top_p=args.top_p,
                                 max_tokens=args.max_tokens),
               categories=args.categories, per_category=args.subset, in_flight=args.in_flight,
               failed_as_wrong=args.failed_as_wrong, fresh=args.fresh)


def base_job(args: argparse.Namespace, config: Config) -> Job:
    """The same for --base."""
    out = args.out.with_name(f"{args.out.name}_base") if args.out else None
    changed = {"model": args.base or None, "round": "0", "out": out, "endpoint": args.base_endpoint, "served_name": ""}
    job = make_job(argparse.Namespace(**vars(args) | changed), config)
    job.label = f"base {args.base or config.student.model}"
    return job


def report(measured: dict[str, dict[Way, Scored]]) -> str:
    """The table, the categories and the card of each model."""
    cards = {label: scored["official"].card for label, scored in measured.items()}
    whole = all(card.scope == "full" and card.benchmark == "ACEBench en" for card in cards.values())
    tallies = {label: {way: tallies_of(one) for way, one in scored.items()} for label, scored in measured.items()}
    scopes = "; ".join(sorted({f"{card.benchmark}, {card.scope}" for card in cards.values()}))
    text = f"{scopes}; percent, with 95% intervals\n{table(tallies, whole)}"
    for label, card in cards.items():
        text += f"\n{label}\n{category_table(tallies[label])}{card_text(card)}"
    if len(cards) == 2 and (others := differences(*cards.values())):
        text += f"\nThe two differ in more than the model: {', '.join(others)}\n"
    return text


def main() -> None:
    args = parse_arguments()
    config = load_config(args.config, args.overrides)
    job = make_job(args, config)
    jobs = [*([base_job(args, config)] if args.base is not None else []), job]
    if len({one.out for one in jobs}) < len(jobs):
        raise InputError(f"--base: is the model that is measured, {job.label}; name another one")
    text = report({one.label: measure(one, config) for one in jobs})
    write_atomic(job.out / "table.txt", [text.encode()])
    sys.stdout.write(text)


if __name__ == "__main__":
    run_main(main)
