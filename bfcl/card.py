"""The protocol card: under what conditions a score was measured. No score is printed or stored
without one.

Where results lie, for every benchmark (`folder`): `<run_dir>/round_J/<benchmark>/` for a round's
policy, round 0 being the model before any training (what --base measures);
`<run_dir>/<benchmark>/<model>/` for any other model; a subset has `<benchmark>_subset` in the place
of `<benchmark>`, so that it never stands for the whole; --out FOLDER stands over all. <benchmark>
is bfcl_v3, bfcl_v4, acebench_en or acebench_zh. In the folder: `card.json` (the record below with
its scores), `card.txt` (the same to read), and whatever the benchmark itself writes.
"""
from __future__ import annotations

import hashlib
import os
import platform
import re
import time
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from looptool.errors import InputError
from looptool.json_lines import write_atomic, write_json
from looptool.records import Record

CHECKPOINT_FILES = ("*.safetensors", "*.bin", "*.json", "*.jinja", "*.txt", "*.model")
"""Files of a local checkpoint that decide what it answers."""
UNKNOWN = "not known here: the server has it"
"""The revision of a hub model that is not in the local cache."""


class Errors(Record, kw_only=True):
    """Answers that were not scored as the model gave them."""

    counts: dict[str, int] = {}
    """Entries by kind; empty is what a score should have."""
    where: str
    """Where they count, in a sentence: in the denominator as wrong, or left out."""


class Sampling(Record, kw_only=True):
    """How replies were drawn."""

    thinking: bool
    temperature: float
    top_p: float
    max_tokens: int
    """Of one reply, reasoning included."""
    others: dict[str, int | float] = {}
    """What else the request said, by vLLM's names; empty on cards whose requests left it to the
    server."""


NEUTRAL = {"top_k": -1, "min_p": 0, "repetition_penalty": 1, "presence_penalty": 0,
           "frequency_penalty": 0}
"""`Sampling.others` that change nothing: what a request leaves out, vLLM takes from the model's
generation_config.json. For no top_k old and new versions of it take -1, old ones no 0."""


class Card(Record, kw_only=True):
    """Everything that moves a score beside the model."""

    benchmark: str
    """For people: "BFCL v3", "ACEBench en"."""
    version: str
    """Package and version, or repository and commit."""
    commit: str
    """Commit of the benchmark's repository."""
    content: str = ""
    """Hash of the benchmark's installed files: its data and its scorer as they were used."""
    handler: str
    """Hash of our files between the benchmark and the model."""
    prompt: str
    """Name and hash of the prompt: the same task, rendered."""
    model: str
    revision: str
    """Commit of a hub model, hash of the files of a local one."""
    server: str
    """What served it, with its version where it tells, and the flags that we have started it
    with."""
    served_as: str = ""
    """What the server calls the model, where that is another name or folder."""
    sampling: Sampling
    context_length: int
    """Tokens of prompt and reply that the server takes; 0 where it does not tell."""
    errors: Errors
    scope: str
    """"full", or what was left out."""
    counts: dict[str, int]
    """Entries scored, by category."""
    environment: dict[str, str]
    """Python, platform, and the packages that matter."""
    date: str
    """Day of the last answer, UTC."""
    draws: int = 1
    """How often each entry was answered; errors are counted over all draws."""
    notes: list[str] = []
    """What else a reader must know, such as the model that played the user."""


class Scored(Record, kw_only=True):
    """A card.json: scores and their card, never apart."""

    card: Card
    scores: dict[str, float]
    """Percent, by the benchmark's own name of each figure."""
    correct: dict[str, int] = {}
    """Entries right in the first draw, by category of `card.counts`, where the benchmark scores
    entries as right or wrong."""
    draws: list[dict[str, int]] = []
    """The same of each draw where there are several; `scores` are then their means."""
    sound: dict[str, tuple[float, int]] = {}
    """Entries right (mean of the draws) and all, by category, without those whose truth is known to
    be wrong; see bfcl/official/wrong_truths.py. Never the official score."""


def folder(run_dir: Path | str, benchmark: str, *, round: int | None = None, model: str = "",
           subset: bool = False) -> Path:
    """Where the results of a round's policy, or else of `model`, lie; see the module's
    docstring."""
    name = f"{benchmark}_subset" if subset else benchmark
    if round is not None:
        return Path(run_dir) / f"round_{round}" / name
    return Path(run_dir) / name / model.strip("/").replace("/", "--")


def draw_folder(folder: Path, draw: int) -> Path:
    """Where a draw lies, counted from 1: the first one in the folder of the results itself."""
    return folder if draw == 1 else folder / f"draw_{draw}"


def write_card(folder: Path, scored: Scored) -> None:
    """card.json and card.txt."""
    write_json(folder / "card.json", scored)
    write_atomic(folder / "card.txt", [card_text(scored.card).encode()])


def read_card(folder: Path) -> Scored:
    """The scores that lie in a folder, with their card.

    Raises:
        InputError: there are none.
    """
    path = folder / "card.json"
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scored)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); run the evaluation first") from None
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: no card ({error}); run the evaluation again") from None


def card_text(card: Card) -> str:
    """The card as it is printed under every score."""
    sampling = card.sampling
    content = f", files {card.content}" if card.content else ""
    categories = ", ".join(f"{name} {count:,}" for name, count in card.counts.items())
    failed = (", ".join(f"{count:,} {kind}" for kind, count in sorted(card.errors.counts.items()))
              or "none")
    others = "".join(f", {name} {value:g}" for name, value in sampling.others.items())
    lines = {
        "benchmark": f"{card.benchmark}: {card.version}, commit {card.commit}{content}",
        "model": f"{card.model}, revision {card.revision}",
        "served by": f"{card.server}{f' as {card.served_as}' if card.served_as else ''}, context "
                     f"{card.context_length or 'not told'}",
        "sampling": f"thinking {'on' if sampling.thinking else 'off'}, temperature "
                    f"{sampling.temperature:g}, top_p {sampling.top_p:g}{others}, at most "
                    f"{sampling.max_tokens:,} tokens a "
                    f"reply{f', {card.draws} draws of each' * (card.draws > 1)}",
        "prompt": f"{card.prompt}; handler {card.handler}",
        "scope": f"{card.scope}: {sum(card.counts.values()):,} entries ({categories})",
        "errors": f"{failed}{f' in {card.draws} draws' * (card.draws > 1)}; {card.errors.where}",
        "environment": ", ".join(f"{name} {value}" for name, value in card.environment.items()),
        "date": card.date,
    }
    notes = [("note", note) for note in card.notes]
    return "".join(f"  {name:<12} {text}\n" for name, text in [*lines.items(), *notes])


OF_THE_MODEL = ("model", "revision", "served_as", "errors", "date")
"""Fields of a card in which two models may differ."""


def differences(one: Card, other: Card) -> list[str]:
    """The fields beside the model in which two cards differ: scores with any are not compared
    without a word.

    Of the environment the packages count; the machine, which differs from day to day, does not.
    """
    machine = {"python": "", "platform": ""}
    ours, theirs = (msgspec.structs.asdict(card) | {"environment": card.environment | machine}
                    for card in (one, other))
    return [name for name in ours if name not in OF_THE_MODEL and ours[name] != theirs[name]]


def today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def environment(*packages: str) -> dict[str, str]:
    """Python, platform, and the versions of those packages that are installed."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def hash_text(text: str) -> str:
    """16 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def hash_files(paths: Iterable[Path]) -> str:
    """16 hex digits of the names and contents of files, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(paths, key=lambda path: path.name):
        each = hashlib.sha256()
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                each.update(block)
        total.update(f"{path.name}\0{each.hexdigest()}\n".encode())
    return total.hexdigest()[:16]


def model_revision(model: str, wanted: str = "") -> str:
    """What pins a model: a hash of the files of a local checkpoint, or the commit of a hub model in
    the local cache.

    Args:
        wanted: branch, tag or commit of a hub model; by default main.
    """
    if Path(model).is_dir():
        files = {file for pattern in CHECKPOINT_FILES for file in Path(model).glob(pattern)}
        return f"files {hash_files(files)}"
    home = os.environ.get("HF_HOME", Path.home() / ".cache" / "huggingface")
    cache = Path(os.environ.get("HF_HUB_CACHE", Path(home) / "hub"))
    # where huggingface_hub keeps the commit that a branch stood for at the download
    reference = cache / f"models--{model.replace('/', '--')}" / "refs" / (wanted or "main")
    if reference.is_file():
        return f"commit {reference.read_text().strip()}"
    return f"commit {wanted}" if re.fullmatch("[0-9a-f]{7,40}", wanted) else UNKNOWN
