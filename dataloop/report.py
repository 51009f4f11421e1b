"""The report of a run: one table in the terminal, a page and a file of figures.

In: every file of the run that exists (dataloop/reporting/files.py); at least round_1/dataset.jsonl.
Out: the table on standard output, run_dir/report.html and run_dir/report.json.

The page is one file that any browser opens. It has the figures, and a browser of all samples: each
with its label and prediction side by side, the judges' votes, and what it was made from and became.

A run that is not finished is shown as far as it is. With the simulated teacher the truth of each
task is known, and labels, verdicts and answers are held against it; such figures are called
SIMULATED. A real run has no such columns.

    python dataloop/report.py [--config FILE] [--set SECTION.KEY=VALUE] [--static] [--full]

The terminal shows the rows that say whether the loop works; with --full all of those of the page.

With --static the accuracy of static training stands beside (dataloop/ablations/static_training.py
runs it, in <run_dir>_static).
"""
from __future__ import annotations

import logging
import os
import shlex
import shutil
import sys
from pathlib import Path

from dataloop.reporting.files import read_report
from dataloop.reporting.page.render import render_page
from dataloop.reporting.page.samples import collect_samples
from dataloop.reporting.skills import World
from dataloop.reporting.table import TOTAL_WIDTH, in_brief, make_table, render_text
from looptool.command import argument_parser, run_main
from looptool.config_file import ROOT, load_config
from looptool.json_lines import write_atomic, write_json
from looptool.records import Message, Sample
from looptool.run_files import RoundFiles, RunFiles
from looptool.terminal import has_colors

_log = logging.getLogger(__name__)


def simulated_world() -> World:
    """Asks the simulated world about samples and answers."""
    # here, as a real run has no use for the simulated world
    from looptool.simulation.world.kinds import kind_of
    from looptool.simulation.world.rules import rule_behind
    from looptool.simulation.world.truth import truth

    def right(sample: Sample, answer: Message) -> bool | None:
        now = truth(sample.tools, sample.messages)
        return None if now is None else now.accepts(answer, [tool.name for tool in sample.tools])

    def rule(sample: Sample, answer: Message) -> str | None:
        now = truth(sample.tools, sample.messages)
        return None if now is None else rule_behind(sample.tools, sample.messages, now, answer)

    return World(right, rule, lambda sample: kind_of(sample.tools, sample.messages))


def command(config_path: str, overrides: list[str]) -> str:
    """The command of this report, with the config's path as seen from the repository."""
    inside = os.path.abspath(config_path).startswith(f"{ROOT}{os.sep}")
    path = os.path.relpath(config_path, ROOT) if inside else config_path
    return shlex.join(["python", "dataloop/report.py", "--config", path,
                       *(word for override in overrides for word in ("--set", override))])


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--static", action="store_true",
                        help="show static training beside the loop")
    parser.add_argument("--full", action="store_true", help="show every row of the page's table")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    world = simulated_world() if config.teacher.is_simulated else None
    run = Path(config.run_dir)
    static = run.with_name(f"{run.name}_static") if args.static else None
    made_by = command(args.config, args.overrides) + (" --static" if args.static else "")
    report = read_report(config, world, made_by, static)
    rounds = report.datasets
    samples = collect_samples([RoundFiles(config.run_dir, figures.number) for figures in rounds],
                              world and world.right)
    table = make_table(report)
    page = RunFiles(config).report
    write_json(page.with_suffix(".json"), report)
    write_atomic(page, [render_page(report, table, samples).encode()])
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else TOTAL_WIDTH
    print("\n".join(render_text(table if args.full else in_brief(table), has_colors(sys.stdout),
                               min(width, TOTAL_WIDTH))))
    _log.info("report: %d of %d rounds -> %s, %s", len(report.rounds), report.planned_rounds, page,
              page.with_suffix(".json").name)


if __name__ == "__main__":
    run_main(main)
