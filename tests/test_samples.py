"""What the page's browser of samples holds: every row with what became of it, and nothing twice."""
from __future__ import annotations

import base64
import gzip
import string
from pathlib import Path

import msgspec
import pytest
from report_world import (
    D1, HOSTILE, PROBES, RIGHT, VERDICTS, WRONG, change, page_of, probe, samples_of, small_run)

from dataloop.reporting.page import samples
from dataloop.reporting.page.render import left_out
from dataloop.reporting.page.samples import SampleData, shown_arguments
from looptool.calling.match import tool_match
from looptool.config import Config
from looptool.json_lines import write_jsonl
from looptool.records import Call, LabelChange, Message, Vote
from looptool.run_files import RoundFiles


@pytest.fixture
def run(tmp_path: Path) -> Config:
    return small_run(tmp_path)


def test_every_sample_of_each_dataset_with_what_became_of_it(run):
    data = samples_of(run)
    ids = [data.samples[row.sample].id for row in data.rows]
    assert ids[:5] == [task.id for task in D1] and len(ids) == 10
    assert [(row.round, row.origin, row.reason, row.verdict, row.label_right, row.prediction_right)
            for row in data.rows] == [
        (1, "seed", "match", None, True, True),
        (1, "seed", "wrong_value", "PRED_WRONG", True, False),
        (1, "seed", "wrong_value", "LABEL_WRONG", True, False),
        (1, "seed", "wrong_value", "LABEL_WRONG", False, True),
        (1, "seed", "wrong_value", "UNDECIDED", None, None),
        (2, "high_ppl", None, None, True, None),
        (2, "expanded", None, None, True, None), (2, "expanded", None, None, True, None),
        (2, "expanded", None, None, False, None), (2, "seed", None, None, True, None)]
    assert data.rows[5].sample == data.rows[0].sample and len(data.samples) == 9  # in both rounds
    assert [len(row.votes) for row in data.rows[:5]] == [0, 2, 2, 2, 2]
    assert data.rows[1].votes == VERDICTS[0].votes and data.rows[0].perplexity == 1.25
    assert [(each.old_id, each.new_id, each.undone) for each in data.changes] == [
        (D1[2].id, change(VERDICTS[1]).new_id, False),
        (D1[3].id, change(VERDICTS[2]).new_id, False)]
    assert data.samples[data.rows[6].sample].parent == change(VERDICTS[2]).new_id
    assert len(data.tools) == len(data.toolsets) == 1
    assert len(data.messages) == 9 + 3  # the request of each; Bern, Rome and OTHER


def test_a_real_run_shows_no_truth(run):
    data = samples_of(run, None)
    assert not data.simulated and data.rows[3].verdict == "LABEL_WRONG"
    assert b"_right" not in msgspec.json.encode(data)


def test_the_page_holds_samples_as_plain_letters_that_read_back(run):
    page = page_of(run)
    packed = page.partition('<script id="samples" type="text/plain">')[2].partition("<")[0]
    assert not set(packed) - set(string.ascii_letters + string.digits + "+/=")
    text = gzip.decompress(base64.b64decode(packed))
    assert msgspec.json.decode(text, type=SampleData) == samples_of(run)
    assert f"b {HOSTILE}" in [each["content"] for each in msgspec.json.decode(text)["messages"]
                              if each["role"] == "user"]


def test_a_label_that_was_refined_shows_the_votes_of_its_change(run):
    vote = Vote(verdict="LABEL_WRONG", label_first=True, judge="refinement", draw=0, analysis="",
                approach="")
    refined = LabelChange(old_id=D1[0].id, new_id="n", old_label=RIGHT, new_label=WRONG, round=1,
                          votes=[vote], undone=True)
    write_jsonl(RoundFiles(run.run_dir, 1).label_changes, [refined])
    data = samples_of(run)
    assert data.rows[0].votes == [vote] and data.changes[0].undone


def test_a_reply_that_could_not_be_read_is_there_as_it_came(run):
    long = probe(D1[0], WRONG, faults=("bad_json",))
    long.text = "x" * 9_000
    write_jsonl(RoundFiles(run.run_dir, 1).probes, [long, *PROBES[1:]])
    data = samples_of(run)
    assert (len(data.rows[0].text), data.rows[0].faults) == (4_000, ["bad_json"])
    assert data.rows[1].text == ""


def test_what_a_large_round_has_beside_is_said(run, monkeypatch):
    monkeypatch.setattr(samples, "MOST_SAMPLES", 3)
    data = samples_of(run)
    assert [row.round for row in data.rows] == [1, 1, 1, 2, 2, 2] and data.left_out == {1: 2, 2: 2}
    assert "2 further samples of D1 are in its dataset.jsonl only." in left_out(data)
    assert "2 further samples of D2" in page_of(run)


@pytest.mark.parametrize("arguments, expected", [
    ({"city": "Bern", "days": 3}, {"city": '"Bern"', "days": "3"}),
    ({"place": {"city": "Bern", "zip": {"code": None}}, "empty": {}},
     {"place.city": '"Bern"', "place.zip.code": "null", "empty": "{}"}),
    ({"a.b": 1, "a": {"b": 2}}, {'"a.b"': "1", "a.b": "2"}),
    ({"x": 1.0, "y": [True, 1.5, {"b": 2.0, "a": 1}]}, {"x": "1", "y": '[true,1.5,{"a":1,"b":2}]'}),
    ({"id": 9007199254740993}, {"id": "9007199254740993"}),
    ({"a": {"a": {"a": {"a": {"a": {"a": {"a": 1}}}}}}}, {"a.a.a.a.a.a": '{"a":1}'})])
def test_arguments_by_path(arguments, expected):
    assert shown_arguments(arguments) == expected


@pytest.mark.parametrize("a, b", [
    (1, 1.0), (True, 1), ("1", 1), ({"x": 1, "y": 2}, {"y": 2.0, "x": 1.0}), ([1, 2], [2, 1]),
    (9007199254740993, 9007199254740992), ({}, None), ({"x": None}, {}), (0.1, 0.1),
    ("é", "e\u0301")])
def test_arguments_are_equal_where_the_loop_finds_them_equal(a, b):
    one, other = (Message(role="assistant", calls=[Call(name="f", arguments={"v": value})])
                  for value in (a, b))
    is_match = tool_match(one, other) == "match"
    assert (shown_arguments({"v": a}) == shown_arguments({"v": b})) == is_match
