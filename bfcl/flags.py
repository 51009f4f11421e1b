"""Which model is measured, and how it is asked: the flags that every benchmark here has, and what
they mean."""
from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import Any

import msgspec

from bfcl.card import NEUTRAL, Sampling, folder
from bfcl.serving.served_model import HUB_NAME
from looptool.command import argument_parser
from looptool.config import Config
from looptool.config_file import student_path
from looptool.errors import InputError
from looptool.run_files import round_files

_log = logging.getLogger(__name__)


class Job(msgspec.Struct, kw_only=True):
    """One model to measure, and how it is asked."""

    label: str
    """Its name in the table."""
    model: str
    """A folder or a hub name."""
    out: Path
    """Where its results lie."""
    prompt: str
    """Whose system text: full, short or a file (bfcl/system_text.py); with BFCL native, too."""
    sampling: Sampling
    categories: list[str]
    """By the benchmark's names; empty for all."""
    per_category: int
    """Entries of each category; 0 for all."""
    endpoint: str
    served_name: str
    server_flags: list[str]
    in_flight: int
    repeats: int
    """Draws of each entry."""
    fresh: bool

    @property
    def begun(self) -> Path:
        """Where its settings stand."""
        return self.out / "settings.json"


def benchmark_parser(doc: str | None, subset: int) -> argparse.ArgumentParser:
    """A parser of all flags but the benchmark's own; `subset` is the size of --subset without a
    number."""
    parser = argument_parser(doc, with_round=True)
    add = parser.add_argument
    add("--model", metavar="DIR_OR_NAME",
        help="any checkpoint or hub model (default: the round's policy; in round 0 the student "
             "before training)")
    add("--base", nargs="?", const="", metavar="DIR_OR_NAME",
        help="measure this model too, by the same command, and print the difference (default: the "
             "student)")
    add("--endpoint", default="", metavar="URL",
        help="a running server, http://HOST:PORT/v1 (default: start vLLM, with the flags that "
             "stand behind --)")
    add("--base-endpoint", default="", metavar="URL", help="the same for --base")
    add("--served-name", default="", help="the model's name there, where it lists several")
    add("--subset", nargs="?", type=int, const=subset, default=0, metavar="N",
        help=f"only N entries of each category, always the same ones (default: {subset})")
    add("--repeats", type=int, default=1, metavar="K",
        help="answer everything K times and show the mean (avg@K) with the spread over the draws")
    add("--no-thinking", action="store_true",
        help="ask the chat template for replies without reasoning")
    add("--temperature", type=float, default=0.001)
    add("--top-p", type=float, default=1.0)
    add("--max-tokens", type=int, default=4096, help="of one reply, reasoning included")
    add("--in-flight", type=int, default=64, help="entries at a time")
    add("--out", type=Path, metavar="FOLDER")
    add("--fresh", action="store_true", help="forget what an earlier run has answered")
    return parser


def parse_words(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """The flags; what stands behind -- is vLLM's, `server_flags`."""
    # cut off before argparse, which has no place for them
    end = words.index("--") if "--" in words else len(words)
    known = argparse.Namespace(server_flags=words[end + 1:], is_base=False)
    args = parser.parse_args(words[:end], known)
    if args.repeats < 1:
        parser.error("--repeats: give 1 or more")
    if args.repeats > 1 and args.temperature < 0.1:
        _log.warning("--repeats %d at temperature %g shows little but the server's own spread; "
                     "--temperature 0.6, or what the model's card says, shows the model's",
                     args.repeats, args.temperature)
    return args


def asked(args: argparse.Namespace, config: Config, benchmark: str) -> dict[str, Any]:
    """The fields of a Job: of the model that --model names, else of the policy of the round;
    `benchmark` as bfcl.card.folder takes it.

    Raises:
        InputError: there is no such checkpoint.
    """
    subset = bool(args.subset or args.categories)
    if args.model:
        label, model = (args.model, str(Path(args.model).resolve()) if Path(args.model).is_dir()
                        else args.model)
        out = folder(config.run_dir, benchmark, model=args.model, subset=subset)
    else:
        files = round_files(args, config)
        label, model = (f"round {files.round}", student_path(config) if files.round == 0
                        else str(files.policy))
        out = folder(config.run_dir, benchmark, round=files.round, subset=subset)
    if not Path(model).is_dir() and not HUB_NAME.fullmatch(model):
        raise InputError(f"{model}: there is no such checkpoint; run scripts/04_train.sh first, or "
                         "name one by --model")
    if args.is_base:
        label = f"base {args.model or config.student.model}"
    return {"label": label, "model": model, "out": args.out or out,
            "prompt": args.prompt or config.student.instructions,
            "sampling": Sampling(thinking=not args.no_thinking, temperature=args.temperature,
                                 top_p=args.top_p, max_tokens=args.max_tokens, others=NEUTRAL),
            "categories": args.categories, "per_category": args.subset, "endpoint": args.endpoint,
            "served_name": args.served_name, "server_flags": args.server_flags,
            "in_flight": args.in_flight, "repeats": args.repeats, "fresh": args.fresh}


def for_base(args: argparse.Namespace) -> argparse.Namespace:
    """The same flags for the model that --base names, else for the student before training; --out
    is not for it."""
    return argparse.Namespace(**vars(args) | {"model": args.base or None, "round": "0", "out": None,
                                              "endpoint": args.base_endpoint, "served_name": "",
                                              "is_base": True})


def refuse_own_base(label: str, out: Path, base: Path) -> None:
    """A model is not held against itself.

    Raises:
        InputError: --base is the model that is measured: their results lie in one folder.
    """
    if out.resolve() == base.resolve():
        raise InputError(f"--base: is the model that is measured, {label}; name another one")
