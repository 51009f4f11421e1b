"""verl as a subprocess: its long output goes to a file, its metrics to training/metrics.jsonl, the
terminal gets a bar.

A line of metrics.jsonl:

    {"step": 3, "data": {"critic/score/mean": 0.45, "timing_s/step": 4.9, ...},
     "reasons": {"match": 58, "wrong_name": 41, ...},
     "groups": {"count": 16, "rewarded": 12, "mixed": 9}}
"""
from __future__ import annotations

import logging
import os
import re
import signal
import subprocess
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from grpotool.groups import Groups, groups, is_whole
from looptool.command import end_with_parent
from looptool.json_lines import write_atomic
from looptool.run_files import RoundFiles
from looptool.terminal import progress

_log = logging.getLogger(__name__)


class Curve(NamedTuple):
    """The figure of a training that says whether it learns."""

    name: str
    key: str
    """verl's."""
    decimals: int = 2


REWARD = Curve("reward", "critic/score/mean")
LOSS = Curve("loss", "train/loss", 3)
LOOK_SECONDS = 0.2
END_SECONDS = 60
"""For verl to end by itself: engines of vLLM that are killed can leave their GPU's memory taken."""
SHOWN_LINES = 25


class VerlFailed(Exception):
    """verl ended with an error. The message holds the end of its output."""


class Metrics:
    """metrics.jsonl, over all runs of one training.

    verl empties its own file at every start, so it is given another one, and the lines of both are
    kept here: those of earlier runs up to the step that this run begins after, then this run's. To
    each line comes how many rollouts of the step earned which reason, from verl's dump of them; of
    the dumps the newest stays. verl logs a step after its checkpoint: a kill between the two leaves
    that one step without a line.
    """

    def __init__(self, files: RoundFiles, done: int, mode: str, curve: Curve = REWARD):
        self.path, self.verls, self.rollouts = (files.training / "metrics.jsonl",
                                                files.verl_metrics, files.rollouts)
        self.mode, self.curve, self.told = mode, curve, done > 0
        # ours last: its lines have the reasons, whose dumps are gone
        kept = {step: line for path in (self.verls, self.path)
                for step, line in read_lines(path) if step <= done}
        self.lines = dict(sorted(kept.items()))
        self.counted = set(self.lines)
        write_atomic(self.path, self.lines.values())
        self.verls.unlink(missing_ok=True)
        if not done:
            # of a run that was killed before its first checkpoint
            self.first.unlink(missing_ok=True)

    @property
    def first(self) -> Path:
        """The dump of step 1."""
        return self.rollouts / "1.jsonl"

    def update(self, ended: bool = False) -> bool:
        """Take over what verl has written since; whether there was anything."""
        if not self.told and is_whole(self.first):
            with suppress(msgspec.DecodeError):  # torn, over NFS; a step later it is whole and told
                self.tell(groups(self.first, self.mode))
        fresh = {step: line for step, line in read_lines(self.verls) if step not in self.lines}
        self.lines.update(fresh)
        newest = max(self.lines, default=0)
        whole = [step for step in self.lines
                 if step not in self.counted and (step < newest or ended)]
        # verl writes the dump of a step in the background, and is through with it by the next one
        for step in whole:
            self.lines[step] = self.with_reasons(step)
            self.counted.add(step)
        if fresh or whole:
            write_atomic(self.path, self.lines.values())
        return bool(fresh)

    def with_reasons(self, step: int) -> bytes:
        """The line of a step with the reasons of its rewards; its dump is then removed, the newest
        apart."""
        dump = self.rollouts / f"{step}.jsonl"
        if not dump.exists():
            return self.lines[step]
        found = groups(dump, self.mode)
        if step == 1:
            self.tell(found)
        if step < max(self.lines):
            dump.unlink()
        return msgspec.json.encode(msgspec.json.decode(self.lines[step]) | found.record()) + b"\n"

    def tell(self, first: Groups) -> None:
        """Say once, as early as can be, whether the first step's rollouts have anything to learn
        from."""
        if not self.told:
            _log.log(logging.DEBUG if first.rewarded else logging.WARNING, "%s", first.line())
        self.told = True

    def why(self) -> str:
        """Of the last three steps, the commonest reasons of zeros, as a part of a sentence; empty
        where none are known."""
        counts: Counter[str] = Counter()
        for line in list(self.lines.values())[-3:]:
            counts.update(msgspec.json.decode(line).get("reasons", {}))
        shares = [f"{count / counts.total():.0%} {reason}"
                  for reason, count in counts.most_common() if reason != "match"]
        return f" (zeros: {', '.join(shares[:2])})" if shares else ""

    def values(self) -> list[float]:
        """Mean reward of the rollouts of each step, or the loss, in order."""
        data = [msgspec.json.decode(line)["data"] for line in self.lines.values()]
        return [record[self.curve.key] for record in data if self.curve.key in record]

    def course(self) -> str:
        """Mean of the first three steps and of the last three, as one step is noisy, as a part of a
        sentence."""
        first, last = self.values()[:3], self.values()[-3:]
        name, digits = self.curve.name, self.curve.decimals
        if not last:
            return (f"{name} unknown ({self.path} is empty: verl wrote no metrics, see verl.log "
                    "beside it)")
        return (f"{name} {sum(first) / len(first):.{digits}f} -> "
                f"{sum(last) / len(last):.{digits}f}{self.why()}")


def read_lines(path: Path) -> list[tuple[int, bytes]]:
    """(step, line) of each whole line; none where there is no file. A kill may have cut the last
    one."""
    if not path.exists():
        return []
    lines = [line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    return [(msgspec.json.decode(line)["step"], line) for line in lines]


def run_verl(command: list[str], env: dict[str, str], log: Path, metrics: Metrics, steps: int,
             title: str) -> None:
    """Run verl to its end and show a bar of its steps.

    Raises:
        VerlFailed: its exit code was not 0.
    """
    with log.open("ab") as output, progress(title, steps, len(metrics.lines), "step") as bar:
        begin = output.tell()
        # a session of its own: Ctrl-C reaches this process alone, which stops all of it
        process = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL, start_new_session=True,
                                   preexec_fn=partial(end_with_parent, signal.SIGKILL))
        try:
            while running(process):
                if metrics.update():
                    bar.set_postfix({metrics.curve.name: f"{metrics.values()[-1]:.3f}"},
                                    refresh=False)
                    bar.update(len(metrics.lines) - bar.n)
                bar.refresh()  # a step can take minutes, in which the clock goes on
        finally:
            stop(process)
        metrics.update(ended=process.returncode == 0)  # a failure may have cut the last dump
    if process.returncode:
        raise VerlFailed(f"verl ended with exit code {process.returncode}; the end of "
                         f"{log}:\n{tail(log, begin)}")


def running(process: subprocess.Popen[Any]) -> bool:
    """Wait a moment for the end; whether it has not come."""
    try:
        process.wait(LOOK_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def stop(process: subprocess.Popen[Any]) -> None:
    """End verl and what it started, when this process is interrupted."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def tail(log: Path, begin: int) -> str:
    """Of what was written after `begin` the first line that names an exception, and the last lines;
    without colors."""
    with log.open("rb") as file:
        file.seek(begin)
        text = re.sub(r"\x1b\[[0-9;]*m", "", file.read().decode(errors="replace"))
    lines = text.splitlines()
    cause = next((line for line in lines
                  if re.match(r"(\(.*?\) )?[\w.]*(Error|Exception)\b.*: ", line)), "")
    return "\n".join([*([f"first: {cause}"] if cause else []), *lines[-SHOWN_LINES:]])
