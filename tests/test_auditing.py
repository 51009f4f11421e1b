"""Options that reach labels the policy has learnt: audits of matches, refinement by majority,
medium pass rates."""
from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from msgspec.structs import replace
from loop_world import is_right, loop_config, probed, says, task, weather, world

from dataloop.judgement_label_verification import verify_probes, write_consequences
from dataloop.next_round import parse_arguments, round_supply
from dataloop.verifying.auditing import (
    audited, challenged, majorities, majority, medium_difficulty, refined, without_preference)
from dataloop.verifying.relabel import error_seeds
from looptool.config import Mix, Simulation, Verify
from looptool.json_lines import read_some, write_jsonl
from looptool.records import Draw, LabelChange, Probe, Verdict
from looptool.run_files import RoundFiles
from looptool.simulation.world.truth import truth
from looptool.stages.meta import read_meta

RIGHT, WRONG = says("", weather("Rome")), says("", weather("Oslo"))


def drawn(*draws: tuple[object, int, str], prediction=RIGHT, perplexity: float = 1.5,
          city: str = "Rome") -> Probe:
    probe = probed(task(city, label=says("", weather(city))), prediction, perplexity)
    probe.draws = [Draw(answer=answer, count=count, reason=reason)
                   for answer, count, reason in draws]
    return probe


def test_the_mastered_samples_of_highest_perplexity_are_audited(tmp_path):
    probes = [drawn(city=city, prediction=says("", weather(city)), perplexity=1 + place / 10)
              for place, city in enumerate(("Rome", "Oslo", "Bern", "Ulm"))]
    probes.append(drawn(prediction=WRONG, perplexity=9.0, city="Riga"))
    write_jsonl(tmp_path / "probes.jsonl", probes)
    for share, cities in ((0.0, []), (0.5, ["Bern", "Ulm"]),
                          (1.0, ["Rome", "Oslo", "Bern", "Ulm"])):
        is_audited = audited(tmp_path / "probes.jsonl", share)
        assert [probe.sample.label.calls[0].arguments["city"] for probe in probes
                if is_audited(probe)] == cities


def test_a_label_is_challenged_by_the_most_frequent_other_answer():
    probe = drawn((RIGHT, 3, "match"), (says(""), 2, "malformed"), (WRONG, 1, "wrong_value"))
    other = challenged(probe)
    assert other.prediction == WRONG and other.reason == "wrong_value" and "Oslo" in other.text
    assert probe.prediction == RIGHT and challenged(drawn((RIGHT, 4, "match"))).prediction == RIGHT
    for reason in ("untagged_call", "invented_turn", "empty"):
        assert challenged(drawn((says("?"), 4, reason))).prediction == RIGHT


@pytest.mark.parametrize("given, kept", [("LABEL_WRONG", "UNDECIDED"), ("PRED_WRONG", "UNDECIDED"),
                                         ("BOTH_WRONG", "BOTH_WRONG"),
                                         ("BOTH_CORRECT", "BOTH_CORRECT")])
def test_of_two_equal_answers_none_is_better(given, kept):
    assert without_preference(Verdict(probe=drawn(), verdict=given, votes=[])).verdict == kept
    other = Verdict(probe=drawn(prediction=WRONG), verdict=given, votes=[])
    assert without_preference(other).verdict == given


@pytest.mark.parametrize("draws, answer", [
    (((WRONG, 3, "wrong_value"), (RIGHT, 1, "match")), WRONG),
    (((WRONG, 2, "wrong_value"), (RIGHT, 2, "match")), None), (((RIGHT, 4, "match"),), None),
    (((says(""), 4, "malformed"),), None), ((), None)])
def test_a_majority_is_more_than_half_and_is_not_the_label(draws, answer):
    found = majority(drawn(*draws))
    assert (found and found.answer) == answer


def test_a_label_gives_way_to_a_majority_that_is_stable_over_two_probes():
    now = drawn((WRONG, 3, "wrong_value"), (RIGHT, 1, "match"))
    other = says("", weather("Bern"))
    for before, gives_way in ((WRONG, True), (other, False), (None, False)):
        earlier = [] if before is None else [drawn((before, 4, "wrong_value"))]
        verdict = refined(now, majorities(earlier))
        assert (verdict is not None) == gives_way
    assert refined(now, {now.sample.id: WRONG}).probe.prediction == WRONG


@pytest.mark.parametrize("draws, expected", [
    (((RIGHT, 2, "match"), (WRONG, 2, "wrong_value")), 0.5),
    (((RIGHT, 3, "match"), (WRONG, 1, "wrong_value")), 0.25), (((RIGHT, 4, "match"),), 0.0),
    (((WRONG, 4, "wrong_value"),), 0.0), ((), 0.0)])
def test_a_medium_pass_rate_is_near_one_half(draws, expected):
    assert medium_difficulty(drawn(*draws)) == expected


JUST = Simulation(judge_error=0, judge_first_bias=0, malformed=0)


def judged_round(folder: Path, probes: list[Probe], round: int = 1,
                 mix: Mix = Mix(size=40, high_ppl=40),
                 **verify) -> tuple[list[Verdict], list[LabelChange], list[Probe]]:
    """What a judge who never errs makes of a round: verdicts, label changes,
    high-perplexity samples."""
    config = loop_config(folder, simulation=JUST, verify=Verify(**verify), mix=mix)
    files = RoundFiles(folder, round)
    write_jsonl(files.probes, probes)
    asyncio.run(verify_probes(config, files.probes, files.verdicts, round=round))
    write_consequences(config, files.probes, files.folder, round)
    return tuple(list(read_some(path, kind)) for path, kind in (
        (files.verdicts, Verdict), (files.label_changes, LabelChange), (files.high_ppl, Probe)))


def learnt(count: int) -> list[Probe]:
    """Probes of the simulated world whose policy reproduces every label, wrong ones too."""
    return [probed(probe.sample, probe.sample.label, probe.perplexity)
            for probe in world(count, wrong_labels=0.4)]


def test_an_audit_finds_wrong_labels_that_match_and_keeps_them_out(tmp_path):
    probes = learnt(40)
    wrong = {probe.sample.id for probe in probes if not is_right(probe.sample, probe.sample.label)}
    assert len(wrong) > 5
    verdicts, changes, high = judged_round(tmp_path / "off", probes)
    assert not verdicts and not changes and {probe.sample.id for probe in high} >= wrong
    verdicts, changes, high = judged_round(tmp_path / "on", probes, audit_mastered=1.0)
    assert {verdict.probe.sample.id: verdict.verdict for verdict in verdicts} == {
        probe.sample.id: "BOTH_WRONG" if probe.sample.id in wrong else "BOTH_CORRECT"
        for probe in probes}
    assert not changes and not wrong & {probe.sample.id for probe in high}
    assert len(high) == len(probes) - len(wrong)


def test_an_audit_with_draws_mends_labels_by_the_same_path(tmp_path):
    probes = learnt(40)
    for probe in probes:
        right = says("", *truth(probe.sample.tools, probe.sample.messages).calls)
        if right.calls and not is_right(probe.sample, probe.sample.label):
            probe.draws = [Draw(answer=probe.sample.label, count=3, reason="match"),
                           Draw(answer=right, count=1, reason="wrong_value")]
    challenged_ids = {probe.sample.id for probe in probes if probe.draws}
    _, changes, high = judged_round(tmp_path, probes, audit_mastered=1.0)
    assert {change.old_id for change in changes} == challenged_ids != set()
    assert not challenged_ids & {probe.sample.id for probe in high}


def test_a_label_that_an_audit_confirms_is_no_error_of_the_policy(tmp_path):
    probes = [probed(probe.sample, says("I see.", *now.calls), probe.perplexity)
              for probe in world(40) if is_right(probe.sample, probe.sample.label)
              and (now := truth(probe.sample.tools, probe.sample.messages)).calls]
    for probe in probes:
        assert probe.matches
        call = probe.sample.label.calls[0]
        probe.draws = [Draw(answer=says("", replace(call, arguments={})), count=4,
                            reason="missing_argument")]
    verdicts, changes, high = judged_round(tmp_path, probes, audit_mastered=1.0)
    assert {(found.verdict, found.audited) for found in verdicts} == {("PRED_WRONG", True)}
    counts = Counter()
    assert not list(error_seeds(verdicts, 1, counts)) and not changes
    assert counts == {"label_confirmed": len(probes)} and len(high) == len(probes) > 9
    assert read_meta(RoundFiles(tmp_path, 1).verdicts).counts["label_confirmed"] == len(probes)


@pytest.mark.parametrize("option, kept", [({"label_refinement": True}, False),
                                          ({"audit_mastered": 0.5}, False), ({}, True)])
def test_a_refuted_label_does_not_fill_up_the_next_dataset(tmp_path, monkeypatch, option, kept):
    wrong = drawn((WRONG, 4, "wrong_value"))
    files = RoundFiles(tmp_path, 1)
    for path in (files.error_seeds, files.expanded, files.high_ppl, tmp_path / "seed.jsonl"):
        write_jsonl(path, [])
    write_jsonl(files.dataset, [wrong.sample])
    write_jsonl(files.probes, [wrong])
    write_jsonl(files.verdicts, [refined(wrong, {wrong.sample.id: WRONG})])
    monkeypatch.setattr("sys.argv", ["next_round.py"])
    config = loop_config(tmp_path, verify=Verify(**option), mix=Mix(size=4))
    supply, sources = round_supply(parse_arguments(), config, files)
    assert (len(supply.mastered) == 1) == kept and (files.verdicts in sources) != kept


def test_refinement_replaces_labels_without_a_judge(tmp_path):
    now = drawn((WRONG, 3, "wrong_value"), (RIGHT, 1, "match"))
    write_jsonl(RoundFiles(tmp_path, 1).probes, [now])
    verdicts, changes, _ = judged_round(tmp_path, [now], round=2, label_refinement=True)
    assert [(verdict.verdict, verdict.votes[0].judge)
            for verdict in verdicts] == [("LABEL_WRONG", "refinement")]
    assert [change.new_label.calls for change in changes] == [WRONG.calls]
    verdicts, _, _ = judged_round(tmp_path / "first", [now], round=1, label_refinement=True)
    assert not verdicts  # there is no earlier probe


def test_samples_of_medium_pass_rate_take_their_share_of_the_high_perplexity_ones(tmp_path):
    rates = {"Rome": 0, "Oslo": 1, "Bern": 2, "Ulm": 3, "Riga": 4}
    probes = [drawn((says("", weather(city)), passed, "match"), (says(""), 4 - passed, "no_call"),
                    city=city, prediction=says("", weather(city)), perplexity=1 + place / 10)
              for place, (city, passed) in enumerate(rates.items())]
    for share, cities in ((0.0, ["Riga", "Ulm"]), (0.5, ["Bern", "Riga"]), (1.0, ["Bern", "Ulm"])):
        *_, high = judged_round(tmp_path / str(share), probes,
                                mix=Mix(size=40, high_ppl=2, medium_difficulty_share=share))
        found = [probe.sample.label.calls[0].arguments["city"] for probe in high]
        assert found[0] == cities[0] and set(found) <= {*cities, "Oslo"} and len(found) == 2
