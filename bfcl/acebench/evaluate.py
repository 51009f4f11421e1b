"""ACEBench of one model: its tasks and its own scorer from a checkout, our prompt, a protocol card
beside the score.

In: a checkout of the benchmark (--acebench, pinned in checkout.py), and a checkpoint of a round
(--round), or any folder or hub model (--model), behind vLLM, which is started for it, or behind a
running server (--endpoint). The user of the 30 agent_multi_turn tasks is played by any model behind
any OpenAI-compatible server (--user-model, --user-endpoint). Without one they are left out, and
with them the figures that they are part of.

Out, in the folder that bfcl/card.py names: `*_answers.jsonl`, the scorer's own files in `official/`
and `corrected/` (what is corrected says scoring.py), `card.json` and `card.txt` of the official
score, `corrected/card.json`, and `table.txt`, which is printed.

    bash scripts/10_evaluate_acebench.sh --acebench FOLDER --config configs/qwen3_8b.yaml --round 2
        --base \\ --user-model Qwen3-32B --user-endpoint http://localhost:8000/v1

Killed and run again it goes on where it was; tasks that got no answer are asked again.
"""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import get_args

from bfcl.acebench.checkout import CATEGORIES, COMMIT, Language, open_checkout
from bfcl.acebench.figures import category_table, table
from bfcl.acebench.measuring import Job, measure
from bfcl.acebench.scorer_process import KEEPS, STRIPS
from bfcl.acebench.scoring import Way
from bfcl.card import Scored, card_text, differences
from bfcl.flags import (
    asked, benchmark_parser, for_base, parse_words, refuse_own_base)
from bfcl.official.scores import draws_note, draws_of, tallies_of
from looptool.command import end_on_sigterm, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.json_lines import write_atomic


def parse_arguments(words: list[str]) -> argparse.Namespace:
    parser = benchmark_parser(__doc__, subset=10)
    add = parser.add_argument
    add("--acebench", type=Path, default=os.environ.get("ACEBENCH"), metavar="FOLDER",
        help="checkout of the benchmark (default: $ACEBENCH)")
    add("--any-commit", action="store_true",
        help="take another commit than the pinned one, or an edited one")
    add("--language", choices=get_args(Language), default="en")
    add("--categories", nargs="+", choices=CATEGORIES, default=[], metavar="CATEGORY",
        help="only these")
    add("--prompt", metavar="full|short|FILE",
        help="whose system text: ours, or a file's with {{tools}} (default: student.instructions)")
    add("--user-model", default="", metavar="NAME", help="plays the user of agent_multi_turn")
    add("--user-endpoint", default="", metavar="URL", help="where (default: $OPENAI_BASE_URL)")
    add("--failed-as-wrong", action="store_true",
        help="score although tasks got no answer; the card says so")
    parser.set_defaults(temperature=0.0)  # as the benchmark asks local models
    return parse_words(parser, words)


def make_job(args: argparse.Namespace, config: Config) -> Job:
    """What the flags ask for.

    Raises:
        InputError: there is no such checkout or checkpoint.
    """
    if args.acebench is None:
        raise InputError("--acebench: name the folder of a checkout of the benchmark, or set "
                         "ACEBENCH to it; see docs/evaluation_acebench.md")
    user_endpoint = args.user_endpoint or os.environ.get("OPENAI_BASE_URL", "")
    if args.user_model and not user_endpoint:
        raise InputError(
            "--user-model: name its server too, with --user-endpoint or OPENAI_BASE_URL")
    checkout = open_checkout(Path(args.acebench).expanduser(), args.any_commit)
    return Job(checkout=checkout, language=args.language, user_model=args.user_model,
               user_endpoint=user_endpoint, failed_as_wrong=args.failed_as_wrong,
               **asked(args, config, f"acebench_{args.language}"))


def report(measured: dict[str, dict[Way, Scored]]) -> str:
    """The table, the categories and the card of each model."""
    cards = {label: scored["official"].card for label, scored in measured.items()}
    whole = all((card.benchmark, card.commit, card.scope) == ("ACEBench en", COMMIT, "full")
                for card in cards.values())
    tallies = {label: {way: tallies_of(one) for way, one in scored.items()}
               for label, scored in measured.items()}
    draws = {label: {way: draws_of(one) for way, one in scored.items() if one.draws}
             for label, scored in measured.items()}
    scopes = "; ".join(sorted({f"{card.benchmark}, {card.scope}" for card in cards.values()}))
    text = (f"{scopes}; percent, with 95% intervals{draws_note(cards.values())}\n"
            f"{table(tallies, whole, draws)}\n"
            f"official: the checkout's eval_main.py as it is; corrected: with\n    {STRIPS}\n"
            f"as\n    {KEEPS}\n")
    for label, card in cards.items():
        text += f"\n{label}\n{category_table(tallies[label], card.draws)}{card_text(card)}"
    if len(cards) == 2 and (others := differences(*cards.values())):
        text += f"\nThe two differ in more than the model: {', '.join(others)}\n"
    return text


def main() -> None:
    end_on_sigterm()
    args = parse_arguments(sys.argv[1:])
    config = load_config(args.config, args.overrides)
    job = make_job(args, config)
    jobs = [job]
    if args.base is not None:
        jobs.insert(0, make_job(for_base(args), config))
        refuse_own_base(job.label, job.out, jobs[0].out)
    text = report({one.label: measure(one, config) for one in jobs})
    write_atomic(job.out / "table.txt", [text.encode()])
    sys.stdout.write(text)


if __name__ == "__main__":
    run_main(main)
