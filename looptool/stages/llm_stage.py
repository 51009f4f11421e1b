"""What makes each LLM stage resumable, bounded, visible and explainable.

In: (id, record) pairs and a coroutine that works on one record. Out: `<output>` with the records of
all finished inputs in the order of the inputs, and `<output>.meta.json` with what they were made
from and what they cost.

While a stage runs, each finished input is a line of `<output>.journal`. A run that was killed goes
on from there; an input whose call failed has no line, so it is tried again by the next run, and
until then it has no record; once a later output was made from what is there, it stays out. The same
run under other settings or on other sources is refused with the difference. A stage can work ahead
while the one before it still runs: looptool/stages/follow.py.
"""
from __future__ import annotations

import glob
import logging
from array import array
from collections import Counter, defaultdict
from collections.abc import (
    AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence)
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from looptool.errors import InputError, StageFailed
from looptool.fingerprints import IdSet, fingerprint
from looptool.json_lines import encode_line, write_atomic
from looptool.models.completion import Usage
from looptool.stages.follow import Follow
from looptool.stages.journal import Journal, is_made_from_whole, journal_path
from looptool.stages.meta import (
    Header, StageMeta, cost_of_a_record, make_header, meta_path, read_meta, refuse_changes,
    write_meta)
from looptool.stages.workers import Outcome, Pipeline, Run

_log = logging.getLogger(__name__)
R = TypeVar("R")


class Inputs:
    """Inputs that are not held in memory, and can be read more than once."""

    def __init__(self, read: Callable[[], Iterable[tuple[str, Any]]]):
        self._read = read

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return iter(self._read())


async def run_stage(name: str, inputs: Sequence[tuple[str, R]] | Inputs,
                    work: Callable[[R], Awaitable[Outcome]] | Pipeline, output: Path | str, *,
                    settings: Any, sources: Sequence[Path | str], in_flight: int = 1,
                    usage: Mapping[str, Usage] | None = None, fresh: bool = False,
                    follow: Follow | None = None, later: Sequence[Path] = (),
                    tell: bool = True) -> StageMeta:
    """Work on every input, at most `in_flight` at a time; see the module's docstring.

    Args:
        inputs: (id, record) pairs, a list or `Inputs`: they are first read through, so that a wrong
            record is found before any call, and then again as they are needed.
        work: raises `CallFailed` for an input that got no answer; any other exception ends the
            stage. A Pipeline takes all inputs that are left and is the judge of how many are in
            flight.
        settings: whatever changes the records: a struct or a dict.
        sources: the files that the inputs come from; they are hashed.
        usage: the accounts of the client that `work` uses.
        fresh: forget what an earlier run has written.
        follow: work ahead on what the stage before has finished so far, until it has ended; only
            then are `inputs`, and the source that it writes, read.
        later: outputs that are made from this one. Once one of them is there or begun, another
            content would lead to a refusal there, so inputs that failed stay out.
        tell: log the last line; False where the caller has one of its own.

    Raises:
        InputError: other settings or sources than before, an id twice, a folder that cannot be
            written, or another process at work on the same output.
        StageFailed: every input failed, or very many in a row.
    """
    output, usage = Path(output), {} if usage is None else usage
    if follow is not None:
        header = make_header(name, settings, sources, output, follow.source)
        await _work_ahead(header, follow, work, output, in_flight, usage, fresh, later)
        # what was forgotten is forgotten; the journal is this run's own by now
        fresh = False
    header = make_header(name, settings, sources, output)
    if not fresh and (done := _finished(output, header, later)) is not None:
        return _left(name, output, done, later)
    journal, meta = Journal(journal_path(output)), None
    try:
        _prepare(journal, header, output, fresh)
        assert not isinstance(inputs, Iterator), "inputs are read twice: give a list or Inputs"
        total = _check(inputs, name)
        run = Run(title(name, output), journal, usage, in_flight)
        await run.work_on(_in_order(inputs, run.order), work, total)
        meta = _write(output, header, journal, run)
    finally:  # what is still to be done goes on from the journal
        # a journal without an entry would only refuse other settings
        journal.close(remove=not len(journal) if meta is None else not meta.failed)
    if run.first_failure:
        _log.warning("%s: %d failed, the first: %s; run it again before the next step to try them "
                     "again", name, meta.failed, run.first_failure)
    _log.log(logging.INFO if tell else logging.DEBUG, "%s", meta.line())
    return meta


def title(name: str, output: Path) -> str:
    """What stands before the bar, such as "round 1: probe"."""
    folder = output.parent.name
    return f"{folder.replace('_', ' ')}: {name}" if folder.startswith("round_") else name


async def _work_ahead(header: Header, follow: Follow, work: Callable[[Any], Awaitable[Outcome]],
                      output: Path, in_flight: int, usage: Mapping[str, Usage], fresh: bool,
                      later: Sequence[Path]) -> None:
    """Fill the journal with what can be done already; where the output is complete, only wait."""
    if not fresh and _finished(output, header, later) is not None:
        async for _ in follow.inputs():
            pass
        return
    journal = Journal(journal_path(output))
    try:
        _prepare(journal, header, output, fresh)
        await Run(title(header.stage, output), journal, usage,
                  in_flight).work_on(follow.inputs(), work)
    finally:
        journal.close(remove=not len(journal))


async def _in_order(inputs: Iterable[tuple[str, R]],
                    order: array[int]) -> AsyncIterator[tuple[str, R]]:
    """The inputs, their fingerprints appended to `order`."""
    for id, record in inputs:
        order.append(fingerprint(id))
        yield id, record


def _check(inputs: Iterable[tuple[str, Any]], name: str) -> int:
    """Read all inputs through; returns how many there are."""
    seen, count = IdSet(), 0
    for count, (id, _) in enumerate(inputs, 1):
        if not seen.add(id):
            raise InputError(
                f"{name}: two inputs have the id {id!r}; remove one of them from its source file")
    return count


def _finished(output: Path, header: Header, later: Sequence[Path]) -> StageMeta | None:
    """The .meta.json of an output that needs no further work, or can have none any more; None where
    work is left."""
    meta = read_meta(output)
    if meta is None or not output.exists():
        return None
    refuse_changes(meta, header, output)
    return None if meta.failed and _first_made(later) is None else meta


def _left(name: str, output: Path, done: StageMeta, later: Sequence[Path]) -> StageMeta:
    """Say that an output stays as it is."""
    path = journal_path(output)
    if done.failed:
        _log.info("%s: %s is complete, %d failed earlier stay out, as %s was made from what is "
                  "there (--fresh begins anew)", name, output, done.failed, _first_made(later))
        return done
    if path.exists():  # killed before its last act
        Journal(path).close(remove=True)
    _log.info("%s: %s is complete, nothing to do", name, output)
    return done


def _first_made(later: Sequence[Path]) -> Path | None:
    return next(filter(is_made_from_whole, later), None)


def _prepare(journal: Journal, header: Header, output: Path, fresh: bool) -> None:
    """Bring the folder into a state that this run can go on from."""
    # of a write that was killed
    for litter in output.parent.glob(f".{glob.escape(output.name)}.*"):
        litter.unlink()
    if fresh:
        meta_path(output).unlink(missing_ok=True)
        output.unlink(missing_ok=True)
    elif journal.header is not None:
        return refuse_changes(journal.header, header, output)
    elif output.exists() and read_meta(output) is None:
        raise InputError(f"{output}: exists without its .meta.json, so nobody knows how it was "
                         "made; remove it, or use --fresh to make it anew")
    journal.start(header)


def _write(output: Path, header: Header, journal: Journal, run: Run) -> StageMeta:
    """The output, then its .meta.json."""
    failed = sum(run.failures.values())
    # run.order has what was finished earlier too; with any of it there is something to write
    if failed and failed == len(run.order):
        raise StageFailed(
            f"every input failed ({failed}), so nothing is written. The first: {run.first_failure}")
    counts: Counter[str] = Counter()
    usage: defaultdict[str, Counter[str]] = defaultdict(Counter)
    records = 0
    used, seconds = run.since_last()

    def add(used: dict[str, dict[str, int | float]]) -> None:
        for role, fields in used.items():
            usage[role].update(fields)

    def lines() -> Iterator[bytes]:
        nonlocal records, seconds
        for entry in journal.read(run.order):
            counts[entry.reason] += 1
            records += len(entry.records)
            seconds += entry.seconds
            add(entry.usage)
            yield from (encode_line(record) for record in entry.records)

    add(used)
    write_atomic(output, lines())
    accounts = {role: msgspec.convert({key: round(value, 6) for key, value in fields.items()},
                                      Usage)
                for role, fields in sorted(usage.items())}
    return write_meta(output, header, inputs=len(run.order), counts=counts, records=records,
                      seconds=seconds, failed=failed, failures=dict(run.failures), usage=accounts,
                      cost_of_a_record=cost_of_a_record(accounts, records))
