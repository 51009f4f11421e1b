"""Write the held-out tasks of the SIMULATED world: other tools, other phrasings and other values than in training.

in   config (simulation.heldout_tasks, seed 0 whatever the run's seed, so that all runs meet the same tasks)
out  <run_dir>/heldout.jsonl, Sample records whose labels are the truth

    python -m looptool.simulation.heldout [--config FILE]
"""
from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from contextlib import suppress

from looptool.config import argument_parser, load_config
from looptool.records import Message, Sample, Tool, sample_id, write_jsonl
from looptool.run_files import RunFiles
from looptool.simulation.catalogue import catalogue
from looptool.simulation.tasks import KINDS, Task, Unspeakable, draw_task, draw_tools
from looptool.stage import run_main

log = logging.getLogger(__name__)
OF_TWO = ("parallel", "first_step", "second_step", "alike")
"""Kinds of tasks over two tools."""


def heldout_samples(count: int) -> Iterator[Sample]:
    """Tasks over one or two tools of the held-out catalogue, the kinds in turn, so that each has the same number."""
    for index in range(count):
        kind = list(KINDS)[index % len(KINDS)]
        rng = random.Random(f"heldout:{index}")
        tools, task = _draw(rng, kind)
        date = f"{rng.randint(2020, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        label = Message(role="assistant", calls=list(task.truth.calls), content="" if task.truth.calls else kind)
        yield Sample(id=sample_id(tools, date, task.messages, label), tools=tools, date=date, messages=task.messages,
                     label=label, source=f"simulation:{kind}")


def _draw(rng: random.Random, kind: str) -> tuple[list[Tool], Task]:
    """Tools that allow a task of this kind, and the task; most draws of tools have no siblings and no objects."""
    while True:
        tools = draw_tools(rng, catalogue("heldout"), 2 if kind in OF_TWO else rng.randint(1, 2))
        with suppress(Unspeakable):
            return tools, draw_task(rng, tools, "heldout", kind)


def main() -> None:
    args = argument_parser(__doc__, with_round=True).parse_args()  # the tasks are the same in every round
    config = load_config(args.config, args.overrides)
    path = RunFiles(config).heldout
    if "simulated" not in config.teacher.base_urls:
        log.info("heldout: the teacher is not simulated; put held-out tasks of your own at %s", path)
        return
    count = write_jsonl(path, heldout_samples(config.simulation.heldout_tasks))
    log.info("heldout: %d simulated tasks -> %s", count, path)


if __name__ == "__main__":
    run_main(main)
