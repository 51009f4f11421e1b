"""The one table of a run: rows of figures, a column for each round. The terminal and the page show
the same rows."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from dataloop.probing.job import CASES
from dataloop.reporting.figures import EDGE_STEPS, Report, RoundFigures
from dataloop.reporting.rows import Row, Rows, field, number, part, share, short
from dataloop.reporting.skill_rows import blind_spot_rows, coverage_rows, kind_rows

ORIGINS = {"error_seed": "error seeds (ES)", "expanded": "expanded (EE)",
           "high_ppl": "high perplexity (HPPL)", "seed": "new seed samples (Seed-new)"}
VERDICTS = ("PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG", "UNDECIDED")
STEPS = ("tools", "dialogs", "verified dialogs", "conversations", "samples", "seed", "json2parquet",
         "train", "probe", "probe held-out", "verify", "expand")
"""The order of the steps by the names in their .meta.json; others stand behind."""
LABEL_WIDTH, COLUMN_WIDTH, TOTAL_WIDTH = 36, 15, 120
STRONG = ("label noise: wrong labels", "accuracy")
BRIEF = {
    "label noise: wrong labels": "label noise: wrong labels",
    f"reward, first {EDGE_STEPS} -> last {EDGE_STEPS} steps": "reward, first -> last steps",
    "accuracy": "held-out accuracy", "static training": "  static training",
    "mastered: equal to the label": "mastered: equal to the label",
    "decided verdicts that are right": "decided verdicts that are right",
    "labels replaced": "labels replaced", "  of them, new label right": "  of them right",
    "new samples accepted": "new samples accepted", "  of them, label right": "  of them right",
    "together": "seconds"}
"""Rows of the table in brief, and what they are called without the headings of their sections."""


@dataclass(frozen=True)
class Section:
    """Rows under a heading."""

    title: str
    rows: list[Row]


@dataclass(frozen=True)
class Table:
    """All sections over the same columns."""

    title: str
    columns: list[str]
    sections: list[Section]


def make_table(report: Report) -> Table:
    """The table of a run; rows without any figure are left out."""
    rounds = [report.before, *report.datasets]
    columns = ["before", *(f"round {figures.number}" for figures in report.rounds),
               *([f"next: D{report.next.number}"] if report.next else [])]
    build = Rows(rounds, range(1, 1 + len(report.rounds)))
    teacher, truth = (("SIMULATED teacher", "against the known truth of the SIMULATED world")
                      if report.simulated else ("teacher", "against the labels"))
    sections = [
        Section("Dataset D_j" + (": noise " + truth if report.simulated else ""),
                list(dataset_rows(build))),
        Section("Training: mean reward of the rollouts", list(training_rows(build))),
        Section(f"Held-out tasks, {truth}", list(heldout_rows(build, report.simulated))),
        Section(f"Held-out accuracy by kind of task, {truth}", list(kind_rows(build))),
        Section("Probing (GCP) with the round's policy", list(probe_rows(build))),
        Section("Blind spot: wrong labels that the policy has learnt, SIMULATED errors",
                list(blind_spot_rows(build))),
        Section(f"Judgement of mismatches (JGLV) by the {teacher}", list(verdict_rows(build))),
        Section(f"Expansion of error seeds (EDDE) by the {teacher}", list(expansion_rows(build))),
        Section("Kinds of tasks in the SIMULATED world", list(coverage_rows(build))),
        Section("Seconds by step", list(second_rows(build))),
        Section(f"Calls (tokens) by role: the policy, and the {teacher}", list(usage_rows(build))),
    ]
    title = "LoopTool: report of a run" + (" with a SIMULATED teacher" if report.simulated else "")
    return Table(title, columns, [section for section in sections if section.rows])


def dataset_rows(build: Rows) -> Iterator[Row]:
    yield from build.row("samples", number("dataset", "samples"))
    for origin, name in ORIGINS.items():
        yield from build.row(f"  {name}", lambda figures, origin=origin: figures.dataset and part(
            figures.dataset.mix.get(origin, 0), figures.dataset.samples))
    yield from build.row("  of all: plain-text labels", number("dataset", "text_labels"))
    yield from build.rate("label noise: wrong labels", field("dataset", "noise"), True, True)


def training_rows(build: Rows) -> Iterator[Row]:
    yield from build.row("steps", number("training", "steps"))
    def reward(figures: RoundFigures) -> str | None:
        return figures.training and f"{figures.training.first:.2f} -> {figures.training.last:.2f}"

    yield from build.row(f"reward, first {EDGE_STEPS} -> last {EDGE_STEPS} steps", reward, True,
                         expected=True)


def heldout_rows(build: Rows, expected: bool) -> Iterator[Row]:
    yield from build.rate("accuracy", field("heldout", "accuracy"), True, True, expected)
    yield from build.row("static training", share("heldout", "static"))
    yield from build.row("  points gained, paired, ±95%",
                         lambda figures: figures.heldout and figures.heldout.gain and (
        f"{100 * (gain := figures.heldout.gain).share:+.1f} ±{100 * (gain.high - gain.share):.1f}"))


def probe_rows(build: Rows) -> Iterator[Row]:
    yield from build.row("mastered: equal to the label", lambda figures: figures.probes and part(
        figures.probes.reasons.get("match", 0), figures.probes.samples), expected=True)
    for case, words in CASES.items():
        yield from build.row(f"replies {words}", lambda figures, case=case: figures.probes and (
            f"{count:,}" if (count := figures.probes.cases.get(case)) else None))
    yield from build.row("drawn replies that match, pass@1", number("probes", "pass_at_1", ".1%"))
    yield from build.rate("of which one matches, pass@k", field("probes", "pass_at_k"))
    # three places, as perplexities are close to 1
    yield from build.row("median perplexity", number("probes", "median_perplexity", ",.3f"))
    yield from build.row("least perplexity taken as HPPL", number("probes", "high_ppl_cut", ",.3f"))


def verdict_rows(build: Rows) -> Iterator[Row]:
    def count(figures: RoundFigures, name: str) -> str | None:
        if figures.verdicts is None:
            return None
        given, confusion = f"{figures.verdicts.verdicts.get(name, 0):,}", figures.verdicts.confusion
        if not confusion or name == "UNDECIDED" or given == "0":
            return given
        return f"{given} ({confusion.get(name, {}).get(name, 0):,} right)"

    yield from build.row("mismatches judged", lambda figures: figures.verdicts and (
        f"{sum(figures.verdicts.verdicts.values()):,}"), expected=True)
    for name in VERDICTS:
        yield from build.row(f"  {name}", lambda figures, name=name: count(figures, name))
    yield from build.row("  label confirmed by an audit", lambda figures: figures.verdicts and (
        f"{confirmed:,}" if (confirmed := figures.verdicts.verdicts.get("LABEL_CONFIRMED"))
        else None))
    yield from build.row("without a verdict", number("verdicts", "unjudged"))
    yield from build.rate("decided verdicts that are right", field("verdicts", "right"), True)
    yield from build.row("  Cohen's kappa of these", number("verdicts", "kappa", ".2f"))
    yield from build.row("single votes right, label first", share("verdicts", "votes_label_first"))
    yield from build.row("single votes right, prediction first",
                         share("verdicts", "votes_prediction_first"))
    yield from build.row("labels replaced", number("replaced", "labels"), expected=True)
    yield from build.rate("  of them, new label right", field("replaced", "right"), True)
    yield from build.rate("  of them, old label was wrong", field("replaced", "needed"))


def expansion_rows(build: Rows) -> Iterator[Row]:
    yield from build.row("error seeds, label kept", lambda figures: figures.expansion and (
        f"{figures.expansion.seeds.get('mispredicted', 0):,}"))
    yield from build.row("error seeds, label replaced", lambda figures: figures.expansion and (
        f"{figures.expansion.seeds.get('relabeled', 0):,}"))
    yield from build.row("tries",
                         lambda figures: figures.expansion and figures.expansion.outcomes and (
        f"{sum(figures.expansion.outcomes.values()):,}"))
    yield from build.row("new samples accepted", number("expansion", "accepted"), expected=True)
    yield from build.rate("  of them, label right", field("expansion", "right"), True)


def second_rows(build: Rows) -> Iterator[Row]:
    found = sorted({step for figures in build.rounds for step in figures.seconds})
    for step in sorted(found, key=lambda step: STEPS.index(step) if step in STEPS else len(STEPS)):
        yield from build.row(step, lambda figures, step=step: step in figures.seconds and (
            f"{figures.seconds[step]:,.1f}") or None)
    yield from build.row("together", lambda figures: figures.seconds
                         and f"{sum(figures.seconds.values()):,.1f}", True)
    yield from build.row("inputs without an answer", lambda figures: figures.failed and (
        f"{sum(figures.failed.values()):,}"))


def usage_rows(build: Rows) -> Iterator[Row]:
    def cost(account: dict[str, Any] | None) -> str | None:
        if not account:
            return None
        tokens = account.get("prompt_tokens", 0) + account.get("completion_tokens", 0)
        return f"{account['calls']:,} ({short(tokens)})"

    for role in sorted({role for figures in build.rounds for role in figures.usage}):
        yield from build.row(role, lambda figures, role=role: cost(figures.usage.get(role)))
    yield from build.row("prompt + completion tokens", lambda figures: figures.usage and " + ".join(
        short(sum(account.get(field, 0) for account in figures.usage.values()))
        for field in ("prompt_tokens", "completion_tokens")))
    yield from build.row("dollars", lambda figures: (
        dollars := sum(account.get("dollars", 0) for account in figures.usage.values()))
                         and f"{dollars:,.2f}" or None)


def in_brief(table: Table) -> Table:
    """The rows that say whether the loop works, under one heading."""
    # reversed, so that of equal labels the first section's counts
    rows = {row.label: row for section in reversed(table.sections) for row in section.rows}
    brief = [replace(rows[label], label=name, strong=label in STRONG)
             for label, name in BRIEF.items() if label in rows]
    return Table(table.title, table.columns, [Section("In brief; --full shows all rows", brief)])


def render_text(table: Table, bold: bool = False, width: int = TOTAL_WIDTH) -> Iterable[str]:
    """Lines for a terminal of this width; columns without room are continued below."""
    yield table.title
    yield ""
    room = max(1, (width - LABEL_WIDTH) // COLUMN_WIDTH)
    for begin in range(0, len(table.columns), room):
        shown = slice(begin, begin + room)
        columns = table.columns[shown]
        yield " " * LABEL_WIDTH + "".join(f"{name:>{COLUMN_WIDTH}}" for name in columns)
        for section in table.sections:
            yield ""
            title = f"{section.title} ".ljust(LABEL_WIDTH + COLUMN_WIDTH * len(columns), "─")
            yield f"\033[1m{title}\033[0m" if bold else title
            for row in section.rows:
                line = f"{row.label:<{LABEL_WIDTH}}" + "".join(f"{cell:>{COLUMN_WIDTH}}"
                                                               for cell in row.cells[shown])
                yield f"\033[1m{line}\033[0m" if bold and row.strong else line.rstrip()
        yield ""
