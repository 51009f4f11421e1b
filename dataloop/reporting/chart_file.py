"""The two charts that README shows, accuracy and label noise by round, as one SVG file.

In: the report.json of a run. Out: an SVG with colors of its own, for a light and a dark page.

    python -m dataloop.reporting.chart_file runs/laptop/report.json docs/accuracy_and_noise.svg
"""
from __future__ import annotations

import argparse
import re
from pathlib import Path

import msgspec

from dataloop.reporting.charts import accuracy_chart, noise_chart
from dataloop.reporting.figures import Report
from looptool.charts.svg import HEIGHT, WIDTH, mark
from looptool.command import run_main
from looptool.errors import InputError
from looptool.json_lines import write_atomic

GAP, HEAD = 24, 30
STYLE = """<style>
svg { font: 13px system-ui, sans-serif; fill: #1d2730 }
.page { fill: #fff } .grid { stroke: #dfe4e8 }
.tick { fill: #5d6b78 } .value, .title { font-weight: 600 } .step { fill: #b9c7cf }
.beside { fill: none; stroke: #b9c7cf; stroke-width: 2.2 }
.trend { fill: none; stroke: #2f6690; stroke-width: 2.2 } .dot { fill: #2f6690 }
.noise { fill: #d9967f } .whisker { fill: none; stroke: #1d2730; stroke-width: 1.3 }
@media (prefers-color-scheme: dark) {
svg { fill: #e6edf3 } .page { fill: #0d1117 } .grid { stroke: #30363d } .tick { fill: #9198a1 }
.step { fill: #59636e } .beside { stroke: #59636e } .trend { stroke: #79b8e8 }
.dot { fill: #79b8e8 } .noise { fill: #b3664d }
.whisker { stroke: #e6edf3 } }
</style>"""
"""It has a page of its own, as a code host's theme and the browser's may differ."""


def draw(report: Report) -> str:
    """Both charts side by side, each under its title.

    Raises:
        InputError: the run has no held-out accuracy, or no known truth, yet.
    """
    rounds = [report.before, *report.rounds]
    charts = {"Held-out accuracy": accuracy_chart(rounds),
              "Wrong labels in each dataset": noise_chart(report.datasets)}
    if not all(charts.values()):
        raise InputError("report: holds no accuracy or no label noise; it takes a finished round "
                         "of a SIMULATED run")
    width, height = 2 * WIDTH + GAP, HEIGHT + HEAD
    kind = "SIMULATED tasks" if report.simulated else "real tasks"
    parts = [mark("rect", class_="page", width=width, height=height, rx=8)]
    for place, (title, chart) in enumerate(charts.items()):
        inside = re.sub(r"^<svg[^>]*>|</svg>$", "", chart)
        parts.append(f'<g transform="translate({place * (WIDTH + GAP)} {HEAD})">'
                     f'{mark("text", f"{title}, {kind}", class_="title", x=14, y=-8)}{inside}</g>')
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}">{STYLE}{"".join(parts)}</svg>\n')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=Path, help="report.json of a run")
    parser.add_argument("output", type=Path, help="the SVG file")
    args = parser.parse_args()
    try:
        report = msgspec.json.decode(args.report.read_bytes(), type=Report)
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(f"{args.report}: cannot be read ({error}); make it by "
                         "scripts/11_report.sh") from None
    write_atomic(args.output, [draw(report).encode()])


if __name__ == "__main__":
    run_main(main)
