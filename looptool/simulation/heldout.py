"""Write the held-out tasks of the SIMULATED world: other tools, other phrasings and other values
than in training.

In: the config. simulation.heldout_tasks says how many; the seed is 0 whatever the run's is, so that
all runs meet the same tasks; simulation.heldout_tools takes the place of the built-in held-out
catalogue. Out: run_dir/heldout.jsonl, Sample records whose labels are the truth.

    python -m looptool.simulation.heldout [--config FILE]
"""
from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from contextlib import suppress

from looptool.command import argument_parser, run_main
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.ids import sample_id
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Message, Sample, Tool
from looptool.run_files import RunFiles
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.tasks import KINDS, Task, Unspeakable, draw_task, draw_tools

log = logging.getLogger(__name__)
OF_TWO = ("parallel", "first_step", "second_step", "alike")
"""Kinds of tasks over two tools."""
FRUITLESS = 1000
"""Draws of tools, all in vain, after which a kind of task is given up."""


def heldout_samples(count: int, pool: Sequence[Tool] = ()) -> Iterator[Sample]:
    """Tasks over one or two tools, the kinds in turn, so that each has the same number.

    A kind that tools of a list do not allow, such as tasks over like tools, is left out.

    Args:
        pool: the built-in held-out catalogue if empty.

    Raises:
        InputError: none of the kinds can be said about the tools.
    """
    pool, kinds = pool or catalogue("heldout"), list(KINDS)
    made = 0
    while made < count:
        kind = kinds[made % len(kinds)]
        rng = random.Random(f"heldout:{made}")
        drawn = _draw(rng, kind, pool)
        if drawn is None:
            kinds.remove(kind)
            if not kinds:
                raise InputError(f"simulation.heldout_tools: no task can be said about "
                                 f"{pool[0].name!r} and others; give other tools")
            continue
        made += 1
        tools, task = drawn
        date = f"{rng.randint(2020, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        label = Message(role="assistant", calls=list(task.truth.calls),
                        content="" if task.truth.calls else kind)
        yield Sample(id=sample_id(tools, date, task.messages, label), tools=tools, date=date,
                     messages=task.messages, label=label, source=f"simulation:{kind}")


def _draw(rng: random.Random, kind: str,
          pool: Sequence[Tool]) -> tuple[list[Tool], Task] | None:
    """Tools that allow a task of this kind, and the task; most draws of tools have no siblings and
    no objects."""
    for _ in range(FRUITLESS):
        several = 2 if kind in OF_TWO else rng.randint(1, 2)
        tools = draw_tools(rng, pool, min(several, len(pool)))
        with suppress(Unspeakable):
            return tools, draw_task(rng, tools, "heldout", kind)
    return None


def main() -> None:
    # the tasks are the same in every round
    args = argument_parser(__doc__, with_round=True).parse_args()
    config = load_config(args.config, args.overrides)
    path = RunFiles(config).heldout
    if "simulated" not in config.teacher.base_urls:
        log.info("heldout: the teacher is not simulated; put held-out tasks of your own at %s",
                 path)
        return
    named = config.simulation.heldout_tools
    pool = list(read_jsonl(ROOT / named, Tool)) if named else []
    known = path.exists()  # the tasks are looked at before every policy is measured
    count = write_jsonl(path, heldout_samples(config.simulation.heldout_tasks, pool))
    log.log(logging.DEBUG if known else logging.INFO, "heldout: %d simulated tasks -> %s", count,
            path)


if __name__ == "__main__":
    run_main(main)
