"""Probe, verify and expand of one round at the same time: each step follows the one before it.

In and out: as of the three steps, whose files are those of a serial run. Takes --round, --config
and --set.

    python overlap.py --round J

Mismatches are judged as they are found, and errors expanded as they are judged. What needs all of
them waits: the file of error seeds, label changes, the choice of high perplexity. Judge and
generator ask the teacher at the same time, each with teacher.in_flight calls. When a step fails, is
killed or Ctrl-C comes, all end; run again, all go on where they were.
"""
from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

from looptool.command import argument_parser, end_on_sigterm, end_with_parent, run_main
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.models.teacher_server import WORD
from looptool.run_files import round_files

_log = logging.getLogger(__name__)
STEPS = ("greedy_capability_prob.py", "judgement_label_verification.py", "error_data_expansion.py")
LOOK_SECONDS = 0.1


def start(flags: list[str]) -> list[subprocess.Popen[bytes]]:
    """The three steps, each with a progress bar in a line of its own."""
    processes: list[subprocess.Popen[bytes]] = []
    for line, step in enumerate(STEPS):
        follow = ["--follow", str(processes[-1].pid)] if processes else []
        command = [sys.executable, str(Path(__file__).parents[1] / step), *flags, *follow]
        # tqdm reads its `position` there
        env = {**os.environ, "TQDM_POSITION": str(line)}
        processes.append(subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL,
                                          preexec_fn=end_with_parent))
    return processes


def wait(processes: list[subprocess.Popen[bytes]]) -> None:
    """Wait for all of them; one that fails, or an interruption here, ends the others.

    Raises:
        InputError: one has failed, for a reason that it has told.
    """
    try:
        # the last one ends when those that it follows have ended
        while (failed := first_failed(processes)) is None and processes[-1].returncode is None:
            time.sleep(LOOK_SECONDS)
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
    if failed is not None:
        raise InputError(f"overlap: {failed}, so the others were stopped; run the same again, and "
                         "all go on from there")


def first_failed(processes: list[subprocess.Popen[bytes]]) -> str | None:
    """The first of the steps that has ended with an error, in words."""
    for step, process in zip(STEPS, processes, strict=True):
        if process.poll():
            return f"{step} has ended with code {process.returncode}"
    return None


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    round = round_files(args, config).round
    if any(url.startswith(WORD) for url in config.teacher.base_urls):
        raise InputError("--overlap: verifying, expanding and probing would each need the GPUs at "
                         "the same time; leave it out, or name a teacher that runs elsewhere in "
                         "teacher.base_urls")
    end_on_sigterm()
    wait(start(["--config", args.config, "--round", str(round), *(
        word for override in args.overrides for word in ("--set", override))]))
    _log.info("overlap: round %d: probed, verified and expanded", round)


if __name__ == "__main__":
    run_main(main)
