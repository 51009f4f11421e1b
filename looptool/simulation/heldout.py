"""Write the held-out tasks of the SIMULATED world: other tools, other phrasings and other values than in training.

in   config (simulation.heldout_tasks, seed 0 whatever the run's seed, so that all runs meet the same tasks), and
     simulation.heldout_tools, where the tools are not those of the built-in held-out catalogue
out  <run_dir>/heldout.jsonl, Sample records whose labels are the truth

    python -m looptool.simulation.heldout [--config FILE]
"""
from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence

from looptool.config import ROOT, argument_parser, load_config
from looptool.records import InputError, Message, Sample, Tool, read_jsonl, sample_id, write_jsonl
from looptool.run_files import RunFiles
from looptool.simulation.catalogue import catalogue
from looptool.simulation.tasks import Unspeakable, draw_task, draw_tools
from looptool.stage import run_main

log = logging.getLogger(__name__)
FRUITLESS = 100
"""Draws of tools, all in vain, after which there is no use in going on."""


def heldout_samples(count: int, pool: Sequence[Tool] = ()) -> Iterator[Sample]:
    """Tasks over one or two tools of the pool; a draw of tools beyond this world's language is passed over.

    Args:
        pool: the built-in held-out catalogue if empty.

    Raises:
        InputError: of the first draws none could be spoken of.
    """
    pool = pool or catalogue("heldout")
    drawn = made = 0
    while made < count:
        rng = random.Random(f"heldout:{drawn}")
        drawn += 1
        tools = draw_tools(rng, pool, rng.randint(1, min(2, len(pool))))
        try:
            task = draw_task(rng, tools, "heldout")
        except Unspeakable:
            if drawn - made > FRUITLESS and not made:
                raise InputError(f"simulation.heldout_tools: no task can be said about {tools[0].name!r} and others; give other "
                                 "tools") from None
            continue
        made += 1
        date = f"{rng.randint(2020, 2026)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
        label = Message(role="assistant", calls=list(task.truth.calls), content="" if task.truth.calls else task.kind)
        yield Sample(id=sample_id(tools, date, task.messages, label), tools=tools, date=date, messages=task.messages,
                     label=label, source=f"simulation:{task.kind}")


def main() -> None:
    args = argument_parser(__doc__, with_round=True).parse_args()  # the tasks are the same in every round
    config = load_config(args.config, args.overrides)
    path = RunFiles(config).heldout
    if "simulated" not in config.teacher.base_urls:
        log.info("heldout: the teacher is not simulated; put held-out tasks of your own at %s", path)
        return
    named = config.simulation.heldout_tools
    pool = list(read_jsonl(ROOT / named, Tool)) if named else []
    count = write_jsonl(path, heldout_samples(config.simulation.heldout_tasks, pool))
    log.info("heldout: %d simulated tasks -> %s", count, path)


if __name__ == "__main__":
    run_main(main)
