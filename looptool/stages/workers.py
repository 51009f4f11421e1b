"""The workers of one stage in one process: they take inputs, keep so many in flight, count, and
write the journal."""
from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from array import array
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec

from looptool.errors import StageFailed
from looptool.models.completion import CallFailed, Usage
from looptool.stages.journal import Entry, Journal
from looptool.terminal import progress

R = TypeVar("R")


class Outcome(msgspec.Struct):
    """What became of one input."""

    records: list[Any]
    """Go to the output, in this order; may be empty."""
    reason: str
    """One of the stage's few words for what happened; counted."""


class Pipeline(ABC):
    """Works on many inputs at once, in its own order, such as a cluster's; stands in place of a
    stage's coroutine."""

    @abstractmethod
    def outcomes(self,
                 inputs: AsyncIterator[tuple[str, Any]]) -> AsyncIterator[tuple[str, Outcome]]:
        """What became of each input, by its id, as it comes."""


class Run:
    """One process at work: takes inputs, counts, and writes the journal."""

    def __init__(self, name: str, journal: Journal, usage: Mapping[str, Usage], in_flight: int):
        self.order = array("Q")
        """Fingerprints of the inputs, 8 bytes each."""
        self.failures: Counter[str] = Counter()
        self.first_failure = ""
        self._name, self._journal, self._usage, self._in_flight = name, journal, usage, in_flight
        self._seen: dict[str, dict[str, int | float]] = msgspec.to_builtins(dict(usage))
        self._last = time.monotonic()
        self._failed_in_a_row = self._at_work = 0

    async def work_on(self, inputs: AsyncIterator[tuple[str, R]],
                      work: Callable[[R], Awaitable[Outcome]] | Pipeline,
                      total: int | None = None) -> None:
        """Work on every input that is not finished; they may be long in coming."""
        todo = ((id, record) async for id, record in inputs if id not in self._journal)
        # an async generator cannot be asked by two at once
        one_takes = asyncio.Lock()
        with progress(self._name, total, len(self._journal)) as bar:
            if isinstance(work, Pipeline):
                async for id, outcome in work.outcomes(todo):
                    self._finish(id, outcome)
                    bar.update()
                return

            async def worker() -> None:
                while True:
                    async with one_takes:
                        taken = await anext(todo, None)
                    if taken is None:
                        return
                    id, record = taken
                    if not self._at_work:  # the time before was spent waiting for an input
                        self._last = time.monotonic()
                    self._at_work += 1
                    try:
                        outcome = await work(record)
                    except CallFailed as error:
                        self._fail(id, error)
                        bar.set_postfix(failed=sum(self.failures.values()), refresh=False)
                    else:
                        self._finish(id, outcome)
                    self._at_work -= 1
                    bar.update()

            await _all_or_first_error(
                [asyncio.create_task(worker()) for _ in range(self._in_flight)])

    def since_last(self) -> tuple[dict[str, dict[str, int | float]], float]:
        """What was used, and the seconds that passed, since this was last asked."""
        now = time.monotonic()
        used: dict[str, dict[str, int | float]] = {}
        for role, account in self._usage.items():
            fields = msgspec.to_builtins(account)
            before = self._seen.get(role, {})
            if fields != before:
                used[role] = {key: value - before.get(key, 0) for key, value in fields.items()
                              if value != before.get(key, 0)}
                self._seen[role] = fields
        seconds, self._last = now - self._last, now
        return used, seconds

    def _finish(self, id: str, outcome: Outcome) -> None:
        used, seconds = self.since_last()
        self._journal.append(Entry(id=id, reason=outcome.reason, usage=used, seconds=seconds,
                                   records=[msgspec.Raw(msgspec.json.encode(record))
                                            for record in outcome.records]))
        self._failed_in_a_row = 0

    def _fail(self, id: str, error: CallFailed) -> None:
        cause = str(error)
        # causes that name a time or an id would fill the .meta.json
        self.failures[cause if cause in self.failures or len(self.failures) < 20 else "other"] += 1
        self.first_failure = self.first_failure or f"{id}: {cause}"
        self._failed_in_a_row += 1
        if self._failed_in_a_row >= max(100, 2 * self._in_flight):
            raise StageFailed(f"{self._failed_in_a_row} inputs in a row failed, so the stage "
                              "stopped; run it again when the endpoint answers. The first: "
                              f"{self.first_failure}")


async def _all_or_first_error(tasks: list[asyncio.Task[None]]) -> None:
    """Wait for all; one that fails, or a cancellation, ends the others."""
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
