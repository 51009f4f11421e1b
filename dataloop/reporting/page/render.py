"""The page of a run: one HTML file that needs nothing beside it; everything a model wrote is
escaped.

What changes with the run is made here; what the reader chooses from, the samples, is drawn by the
page's own scripts from the data of dataloop/reporting/page/samples.py.
"""
from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

import yaml

from dataloop.reporting import charts
from dataloop.reporting.figures import Rate, Report, RoundFigures
from dataloop.reporting.page.samples import SampleData, pack
from dataloop.reporting.rows import NOT_YET, percent
from dataloop.reporting.table import ORIGINS, VERDICTS, Table
from looptool.prompts.render import fill

SCRIPTS = ("difference.js", "sample.js", "browser.js")
SIMULATED = """<p class="simulated"><strong>SIMULATED.</strong> Teacher, judge, tools and tasks of
this run are played by rules that plant errors at known rates, so the truth of each task is known.
The figures show what the loop does to data and student; they are no result of a real teacher or of
a real benchmark.</p>"""


def render_page(report: Report, table: Table, samples: SampleData) -> str:
    """The whole file."""
    return fill(
        part("page.html"), style=part("page.css"), script="\n".join(map(part, SCRIPTS)),
        title=escape(table.title), run_dir=escape(report.run_dir),
        simulated=SIMULATED if report.simulated else "", tiles="".join(tiles(report)),
        charts="".join(figures(report)), table=html_table(table), details="".join(details(report)),
        left_out=escape(left_out(samples)), samples=pack(samples),
        protocol="".join(protocol(report)),
        footer=escape("Shares are given with 95% intervals (Wilson; for a gain, the paired "
                      "difference). The same figures are in report.json."))


def part(name: str) -> str:
    """One of the files beside this one that the page is made of."""
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def left_out(samples: SampleData) -> str:
    """What a large run has beside the samples of the page, in words."""
    return " ".join(f"{count:,} further samples of D{number} are in its dataset.jsonl only."
                    for number, count in samples.left_out.items())


def tiles(report: Report) -> Iterable[str]:
    """The answers that a reader looks for first."""
    world = "SIMULATED tasks, known truth" if report.simulated else "against the labels"
    heldout = {"before" if not figures.number
               else f"round {figures.number}": figures.heldout.accuracy
               for figures in [report.before, *report.rounds]
               if figures.heldout and figures.heldout.accuracy.total}
    if heldout:
        yield tile(f"Held-out accuracy, {world}", shares([*heldout.values()]),
                   first_to_last([*heldout]))
    rounds = report.datasets
    noise = {f"D{figures.number}": figures.dataset.noise for figures in rounds
             if figures.dataset and figures.dataset.noise and figures.dataset.noise.total}
    if noise:
        yield tile("Label noise, SIMULATED errors", shares([*noise.values()]),
                   first_to_last([*noise]))
    verdicts = [figures.verdicts.right for figures in report.rounds
                if figures.verdicts and figures.verdicts.right]
    if verdicts and sum(rate.total for rate in verdicts):
        hits, total = sum(rate.hits for rate in verdicts), sum(rate.total for rate in verdicts)
        yield tile("Decided verdicts right, SIMULATED judge", f"{hits / total:.1%}",
                   f"of {total:,} in all rounds")
    seconds = sum(sum(figures.seconds.values()) for figures in [report.before, *rounds])
    begun = f"{len(report.rounds)} of {report.planned_rounds} rounds begun"
    yield tile("Time of all steps", f"{seconds / 60:.1f} min" if seconds else NOT_YET, begun)


def shares(rates: Sequence[Rate]) -> str:
    first, last = rates[0].share, rates[-1].share
    return f"{first:.1%}" if len(rates) == 1 else f"{first:.1%} → {last:.1%}"


def first_to_last(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}"


def tile(name: str, figure: str, note: str) -> str:
    return (f'<div class="tile"><div class="name">{escape(name)}</div><div '
            f'class="figure">{escape(figure)}</div>'
            f'<div class="name">{escape(note)}</div></div>')


def figures(report: Report) -> Iterable[str]:
    """All charts that have something to show."""
    rounds = report.datasets
    truth = "SIMULATED tasks, known truth" if report.simulated else "against the labels"
    beside = any(each.heldout and each.heldout.static for each in report.rounds)
    note = f"{truth}; 95% intervals" + ("; pale: static training" if beside else "")
    yield figure("Held-out accuracy", note, charts.accuracy_chart([report.before, *report.rounds]))
    yield figure("Label noise", "Wrong labels in each dataset, SIMULATED errors; 95% intervals",
                 charts.noise_chart(rounds))
    yield figure("Mix of each dataset", "Equation 5: where the samples come from",
                 charts.mix_chart(rounds), ORIGINS)
    yield figure("Training reward", "Mean over the rollouts of a step, and over five steps",
                 charts.reward_chart(report.rounds))
    for each in report.rounds:
        yield figure(f"Perplexity of the probes, round {each.number}",
                     "Greedy replies by perplexity, log scale",
                     charts.perplexity_chart(each.number, each.probes),
                     {"mastered": "equal to the label", "mismatched": "mismatch"})


def figure(title: str, note: str, picture: str, keys: dict[str, str] = {}) -> str:
    """A chart with its caption and, where colors mean something, what they mean; nothing where
    there is no chart."""
    legend = "".join(f'<span><i class="key {name}"></i>{escape(text)}</span>'
                     for name, text in keys.items())
    return picture and (
        f"<figure><figcaption>{escape(title)}<span>{escape(note)}</span></figcaption>{picture}"
        + (f'<div class="keys">{legend}</div>' if legend else "") + "</figure>")


def html_table(table: Table) -> str:
    """The terminal's table."""
    head = "".join(f"<th>{escape(name)}</th>" for name in table.columns)
    lines = [f"<table><thead><tr><th></th>{head}</tr></thead><tbody>"]
    for section in table.sections:
        lines.append('<tr class="section"><th '
                     f'colspan="{len(table.columns) + 1}">{escape(section.title)}</th></tr>')
        for row in section.rows:
            cells = "".join(f'<td class="later">{cell}</td>' if cell == NOT_YET
                            else f"<td>{escape(cell)}</td>" for cell in row.cells)
            lines.append(
                f'<tr{" class=strong" if row.strong else ""}>'
                f"<td>{escape(row.label)}</td>{cells}</tr>")
    return "".join([*lines, "</tbody></table>"])


def small_table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]],
                diagonal: bool = False) -> str:
    """A few rows; with `diagonal`, cells whose column is named like their row are set off."""
    body = "".join("<tr>" + "".join(
        f'<td{" class=diagonal" if diagonal and index and head[index] == row[0] else ""}>'
        f"{escape(cell)}</td>"
        for index, cell in enumerate(row)) + "</tr>" for row in rows)
    return (f"<table><caption>{escape(caption)}</caption><thead><tr>"
            + "".join(f"<th>{escape(name)}</th>" for name in head)
            + f"</tr></thead><tbody>{body}</tbody></table>")


def details(report: Report) -> Iterable[str]:
    """What the one table sums up: confusion of the judge, noise by origin, mismatches and refusals
    by reason."""
    rounds = report.datasets
    parts = [confusion_table(each) for each in rounds if each.verdicts and each.verdicts.confusion]
    parts.append(by_column("Wrong labels by origin (SIMULATED)", {
        f"D{each.number}": {ORIGINS[origin]: percent(rate)
                            for origin, rate in each.dataset.noise_by_origin.items()}
        for each in rounds if each.dataset and each.dataset.noise_by_origin}))
    parts.append(by_column("Wrong labels by the teacher's rule behind them (SIMULATED)", {
        f"D{each.number}": counted(each.dataset.noise_by_rule) for each in rounds if each.dataset}))
    parts += [rule_table(each) for each in rounds if each.blind_spot and each.blind_spot.rules]
    parts += [kind_table(each) for each in rounds if each.kinds]
    parts.append(by_column("Probes by reason", {
        f"round {each.number}": counted(each.probes.reasons) for each in rounds if each.probes}))
    parts.append(by_column("Expansion: what became of each input", {
        f"round {each.number}": counted(each.expansion.outcomes)
        for each in rounds if each.expansion}))
    parts.append(by_column("Mix: left out", {
        f"D{each.number}": counted(each.dataset.left_out) for each in rounds if each.dataset}))
    notes = [f"D{each.number}: {note}" for each in rounds if each.dataset
             for note in each.dataset.notes]
    if any(parts) or notes:
        lines = "".join(f'<p class="soft">{escape(note)}</p>' for note in notes)
        yield f'<h2>Details</h2><div class="small">{"".join(parts)}</div>{lines}'


def counted(counts: dict[str, int]) -> dict[str, str]:
    return {name: f"{count:,}" for name, count in counts.items()}


def confusion_table(figures: RoundFigures) -> str:
    """True verdicts against given ones."""
    rows = [(true, *(f"{row.get(given, 0):,}" for given in VERDICTS))
            for true in VERDICTS if (row := figures.verdicts.confusion.get(true))]
    return small_table(
        f"Round {figures.number}: SIMULATED judge, true verdict (rows) and given verdict",
        ("true", *VERDICTS), rows, diagonal=True)


def rule_table(figures: RoundFigures) -> str:
    """What became of wrong labels, by the rule behind them: those reproduced reach no judge."""
    rows = [(name, f"{rule.labels:,}", f"{rule.reproduced:,}",
             *(f"{rule.verdicts.get(given, 0):,}" for given in VERDICTS))
            for name, rule in figures.blind_spot.rules.items()]
    caption = f"Round {figures.number}: wrong labels by rule, and what the SIMULATED judge says"
    return small_table(caption, ("rule", "labels", "reproduced", *VERDICTS), rows)


def kind_table(figures: RoundFigures) -> str:
    """What a round has of each kind of task."""
    rows = [(name, *(f"{count:,}" for count in (kind.samples, kind.wrong_labels, kind.mastered,
                                                kind.error_seeds, kind.expanded)))
            for name, kind in figures.kinds.items()]
    return small_table(f"Round {figures.number}: kinds of tasks (SIMULATED)", (
        "kind", "samples", "wrong labels", "mastered", "error seeds", "new samples"), rows)


def by_column(caption: str, columns: dict[str, dict[str, str]]) -> str:
    """A table with a row for each name that any column has; nothing where there is none."""
    names = dict.fromkeys(name for column in columns.values() for name in column)
    rows = [(name, *(column.get(name, "") for column in columns.values())) for name in names]
    return small_table(caption, ("", *columns), rows) if rows else ""


def protocol(report: Report) -> Iterable[str]:
    """What one needs to make the run again."""
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    yield (f"<p>Seed {report.config['seed']}. Report made by "
           f"<code>{escape(report.command)}</code>, with {escape(versions)}.</p>")
    yield ("<p>The run again, with its config saved as a file: "
           "<code>bash scripts/run_loop.sh --config config.yaml</code></p>")
    config = yaml.safe_dump(report.config, sort_keys=False, allow_unicode=True)
    yield f"<details><summary>Config, all keys</summary><pre>{escape(config)}</pre></details>"
    rows = [(line["file"], line["stage"], f"{line['records']:,}", f"{line['seconds']:,.1f}",
             line["version"])
            for line in report.stages]
    yield ('<details><summary>Files and steps</summary><div class="wide">'
           + small_table("", ("file", "step", "records", "seconds", "looptool"), rows)
           + "</div></details>")
    settings = {line["file"]: line["settings"] for line in report.stages}
    yield (f"<details><summary>Settings by which each file was made</summary>"
           f"<pre>{escape(json.dumps(settings, indent=2, ensure_ascii=False))}</pre></details>")
