"""The chart file of README: both charts of a report in one SVG, or a word why not."""
from __future__ import annotations

import sys
from xml.dom import minidom

import pytest

from dataloop.reporting.chart_file import draw, main
from dataloop.reporting.figures import DatasetFigures, HeldoutFigures, Rate, Report, RoundFigures
from looptool.errors import InputError


def rate(hits: int, total: int) -> Rate:
    share = hits / total
    return Rate(hits=hits, total=total, unknown=0, share=share, low=share - 0.02, high=share + 0.02)


def figures(number: int, right: int, wrong: int | None) -> RoundFigures:
    noise = None if wrong is None else rate(wrong, 200)
    data = DatasetFigures(samples=200, mix={}, text_labels=0, noise=noise, noise_by_origin=None)
    return RoundFigures(number=number, dataset=data if number else None,
                        heldout=HeldoutFigures(accuracy=rate(right, 1000)))


def report(simulated: bool, wrong: int | None = 50) -> Report:
    return Report(simulated=simulated, run_dir="", config={}, versions={}, command="", stages=[],
                  before=figures(0, 250, None), rounds=[figures(1, 391, wrong)], planned_rounds=1,
                  next=None)


def test_both_charts_are_one_picture_with_their_figures() -> None:
    picture = minidom.parseString(draw(report(simulated=True))).documentElement
    texts = [node.firstChild.data for node in picture.getElementsByTagName("text")]
    assert {"25.0%", "39.1%"} <= set(texts) and "Held-out accuracy, SIMULATED tasks" in texts
    assert texts.count("D1") == 1 and len(picture.getElementsByTagName("g")) == 2
    assert not picture.getElementsByTagName("svg")
    assert "prefers-color-scheme: dark" in picture.getElementsByTagName("style")[0].firstChild.data


def test_a_run_without_a_known_truth_is_refused() -> None:
    with pytest.raises(InputError, match="no label noise"):
        draw(report(simulated=False, wrong=None))


@pytest.mark.parametrize("content", [None, "{", '{"simulated": true, "before": 3}'])
def test_what_is_no_report_is_named(tmp_path, monkeypatch, content) -> None:
    path = tmp_path / "report.json"
    if content is not None:
        path.write_text(content)
    monkeypatch.setattr(sys, "argv", ["chart_file", str(path), str(tmp_path / "chart.svg")])
    with pytest.raises(InputError, match="report.json.*11_report.sh"):
        main()
