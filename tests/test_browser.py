"""The page in a real browser: filters, keys, clicks, lineage, and text that stays text.

Needs Chromium or Chrome, and playwright, which drives it (pip install playwright); without them
these tests are skipped.
"""
from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from report_world import (
    D1, HOSTILE, RIGHT, VERDICTS, WORLD, change, page_of, probe, sample, small_run)

from looptool.config import Config
from looptool.json_lines import write_jsonl
from looptool.records import Call, Message
from looptool.run_files import RoundFiles

playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser")
expect = playwright.expect
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
EXECUTABLE = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = [pytest.mark.slow,
              pytest.mark.skipif(EXECUTABLE is None, reason=f"none of {', '.join(NAMES)} is there")]


@pytest.fixture
def run(tmp_path: Path) -> Config:
    return small_run(tmp_path)


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=EXECUTABLE)
        yield chromium
        chromium.close()


@pytest.fixture
def opened(browser, tmp_path):
    """Opens a run's page; fails where the page erred, asked for anything, or let a text act."""
    contexts, faults = [], []

    def open_page(config, world=WORLD, address="", **settings) -> playwright.Page:
        path = tmp_path / "report.html"
        path.write_text(page_of(config, world), encoding="utf-8")
        contexts.append(browser.new_context(**settings))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (faults.append("a dialog"), dialog.dismiss()))
        page.on("request", lambda request: request.url.startswith(path.as_uri())
                or faults.append(request.url))
        page.goto(path.as_uri() + address)
        page.wait_for_selector(".browser:not([hidden])")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not faults


def listed(page) -> list[str]:
    return page.locator(".list .badge").all_inner_texts()


def rows(page) -> list[list[str]]:
    """The table of label and prediction, cell by cell."""
    return [line.locator("th, td").all_inner_texts()
            for line in page.locator(".comparison tbody tr").all()]


@pytest.mark.parametrize("filters, expected", [
    ({}, 10), ({"Dataset": "D2"}, 5), ({"Dataset": "D1", "Prediction": "any mismatch"}, 4),
    ({"Verdict": "LABEL_WRONG"}, 2), ({"Verdict": "label replaced"}, 2),
    ({"Origin": "expanded"}, 3),
    ({"Label, SIMULATED": "wrong"}, 2), ({"Prediction": "not probed", "Origin": "seed"}, 1),
    ({"Text": "evil.EXAMPLE"}, 2),  # D1[1] says it, and the prediction for D1[2] has it
    ({"Text": D1[3].id[:9]}, 1), ({"Text": "nobody said this"}, 0)])
def test_filters(opened, run, filters, expected):
    page = opened(run)
    for label, value in filters.items():
        if label == "Text":
            page.get_by_role("searchbox").fill(value)
        else:
            page.get_by_role("combobox", name=label).select_option(value)
    assert len(listed(page)) == expected
    count = page.locator(".count").inner_text()
    assert count.endswith(f"of {expected}" if expected else "filters.")
    page.get_by_role("button", name="Clear all").click()
    page.wait_for_function("document.querySelectorAll('.list a').length === 10")


def test_each_choice_says_how_many_it_gives(opened, run):
    page = opened(run)
    page.get_by_role("combobox", name="Dataset").select_option("D1")
    options = page.get_by_role("combobox", name="Verdict").locator("option").all_inner_texts()
    assert options == ["all", "LABEL_WRONG (2)", "PRED_WRONG (1)", "UNDECIDED (1)",
                       "label replaced (2)", "none (1)"]
    assert page.get_by_role("combobox", name="Dataset").locator("option").all_inner_texts() == [
        "all", "D1 (5)", "D2 (5)"]


def call(**arguments) -> Call:
    return Call(name=arguments.pop("name", "get_weather"), arguments=arguments)


@pytest.mark.parametrize("label, prediction, expected", [
    ([call(city="Bern", day=1)], [call(city="Rome", unit="C", day=1.0)],
     [("call", "get_weather", "get_weather", "= same"), ("city", '"Bern"', '"Rome"', "≠ changed"),
      ("day", "1", "1", "= same"), ("unit", "", '"C"', "+ added")]),
    ([call(city="Bern"), call(city="Oslo")], [call(city="Oslo")],  # equal calls find each other
     [("call", "get_weather", "", "− removed"), ("city", '"Bern"', "", "− removed"),
      ("call", "get_weather", "get_weather", "= same"), ("city", '"Oslo"', '"Oslo"', "= same")]),
    ([call(city="Bern")], [call(name="forecast", city="Bern")],
     [("call", "get_weather", "forecast", "≠ changed"), ("city", '"Bern"', '"Bern"', "= same")]),
    ([], [call(at={"x": 9007199254740993})],
     [("text", "Which city?", "", "− removed"), ("call", "", "get_weather", "+ added"),
      ("at.x", "", "9007199254740993", "+ added")])])
def test_the_difference_is_marked_by_call_and_argument(opened, run, label, prediction, expected):
    text = "" if label else "Which city?"
    task = sample("a", Message(role="assistant", content=text, calls=label))
    answer = Message(role="assistant", calls=prediction)
    write_jsonl(RoundFiles(run.run_dir, 1).dataset, [task])
    write_jsonl(RoundFiles(run.run_dir, 1).probes, [probe(task, answer)])
    page = opened(run, address=f"#sample=1-{task.id}")
    assert [tuple(row) for row in rows(page)] == expected


def test_votes_and_truth_by_click(opened, run):
    page = opened(run, address="#verdict=LABEL_WRONG")
    page.locator(".list a").nth(1).click()
    expect(page.locator(".detail h3")).to_contain_text(D1[3].id)
    detail = page.locator(".detail")
    assert rows(page)[1] == ["city", '"Rome"', '"Bern"', "≠ changed"]
    assert page.locator(".comparison mark").all_inner_texts() == ["Rome", "Bern"]
    heads = page.locator(".comparison thead th").all_inner_texts()
    assert heads == ["label ✗ wrong", "prediction ✓ right", "change"]
    assert "SIMULATED" in page.locator(".comparison caption").inner_text()
    assert detail.get_by_text("Votes: 2").is_visible()
    vote = detail.get_by_text("LABEL_WRONG (j, prediction shown first)").first
    analyses = detail.locator("details pre").get_by_text("onerror=alert")
    assert analyses.count() == 2 and not analyses.locator("visible=true").count()
    vote.click()
    assert analyses.locator("visible=true").count() == 1
    assert detail.get_by_text("label replaced", exact=False).first.is_visible()


def test_a_real_run_has_no_truth(opened, run):
    page = opened(run, None, f"#sample=1-{D1[3].id}")
    text = page.locator("body").inner_text()
    assert "SIMULATED" not in text.partition("Samples")[2].partition("Protocol")[0]
    assert "✓" not in text and page.locator(".filters select").count() == 4
    assert rows(page)[1] == ["city", '"Rome"', '"Bern"', "≠ changed"]


def test_lineage_leads_from_the_seed_to_what_was_made_of_it_and_back(opened, run):
    page = opened(run, address=f"#round=D1&sample=1-{D1[3].id}")
    steps = page.locator(".lineage li code").all_inner_texts()
    made = sample("e1").id
    assert steps == [D1[3].id, change(VERDICTS[2]).new_id, made]
    assert "round 1, label replaced" in page.locator(".lineage").inner_text()
    assert HOSTILE in page.locator(".lineage").inner_text()  # the scenario's name
    page.locator(".lineage").get_by_text("D2 expanded").click()
    expect(page.locator(".detail h3")).to_have_text(f"D2 · expanded · {made}")
    assert page.locator(".lineage li code").all_inner_texts() == steps
    assert page.locator(".lineage [aria-current]").inner_text() == "D2 expanded"
    assert len(listed(page)) == 5  # the filter stays
    page.go_back()
    expect(page.locator(".detail h3")).to_contain_text(D1[3].id)


def test_a_label_that_came_back_ends_the_lineage(opened, run):
    """Round 1 replaces a label, round 2 takes it back: each sample was made from the other."""
    there, back = VERDICTS[2], probe(sample("d", RIGHT, round=1, parent=D1[3].id), D1[3].label)
    back = change(type(there)(probe=back, verdict="LABEL_WRONG", votes=[]))
    back.round = 2
    second = RoundFiles(run.run_dir, 2)
    write_jsonl(second.dataset, [sample("d", RIGHT, round=1, parent=D1[3].id, origin="error_seed")])
    write_jsonl(second.label_changes, [back])
    page = opened(run, address=f"#sample=2-{back.old_id}")
    assert page.locator(".lineage li code").all_inner_texts() == [D1[3].id, back.old_id]


def test_keys_go_along_the_list(opened, run):
    page = opened(run)
    page.locator(".list a").first.focus()
    page.keyboard.press("Enter")
    for key, expected in (("ArrowDown", D1[1]), ("ArrowDown", D1[2]), ("ArrowUp", D1[1])):
        page.keyboard.press(key)
        expect(page.locator(".detail h3")).to_contain_text(expected.id)
        assert page.locator(".list [aria-current]").count() == 1
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"


def test_pages_of_a_long_list(opened, run):
    write_jsonl(RoundFiles(run.run_dir, 1).dataset, [sample(f"s{index}") for index in range(120)])
    page = opened(run, address="#round=D1")
    count = page.locator(".count")
    assert count.inner_text() == "1 to 50 of 120" and page.get_by_label("Page before").is_disabled()
    for shown in ("51 to 100 of 120", "101 to 120 of 120"):
        page.get_by_label("Next page").click()
        expect(count).to_have_text(shown)
    assert page.get_by_label("Next page").is_disabled()
    page.get_by_role("searchbox").fill("s11")
    assert count.inner_text() == "1 to 11 of 11"


@pytest.mark.parametrize("scheme, background", [("light", "rgb(255, 255, 255)"),
                                                ("dark", "rgb(22, 27, 32)")])
@pytest.mark.parametrize("width", [390, 1280])
def test_light_and_dark_wide_and_narrow(opened, run, scheme, background, width):
    page = opened(run, address=f"#sample=1-{D1[1].id}", color_scheme=scheme,
                  viewport={"width": width, "height": 800})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == background
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.locator(".turn pre").inner_text() == f"b {HOSTILE}"
    assert page.locator(".browser img, .browser script").count() == 0
