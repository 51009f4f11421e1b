"""How the report's browser of samples does at the paper's size, in a real browser.

Out: a line with rows, megabytes, seconds to write and to open the page, and milliseconds to filter
by a choice, to filter by a text, and to show a sample. Needs Chromium and `pip install .[browser]`.

    python benchmarks/page.py --run RUN_DIR [--samples 18304] [--rounds 4]

The rows are those of a run, each copied as often as needed under words and an id of its own.
"""
from __future__ import annotations

import argparse
import itertools
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dataloop.reporting.files import read_report
from dataloop.reporting.page.render import render_page
from dataloop.reporting.page.samples import collect_samples
from dataloop.reporting.table import make_table
from looptool.config_file import ROOT, load_config
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Message, Probe, Sample, Verdict
from looptool.run_files import RoundFiles

if TYPE_CHECKING:
    from playwright.sync_api import Page


def copied(sample: Sample, number: int) -> Sample:
    """The sample with other words in each message, so that nothing is shared with the others."""
    messages = [Message(role=each.role, content=f"{each.content} {number:x}", calls=each.calls)
                for each in sample.messages]
    return msgspec.structs.replace(sample, id=f"{number:016x}", messages=messages)


def multiply(source: RoundFiles, target: RoundFiles, samples: int, first: int) -> None:
    """A round of so many samples, with its probes and verdicts."""
    verdicts = {each.probe.sample.id: each for each in read_jsonl(source.verdicts, Verdict)}
    probes = itertools.cycle(list(read_jsonl(source.probes, Probe)))
    made = [(probe.sample.id, msgspec.structs.replace(probe, sample=copied(probe.sample, number)))
            for number, probe in zip(range(first, first + samples), probes, strict=False)]
    write_jsonl(target.dataset, [probe.sample for _, probe in made])
    write_jsonl(target.probes, [probe for _, probe in made])
    write_jsonl(target.verdicts, [msgspec.structs.replace(verdicts[old], probe=probe)
                                  for old, probe in made if old in verdicts])


def milliseconds(page: Page, action: str) -> float:
    """Until the page has done it and has drawn the next frame."""
    return page.evaluate(f"""async () => {{ const start = performance.now(); {action};
        await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
        return performance.now() - start; }}""")


def timed(action: Callable[[], object]) -> float:
    start = time.monotonic()
    action()
    return time.monotonic() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, required=True,
                        help="a finished run, as of 00_quickstart.sh")
    parser.add_argument("--samples", type=int, default=18_304)
    parser.add_argument("--rounds", type=int, default=4)
    args = parser.parse_args()
    # an optional dependency, which --help does without
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, args.rounds + 1):
            multiply(RoundFiles(args.run, 1 + number % 2), RoundFiles(folder, number), args.samples,
                     number * args.samples)
        path = Path(folder) / "report.html"
        config = load_config(ROOT / "configs" / "laptop.yaml", [f"run_dir={folder}"])
        report = read_report(config, None, "")
        rounds = [RoundFiles(folder, number) for number in range(1, args.rounds + 1)]
        written = timed(lambda: path.write_text(
            render_page(report, make_table(report), collect_samples(rounds, None))))
        print(f"{args.rounds * args.samples:,} rows, {path.stat().st_size / 1e6:.1f} MB, "
              f"written in {written:.1f} s", flush=True)
        with sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=shutil.which("chromium"))
            page = chromium.new_page()
            opened = timed(lambda: (page.goto(path.as_uri(), timeout=120_000),
                                    page.wait_for_selector(".browser:not([hidden])")))
            chosen = milliseconds(page, "location.hash = 'verdict=LABEL_WRONG'")
            first = milliseconds(page, "location.hash = 'q=hotel'")
            again = milliseconds(page, "location.hash = 'q=flight'")
            shown = milliseconds(page, "document.querySelector('.list a').click()")
            print(f"opened in {opened:.1f} s; a choice {chosen:.0f} ms, the first text {first:.0f} "
                  f"ms, another {again:.0f} ms, a sample {shown:.0f} ms")


if __name__ == "__main__":
    main()
