"""Where a loop stands, running or stopped: one line a step, and what to run next. It only reads.

In: the config, and of its run_dir the .meta.json beside each output, the journals that grow, and
the locks of whoever writes them (/proc/locks of this machine). Out: a table on standard output.

"stopped" is killed or failed: run again, the step goes on. "done, 3 failed" are inputs whose call
got no answer: run again, the step tries them again, but not once a later one has begun with what is
there. Not shown are steps that a run has no need of: those before D_1 where it was made from tasks
of others, and held-out tasks where a real teacher's run has none.
"""
from __future__ import annotations

import os
import re
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.run_files import RoundFiles, RunFiles
from looptool.stages.journal import journal_path
from looptool.stages.meta import read_meta

BLOCK = 1 << 20


class Step(NamedTuple):
    """One step of the loop, as its files tell of it."""

    name: str
    script: str
    """Its script and flags."""
    output: Path
    total: Callable[[], int | None] = lambda: None
    """Its inputs, where they are known before it ends."""
    training: Path | None = None
    """The folder of a training, which keeps its own journal."""

    def done(self) -> int | None:
        """Finished inputs of a step that has begun and not ended."""
        count = lines(self.training / "metrics.jsonl" if self.training
                      else journal_path(self.output))
        # a journal begins with its header
        return count if count is None or self.training else max(count - 1, 0)

    def held(self) -> Path:
        """The file that a process which works on the step has locked."""
        return self.training / ".lock" if self.training else journal_path(self.output)


class Line(NamedTuple):
    """What is said of a step."""

    step: str
    state: str
    records: str = ""
    time: str = ""


def first_steps(config: Config) -> list[Step]:
    """What comes before the rounds; once there is D_1, as far as it was done for it."""
    run, dialogs, first = (RunFiles(config), "02_generate_dialogs.sh",
                           RoundFiles(config.run_dir, 1).dataset)
    checks = [] if config.dialogs.verify == "none" else [
        Step("checks", dialogs, run.dialog_checks, lambda: lines(run.dialogs))]
    steps = [Step("tools", "01_synthesize_tools.sh", run.tools),
             Step("dialogs", dialogs, run.dialogs, lambda: config.dialogs.count), *checks,
             Step("samples", "03_make_samples.sh", run.samples),
             Step("seed", "03_make_samples.sh", run.seed), Step("D_1", "03_make_samples.sh", first)]
    if first.exists():
        steps = [step for step in steps if step.output.exists() or step.done() is not None]
    return steps + cold_start(config) + heldout(config, 0)


def cold_start(config: Config) -> list[Step]:
    """The step that makes pi_0; none where the config has none."""
    files, steps = RoundFiles(config.run_dir, 0), config.train.cold_start.steps
    return ([Step("cold start", "cold_start.sh", files.policy, lambda: steps, files.training)]
            if steps else [])


def heldout(config: Config, number: int) -> list[Step]:
    """The step that measures a policy; none where there are no held-out tasks and nobody makes
    them."""
    tasks = RunFiles(config).heldout
    if not tasks.exists() and "simulated" not in config.teacher.base_urls:
        return []
    return [Step("held-out", f"evaluate_heldout.sh --round {number}",
                 RoundFiles(config.run_dir, number).heldout_probes, lambda: lines(tasks))]


def round_steps(config: Config, number: int) -> list[Step]:
    """The steps of one round, in their order."""
    files = RoundFiles(config.run_dir, number)

    def steps() -> int | None:
        rows, train = read_meta(files.train_parquet), config.train
        # an epoch is of whole batches only
        return rows and rows.counts["train"] // train.batch_size * train.epochs

    def mismatches() -> int | None:
        if config.verify.audit_mastered or config.verify.label_refinement:
            return None  # matches are judged too, and which ones only the step itself knows
        probed = read_meta(files.probes)
        return probed and sum(probed.counts.values()) - sum(probed.counts.get(kind, 0)
                                                            for kind in ("match", "too_long"))

    def tries() -> int | None:
        seeds = lines(files.error_seeds)
        return None if seeds is None else seeds * (
            config.expand.per_seed + config.expand.distractors)

    return [Step("train", f"04_train.sh --round {number}", files.policy, steps, files.training),
            Step("probe", f"05_probe.sh --round {number}", files.probes,
                 lambda: lines(files.dataset)),
            Step("verify", f"06_verify.sh --round {number}", files.verdicts, mismatches),
            Step("expand", f"07_expand.sh --round {number}", files.expanded, tries),
            Step("mix", f"08_next_round.sh --round {number}", files.next().dataset),
            *heldout(config, number)]


def look(step: Step, writers: dict[int, int]) -> Line:
    """The state of one step.

    Args:
        writers: processes, by the inode of the file that they have locked.
    """
    done, total, held = step.done(), step.total(), step.held()
    unit = " steps" if step.training else ""
    amount = f"{done or 0:,}{unit} so far" if total is None else f"{done or 0:,} of {total:,}{unit}"
    writer = writers.get(held.stat().st_ino) if held.exists() else None
    if writer is not None:
        return Line(step.name, "running", amount, f"since {clock(begun(writer))}, process {writer}")
    if step.output.exists():
        meta = read_meta(step.output)
        count = done if step.training else lines(step.output) if meta is None else meta.records
        took = f"{duration(meta.seconds)}, " if meta else ""
        state = f"done, {meta.failed:,} failed" if meta and meta.failed else "done"
        return Line(step.name, state, f"{count or 0:,}{unit}",
                    f"{took}until {clock(step.output.stat().st_mtime)}")
    if done is not None:
        return Line(step.name, "stopped", amount, f"last one at {clock(held.stat().st_mtime)}")
    return Line(step.name, "-")


def table(config: Config, flags: str) -> Iterator[str]:
    """The whole answer, line by line; `flags` are those with which the next command has to be
    run."""
    writers, following, running = lock_holders(), "", 0
    yield f"{'':8}  {'step':8}  {'state':16}{'records':>16}  time"
    parts = [("once", first_steps(config)),
             *((f"round {number}", round_steps(config, number))
               for number in range(1, config.rounds + 1))]
    for heading, steps in parts:
        seen = [look(step, writers) for step in steps]
        if all(line.state == "-" for line in seen) and following:
            yield f"{heading:8}  -"
            continue
        for step, line in zip(steps, seen, strict=True):
            yield (f"{heading:8}  {line.step:8}  {line.state:16}{line.records:>16}"
                   f"  {line.time}").rstrip()
            heading = ""
            running += line.state == "running"
            if not line.state.startswith("done") and not following:
                following = step.script
    report = RunFiles(config).report
    if running:
        yield f"next: wait, {running} step{'s are' if running > 1 else ' is'} running"
    elif following:
        yield f"next: bash scripts/{following}{flags}"
        if RunFiles(config).dialogs.exists() or not RoundFiles(config.run_dir, 1).dataset.exists():
            yield f"  or: bash scripts/run_loop.sh{flags}, for all that is left"
    else:
        yield (f"next: nothing, see {report}" if report.exists()
               else f"next: bash scripts/11_report.sh{flags}")


def lock_holders() -> dict[int, int]:
    """Processes of this machine by the inode of the file that they have locked."""
    locks = Path("/proc/locks").read_text(encoding="ascii")
    # "1: FLOCK ADVISORY WRITE <process> <major>:<minor>:<inode> 0 EOF"
    return {int(inode): int(process)
            for process, inode in re.findall(r"FLOCK +\w+ +WRITE (\d+) \w+:\w+:(\d+) ", locks)}


def lines(path: Path) -> int | None:
    """Whole lines of a file; None where there is none."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(lambda: file.read(BLOCK), b""))
    except FileNotFoundError:
        return None


def begun(process: int) -> float:
    """When a process has begun, in seconds since 1970."""
    # field 22 of stat, counted behind the command, whose name may hold blanks and brackets
    ticks = int(Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()[19])
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def clock(instant: float) -> str:
    """The time, with its day if that is another one than today."""
    then = time.localtime(instant)
    return time.strftime("%H:%M:%S" if then[:3] == time.localtime()[:3] else "%Y-%m-%d %H:%M", then)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes
            else f"{seconds:.1f} s")


def main() -> None:
    parser = argument_parser(__doc__)
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    named = [] if args.config == parser.get_default("config") else ["--config", args.config]
    flags = shlex.join(
        [*named, *(word for override in args.overrides for word in ("--set", override))])
    shown = Path(config.run_dir)
    print(shown.relative_to(ROOT) if shown.is_relative_to(ROOT) else shown)
    sys.stdout.writelines(f"{line}\n" for line in table(config, f" {flags}" if flags else ""))


if __name__ == "__main__":
    run_main(main)
