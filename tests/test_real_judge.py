"""What is read from a judge's votes: by one order, by both; kappa; preference for a place."""
from __future__ import annotations

from argparse import Namespace

from loop_world import is_right, world

from benchmarks.real_judge import (
    drawn, figures, first_place, report, shown, true_verdict)
from dataloop.verifying.judge import agreed
from looptool.json_lines import write_jsonl
from looptool.models.completion import Usage
from looptool.records import Verdict, Vote
from looptool.stages.meta import StageMeta

PROBES = [probe for probe in world(400) if not probe.matches]


def judged(says) -> list[Verdict]:
    """Verdicts of a judge that says `says(probe, label_first)`."""
    made = []
    for probe in PROBES:
        votes = [Vote(verdict=says(probe, first), label_first=first, judge="m", draw=0, analysis="",
                      approach="") for first in (True, False)]
        made.append(Verdict(probe=probe, verdict=agreed(votes), votes=votes))
    return made


def truth(probe, label_first: bool = True) -> str | None:
    return true_verdict(probe, is_right)


def the_first(probe, label_first: bool) -> str:
    return "PRED_WRONG" if label_first else "LABEL_WRONG"


def test_a_judge_that_knows_is_right_in_every_reading() -> None:
    for row in figures(judged(truth), is_right).values():
        assert row["decided"] == row["right"] == [len(PROBES)] * 2 and row["kappa"] == 1
        assert row["LABEL_WRONG right"][0] == row["LABEL_WRONG right"][1] > 20


def test_a_judge_that_takes_the_first_decides_nothing_in_both_orders() -> None:
    verdicts = judged(the_first)
    rows, (first, votes) = figures(verdicts, is_right), first_place(verdicts)
    assert first == votes == 2 * len(PROBES)
    assert rows["both agree"]["decided"] == [0, len(PROBES)] and rows["both agree"]["kappa"] is None
    assert rows["label first"]["kappa"] == 0
    assert rows["prediction first"]["LABEL_WRONG right"][1] == len(PROBES)


def test_mismatches_whose_votes_were_cut_are_unjudged_too(capsys) -> None:
    meta = StageMeta(stage="verify", settings={}, sources={}, version="1", inputs=9, failed=0,
                     failures={}, records=4, counts={"unjudged": 2, "judge_cut": 3},
                     usage={"judge": Usage()}, seconds=1)
    report(Namespace(model="m", structured="on", max_tokens=9), [], [], meta, is_right)
    assert "5 unjudged; 0 calls" in capsys.readouterr().out


def test_mismatches_of_known_truth_are_drawn_once_and_always_the_same(tmp_path) -> None:
    path = tmp_path / "probes.jsonl"
    write_jsonl(path, world(400))
    some = drawn([path, path], 50, is_right)
    assert len(some) == 50 and some == drawn([path], 50, is_right)
    assert not any(probe.matches for probe in some)
    assert len(drawn([path], 10_000, is_right)) == sum(truth(probe) is not None for probe in PROBES)
    assert shown(1, 2).startswith("50.0% of 2 (9.5-90.5)") and shown(0, 0) == "-"
