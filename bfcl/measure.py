"""Measure one model: ask for every entry, score, write the card.

bfcl-eval keeps to one folder in a process, so a second model is measured in a second process:
`python -m bfcl.measure` with a Job as JSON on stdin.
"""
from __future__ import annotations

import contextlib
import logging
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from bfcl.card import (
    Card, Errors, Scored, environment, hash_files, read_card, today, write_card)
from bfcl.flags import Job
from bfcl.launch import COMMITS, Launch, installed_files, installed_version
from bfcl.official.results import WHERE, check_results, remove_failures
from bfcl.official.scores import figures, mean_tallies, read_refused, read_tallies
from bfcl.official.wrong_truths import sound_tallies
from bfcl.resume import BETWEEN, Settings, go_on, model_settings, once_served
from bfcl.serving.ask import Asker, ServerGone
from bfcl.serving.served_model import Served
from bfcl.serving.server import server
from bfcl.subset import chosen, scope
from looptool.command import end_on_sigterm, run_main
from looptool.config_file import ROOT
from looptool.errors import InputError

_log = logging.getLogger(__name__)
HANDLER = [*BETWEEN, *(ROOT / name for name in (
    "bfcl/qwentool.py", "bfcl/launch.py", "looptool/foreign/conversations.py"))]
"""Our files between the benchmark and the model."""


def measure(job: Job) -> Scored:
    """The scores of a job; what is done already is not done again.

    Raises:
        InputError: other settings than before, no server, or entries that failed.
    """
    launch = Launch(job.out)
    ids = {category: chosen(launch.entry_ids(category), job.per_category)
           for category in job.categories or launch.categories()}
    settings = _begin(job, model_settings(job.model, job.server_flags) | {
        "version": installed_version(), "prompt": launch.handler.prompt_id(job.prompt),
        "handler": hash_files(HANDLER), "sampling": msgspec.to_builtins(job.sampling),
        "scope": scope(job.categories, job.per_category)})
    if (job.out / "card.json").exists() and read_card(job.out).card.draws >= job.repeats:
        _log.info("bfcl: %s holds this score already", job.out)
        return read_card(job.out)
    draws = range(1, job.repeats + 1)
    before = sum(remove_failures(launch.results(draw), ids) for draw in draws)
    wanted = len(draws) * sum(map(len, ids.values()))
    _log.info("bfcl: %s: %s of %s entries are answered", job.label, f"{before:,}", f"{wanted:,}")
    with server(job.model, job.endpoint, job.served_name, job.server_flags,
                job.out / "server.log") as served:
        settings = once_served(job.begun, "bfcl", settings, served.context)
        ask = Asker(served.url, served.name, job.sampling)
        with _ended_by_signals(ask, served):
            if job.prompt == "native":
                ask.refuse_hidden_tools()
            for draw in draws:
                ask.draw = draw
                launch.generate(ask, job.prompt, ids, job.in_flight, draw)
    counts = sum((check_results(launch.results(draw), ids) for draw in draws), Counter())
    for draw in draws:
        launch.evaluate(ids, draw)
    scored = _score(launch, job, settings, served, Errors(counts=dict(counts), where=WHERE), ids)
    write_card(job.out, scored)
    return scored


def _begin(job: Job, settings: Settings) -> Settings:
    """Make the folder ready; see bfcl.resume.go_on."""
    if job.fresh:
        for path in (job.begun, job.out / "card.json"):
            path.unlink(missing_ok=True)
        for path in (job.out / "result", job.out / "score", *job.out.glob("draw_*")):
            shutil.rmtree(path, ignore_errors=True)
    return go_on(job.begun, "bfcl", settings)


@contextlib.contextmanager
def _ended_by_signals(ask: Asker, served: Served) -> Iterator[None]:
    """Asking, which Ctrl-C and SIGTERM end at once, before they do what they always do.

    Without this, bfcl-eval's threads would first go through all that is left.

    Raises:
        InputError: the server is gone.
    """
    signs: list[int] = []

    def stop(sign: int, _: object) -> None:
        signs.append(sign)
        ask.stop("interrupted; run this again, it goes on where it was")
        # so that requests under way end, too
        served.end()

    before = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    for sign, handler in before.items():
        if handler is not signal.SIG_IGN:  # a background job: the Ctrl-C is meant for others
            signal.signal(sign, stop)
    try:
        yield
    except ServerGone as error:
        if not signs:
            raise InputError(str(error)) from None
        _log.error("%s", error)
    finally:
        for sign, handler in before.items():
            signal.signal(sign, handler)
    if signs:
        signal.raise_signal(signs[0])


def _score(launch: Launch, job: Job, settings: Settings, served: Served, errors: Errors,
           ids: Mapping[str, Sequence[str]]) -> Scored:
    draws = [launch.scores(draw) for draw in range(1, job.repeats + 1)]
    each = [read_tallies(folder) for folder in draws]
    tallies = mean_tallies(each)
    card = Card(
        benchmark=f"BFCL {launch.version}", version=f"bfcl-eval {settings['version']}",
        commit=COMMITS[settings["version"]], content=hash_files(installed_files()),
        handler=settings["handler"], prompt=settings["prompt"], model=job.model,
        revision=settings["revision"], server=served.server, served_as=served.shown_as(job.model),
        sampling=job.sampling, context_length=served.context, errors=errors,
        scope=settings["scope"],
        counts={category: tally.total for category, tally in tallies.items()},
        environment=environment("bfcl-eval", "numpy", "mpmath", "tree-sitter", "looptool"),
        date=today(), draws=job.repeats)
    correct = [{category: tally.correct for category, tally in one.items()} for one in each]
    refused = [read_refused(folder) for folder in draws]
    sound = sound_tallies(refused, ids) if launch.version == "v3" else {}
    return Scored(card=card, scores=figures(card.benchmark, tallies), correct=correct[0],
                  draws=correct if len(each) > 1 else [],
                  sound={category: (kept.correct, kept.total) for category, kept in sound.items()})


def main() -> None:
    end_on_sigterm()
    measure(msgspec.json.decode(sys.stdin.buffer.read(), type=Job,
                                dec_hook=lambda kind, value: kind(value)))


if __name__ == "__main__":
    run_main(main)
