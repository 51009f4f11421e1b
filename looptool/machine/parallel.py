"""One function over the lines of a large file: on one core, on all cores of a machine, or on a Ray
cluster.

In: a function of what it works with and a Chunk of lines. Out: its results in the order of the
lines, with only a few chunks in memory at a time.
"""
from __future__ import annotations

import argparse
import logging
import os
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from looptool.errors import InputError

Tools = TypeVar("Tools")
Result = TypeVar("Result")
LINES = 500
"""Of a chunk."""
BYTES_A_WORKER = 64_000_000
"""A file is worth one more process for so many: it takes seconds to start."""


class Chunk(NamedTuple):
    """Some lines of a file; the first of them is line `first`."""

    path: Path
    first: int
    lines: list[bytes]


def chunks(path: Path) -> Iterator[Chunk]:
    """A file in chunks.

    Raises:
        InputError: it cannot be read, or is empty.
    """
    first = 1
    try:
        with path.open("rb") as file:
            while lines := list(islice(file, LINES)):
                yield Chunk(path, first, lines)
                first += len(lines)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the step that writes it "
                         "first") from None
    if first == 1:
        raise InputError(f"{path}: is empty; run the step that writes it again")


@dataclass(frozen=True)
class Workers:
    """Where the function runs."""

    count: int = 1
    """Processes of this machine."""
    ray: bool = False
    """Ray Data in their place, on the cluster of $RAY_ADDRESS or one of this machine."""

    @property
    def alone(self) -> bool:
        return self.count == 1 and not self.ray

    def in_order(self, function: Callable[[Tools, Chunk], Result], tools: Tools,
                 path: Path) -> Iterator[Result]:
        """function(tools, chunk) for each chunk of a file; `tools` goes to every process once."""
        if self.ray:
            yield from _on_ray(function, tools, path)
        else:
            yield from _on_cores(self.count, function, tools, chunks(path))


ONE = Workers()
_work: Callable[[Chunk], Any]


def _on_cores(count: int, function: Callable[[Tools, Chunk], Result], tools: Tools,
              parts: Iterator[Chunk]) -> Iterator[Result]:
    with ProcessPoolExecutor(count, get_context("spawn"), _remember, (function, tools)) as pool:
        waiting = deque(pool.submit(_do, part) for part in islice(parts, 2 * count))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(_do, part) for part in islice(parts, 1))
            yield result


def _remember(function: Callable[[Tools, Chunk], Any], tools: Tools) -> None:
    global _work
    _work = partial(function, tools)


def _do(part: Chunk) -> Any:
    return _work(part)


class _Mapper:
    """The function as Ray Data wants it: made once a process, called with a batch of lines; a wrong
    line is a result too."""

    def __init__(self, function: Callable[[Tools, Chunk], Any], tools: Any, path: Path):
        self.function, self.tools, self.path = (function, tools,
                                                path.with_name(f"{path.name} (a chunk of it)"))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        lines = [line.encode() for line in batch["text"]]
        try:
            result: Any = self.function(self.tools, Chunk(self.path, 1, lines))
        except InputError as error:
            result = error
        return {"result": [pickle.dumps(result)]}


def _on_ray(function: Callable[[Tools, Chunk], Result], tools: Tools,
            path: Path) -> Iterator[Result]:
    import ray

    ray.init(address=os.environ.get("RAY_ADDRESS", "local"), log_to_driver=False,
             logging_level=logging.WARNING)
    context = ray.data.DataContext.get_current()
    context.execution_options.preserve_order, context.enable_progress_bars = True, False
    cores = int(ray.cluster_resources()["CPU"])
    lines = ray.data.read_text(str(path), drop_empty_lines=False)
    results = lines.map_batches(_Mapper, fn_constructor_args=(function, tools, path),
                                batch_size=LINES,
                                compute=ray.data.ActorPoolStrategy(min_size=1, max_size=cores))
    try:
        for row in results.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, InputError):
                raise result
            yield result
    finally:
        ray.shutdown()


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The flags --workers and --ray."""
    parser.add_argument("--workers", type=int, default=0, metavar="N",
                        help="processes (default: one for each 64 MB of input, up to the cores)")
    parser.add_argument("--ray", action="store_true",
                        help="spread the work over a Ray cluster ($RAY_ADDRESS)")


def choose_workers(args: argparse.Namespace, source: Path) -> Workers:
    """As the flags say, or by the size of the input."""
    if args.workers < 0:
        raise InputError(f"--workers {args.workers}: give a number of processes, or 0 to choose by "
                         "the size of the input")
    size = source.stat().st_size if source.exists() else 0
    cores = len(os.sched_getaffinity(0))
    return Workers(args.workers or max(1, min(cores, size // BYTES_A_WORKER)), args.ray)
