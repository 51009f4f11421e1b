"""The report of a run: figures counted by hand, a page that holds no foreign markup, runs that are
not finished."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from report_world import (
    D1, HELDOUT, OTHER, PROBES, RIGHT, UNSPOKEN, WORLD, WRONG, change, config, known,
    page_of, probe, sample, samples_of, small_run, verdict)

from dataloop import report as script
from dataloop.reporting import measures
from dataloop.reporting.charts import accuracy_chart
from dataloop.reporting.figures import HeldoutFigures, Rate, Report, RoundFigures
from dataloop.reporting.files import read_report
from dataloop.reporting.page.render import render_page
from dataloop.reporting.rows import NOT_YET
from dataloop.reporting.table import TOTAL_WIDTH, make_table, render_text
from looptool.charts.svg import BOTTOM, HEIGHT, TOP
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.json_lines import write_jsonl
from looptool.records import Draw, Message
from looptool.run_files import RoundFiles

# Figures


@pytest.fixture
def run(tmp_path: Path) -> Config:
    return small_run(tmp_path)


def test_figures_of_a_run_counted_by_hand(run):
    report = read_report(run, WORLD, "command")
    first = report.rounds[0]
    assert [figures.number for figures in report.rounds] == [1] and report.next.number == 2
    noise = first.dataset.noise
    assert (noise.hits, noise.total, noise.unknown, noise.share) == (1, 4, 1, 0.25)
    assert (first.dataset.mix == {"seed": 5}
            and report.next.dataset.mix == {"high_ppl": 1, "expanded": 3, "seed": 1})
    assert (report.next.dataset.noise.share == 0.2
            and report.next.dataset.left_out == {"duplicate": 7})
    assert report.next.dataset.noise_by_origin["expanded"].hits == 1
    training = first.training
    assert (training.steps, training.first, training.last) == (5, pytest.approx(0.2),
                                                               pytest.approx(0.4))
    assert report.before.heldout.accuracy.share == 0.25 and report.before.heldout.gain is None
    # the one with a fault has the right calls, and is wrong
    assert first.heldout.accuracy.share == 0.75
    gain = first.heldout.gain
    assert (gain.tasks, gain.better, gain.worse, gain.share) == (4, 2, 0, 0.5)
    assert first.probes.reasons == {"wrong_value": 4,
                                    "match": 1} and first.probes.high_ppl_cut == 1.2
    assert first.probes.cases == {"no_think": 5}
    assert sum(first.probes.histogram.mastered) == 1 and sum(first.probes.histogram.mismatched) == 4
    assert first.seconds == {"json2parquet": 1.0, "verify": 1.5, "expand": 2.5}
    assert report.before.seconds == {"probe held-out": 0.5}
    assert first.usage["generator"]["prompt_tokens"] == 4000


def test_judge_and_expansion_counted_by_hand(run):
    first = read_report(run, WORLD, "command").rounds[0]
    verdicts = first.verdicts
    assert verdicts.verdicts == {"PRED_WRONG": 1, "LABEL_WRONG": 2, "UNDECIDED": 1}
    assert verdicts.unjudged == 1
    assert (verdicts.right.hits, verdicts.right.total) == (2, 3)  # the label of PROBES[2] was right
    assert verdicts.confusion == {"PRED_WRONG": {"PRED_WRONG": 1, "LABEL_WRONG": 1},
                                  "LABEL_WRONG": {"LABEL_WRONG": 1}}
    votes = verdicts.votes_label_first
    assert (votes.hits, votes.total, votes.unknown) == (2, 3, 1)
    assert (first.replaced.labels, first.replaced.right.hits,
            first.replaced.needed.hits) == (2, 1, 1)
    assert first.expansion.seeds == {"mispredicted": 1, "relabeled": 2}
    assert (first.expansion.accepted, first.expansion.right.hits) == (3, 2)
    assert first.expansion.outcomes == {"accepted": 3, "unjudged": 1}


def test_blind_spot_and_kinds_counted_by_hand(run):
    first = RoundFiles(run.run_dir, 1)
    learnt = probe(D1[3], WRONG)
    assert learnt.matches  # a wrong label that the policy reproduces: nobody judges it
    write_jsonl(first.probes, [*PROBES[:3], learnt, PROBES[4], probe(sample("g", OTHER), RIGHT)])
    report = read_report(run, WORLD, "command")
    figures = report.rounds[0]
    spot = figures.blind_spot
    assert (spot.mastered.hits, spot.mastered.total) == (1, 2)
    assert (spot.reproduced.hits, spot.reproduced.total) == (1, 2)
    rules = {name: (rule.labels, rule.reproduced, rule.verdicts) for name,
             rule in spot.rules.items()}
    assert rules == {"capital": (1, 1, {"LABEL_WRONG": 1}), "other": (1, 0, {})}
    assert figures.dataset.noise_by_rule == {"capital": 1}
    counted = {name: msgspec.structs.astuple(kind) for name, kind in figures.kinds.items()}
    assert counted == {"first": (1, 0, 1, 0, 0), "rare": (1, 1, 1, 1, 0), "other": (4, 1, 0, 2, 3)}
    assert report.before.heldout.by_kind["other"].share == 0.25
    text = text_of(report)
    assert line_of(text, "wrong labels among the mastered") == ["50.0%", "of", "2"]
    assert line_of(text, "capital") == ["1", "of", "1"]
    assert line_of(text, "kinds of error seeds that EE covers") == ["1", "of", "2"]
    assert line_of(text, "rare: error seeds -> new") == ["1", "->", "0"]


@pytest.mark.parametrize("confusion, kappa", [({"PRED_WRONG": {"PRED_WRONG": 45, "LABEL_WRONG": 15},
                                                "LABEL_WRONG": {"PRED_WRONG": 25,
    "LABEL_WRONG": 15}}, 0.1304), ({"PRED_WRONG": {"PRED_WRONG": 3, "UNDECIDED": 9},
                                    "LABEL_WRONG": {"LABEL_WRONG": 3}}, 1.0),
                                              ({"PRED_WRONG": {"LABEL_WRONG": 4},
                                                "LABEL_WRONG": {"PRED_WRONG": 4}}, -1.0),
                                              ({"PRED_WRONG": {"PRED_WRONG": 9}}, None),
                                              ({"PRED_WRONG": {"UNDECIDED": 1}}, None), ({}, None)])
def test_kappa_is_cohens(confusion, kappa):
    assert measures.kappa(confusion) == (None if kappa is None else pytest.approx(kappa, abs=1e-4))


def test_every_verdict_is_held_against_what_it_should_be():
    cases = [("PRED_WRONG", RIGHT, WRONG), ("LABEL_WRONG", WRONG, RIGHT),
             ("BOTH_WRONG", WRONG, OTHER), ("BOTH_CORRECT", RIGHT, RIGHT)]
    given = [verdict(probe(sample(name, label), prediction), name)
             for name, label, prediction in cases]
    figures, _ = measures.verdict_figures(given, [], known)
    assert figures.right.share == 1
    assert figures.confusion == {name: {name: 1} for name, _, _ in cases}


def test_undecided_verdicts_are_no_verdicts_but_their_votes_count():
    split = verdict(probe(D1[0], WRONG), "UNDECIDED", "PRED_WRONG", "LABEL_WRONG")
    figures, _ = measures.verdict_figures([split], [], known)
    assert (figures.right.total == figures.right.unknown == 0
            and figures.confusion == {"PRED_WRONG": {"UNDECIDED": 1}})
    assert (figures.votes_label_first.share, figures.votes_prediction_first.share) == (1, 0)


def test_kappa_and_votes_are_of_judges_that_judge_mismatches():
    cases = [("PRED_WRONG", RIGHT, WRONG), ("LABEL_WRONG", WRONG, RIGHT),
             ("LABEL_WRONG", RIGHT, WRONG)]
    given = [verdict(probe(sample(f"{name}{place}", label), prediction), name, name, name)
             for place, (name, label, prediction) in enumerate(cases)]
    alone, _ = measures.verdict_figures(given, [], known)
    assert alone.kappa == pytest.approx(0.4) and alone.votes_label_first.total == 3
    others = []
    for place, judge in enumerate(("refinement", "none")):
        other = verdict(probe(sample(judge, RIGHT), WRONG), "LABEL_WRONG", "LABEL_WRONG")
        other.votes[0].judge = judge
        others.append(other)
    audits = [msgspec.structs.replace(verdict(probe(sample(name, RIGHT), WRONG), name, name, name),
                                      audited=True) for name in ("PRED_WRONG", "LABEL_WRONG")]
    figures, _ = measures.verdict_figures([*given, *others, *audits], [], known)
    assert (figures.kappa, figures.votes_label_first) == (alone.kappa, alone.votes_label_first)
    assert figures.verdicts == {"PRED_WRONG": 1, "LABEL_WRONG": 5, "LABEL_CONFIRMED": 1}
    assert figures.right.total == 6 and figures.confusion["PRED_WRONG"] == {"PRED_WRONG": 1,
                                                                            "LABEL_WRONG": 4}


def test_a_replaced_label_may_have_been_wrong_and_stay_wrong():
    wrong_for_wrong = verdict(probe(D1[3], OTHER), "LABEL_WRONG", "LABEL_WRONG")
    _, replaced = measures.verdict_figures([wrong_for_wrong], [change(wrong_for_wrong)], known)
    assert (replaced.labels, replaced.right.share, replaced.needed.share) == (1, 0, 1)


def test_intervals_are_wilsons():
    rate = measures.rate(Counter({True: 8, False: 2, None: 5}))
    assert (rate.share, rate.total, rate.unknown) == (0.8, 10, 5)
    assert (rate.low, rate.high) == (pytest.approx(0.4902, abs=1e-4),
                                     pytest.approx(0.9433, abs=1e-4))
    assert measures.rate(Counter()).share is None
    for count in range(1, 50):
        assert (measures.rate(Counter({True: count})).high == 1
                and measures.rate(Counter({False: count})).low == 0)


def test_gain_counts_only_tasks_with_a_known_truth():
    gain = measures.paired_gain({"a": False, "b": None, "c": True, "d": True},
                                {"a": True, "b": True, "c": False, "e": True})
    assert (gain.tasks, gain.better, gain.worse, gain.share) == (2, 1, 1, 0)
    assert measures.paired_gain({}, {"a": True}) is None


@pytest.mark.parametrize("perplexities", [[1.0], [1.0] * 5, [1.0, 1.5, 400.0], []])
def test_any_perplexities_make_a_histogram_or_none(perplexities):
    figures = measures.probe_figures([probe(D1[0], RIGHT, value) for value in perplexities], [])
    assert (sum(figures.histogram.mastered) == len(perplexities) if perplexities
            else figures.histogram is None)


@pytest.mark.parametrize("perplexities, cut", [
    ([3.0, 2.0], 2.0), ([1.1, 3.0, 2.0], None), ([], None)])
def test_where_the_pass_rate_chose_too_the_high_perplexity_has_no_cut(perplexities, cut):
    high = [probe(D1[0], RIGHT, value) for value in perplexities]
    assert measures.probe_figures(high, high).high_ppl_cut == cut


@pytest.mark.parametrize("static", [0.0, 0.9])
def test_static_training_has_its_place_in_the_chart(static):
    def share(value: float) -> Rate:
        return Rate(hits=0, total=9, unknown=0, share=value, low=value, high=value)

    heldout = HeldoutFigures(accuracy=share(0.5), static=share(static))
    chart = accuracy_chart([RoundFigures(number=1, heldout=heldout)])
    dot = float(re.search(r'<circle[^>]*class="step"[^>]*>',
                          chart)[0].split('cy="')[1].split('"')[0])
    assert TOP <= dot <= HEIGHT - BOTTOM and f">static {static:.1%}<" in chart


def test_drawn_replies_give_pass_at_1_and_at_k():
    probes = [probe(task, RIGHT) for task in D1[:3]]
    for drawn, passed in zip(probes, (0, 1, 4), strict=True):
        drawn.draws = [Draw(answer=RIGHT, count=passed, reason="match"),
                       Draw(answer=WRONG, count=4 - passed, reason="wrong_value")]
    figures = measures.probe_figures(probes, [])
    assert (figures.drawn, figures.pass_at_1, figures.pass_at_k.share) == (4, pytest.approx(5 / 12),
        2 / 3)
    assert measures.probe_figures([probe(D1[0], RIGHT)], []).pass_at_k is None


def test_training_without_a_reward_yet_is_not_yet():
    assert measures.training_figures([]) is None
    assert measures.training_figures([{"val/score": 1.0}]) is None
    assert measures.training_figures([{"critic/score/mean": 0.5}]).averaged == 1


# Table and page


def text_of(report: Report) -> str:
    return "\n".join(render_text(make_table(report)))


def line_of(text: str, label: str) -> list[str]:
    """The words of the first line that begins with `label`, without it."""
    line = next(line for line in text.splitlines() if line.strip().startswith(label))
    return line.replace(label, "", 1).split()


def test_table_shows_the_figures_and_calls_them_simulated(run):
    text = text_of(read_report(run, WORLD, "command"))
    assert line_of(text, "label noise: wrong labels") == ["25.0%", "of", "4", "20.0%", "of", "5"]
    assert line_of(text, "truth unknown, left out") == ["1", "0"]
    assert line_of(text, "reward, first 3 -> last 3 steps") == ["0.20", "->", "0.40"]
    assert line_of(text, "accuracy") == ["25.0%", "of", "4", "75.0%", "of", "4"]
    assert line_of(text, "LABEL_WRONG") == ["2", "(1", "right)"]
    assert line_of(text, "new samples accepted") == ["3"]
    assert line_of(text, "of them, label right") == ["66.7%", "of",
                                                     "3"] and line_of(text, "BOTH_WRONG") == ["0"]
    assert line_of(text, "generator") == ["4", "(4600)"]
    assert NOT_YET not in text
    for word in ("Dataset", "Held-out", "Judgement", "Expansion", "LoopTool"):
        assert "SIMULATED" in next(line for line in text.splitlines()
                                   if line.startswith(word)), word
    assert max(map(len, text.splitlines())) <= TOTAL_WIDTH


def test_static_training_stands_beside(run, tmp_path):
    static = RoundFiles(tmp_path / "static", 1)
    with pytest.raises(InputError, match="holds no static training with a round"):
        read_report(run, WORLD, "command", tmp_path / "static")
    write_jsonl(static.heldout_probes,
                [probe(HELDOUT[0], RIGHT), *(probe(task, WRONG) for task in HELDOUT[1:])])
    report = read_report(run, WORLD, "command", tmp_path / "static")
    assert line_of(text_of(report), "static training") == ["25.0%", "of", "4"]
    page = render_page(report, make_table(report), samples_of(run))
    # steps, and this
    assert "pale: static training" in page and page.count('class="step"') == 5 + 1
    assert "static training" not in text_of(read_report(run, WORLD, "command"))


def test_many_rounds_stay_within_the_width(run, tmp_path):
    report = read_report(run, WORLD, "command")
    report.rounds = [msgspec.structs.replace(report.rounds[0], number=number)
                     for number in range(1, 10)]
    text = text_of(report)
    assert max(map(len, text.splitlines())) <= TOTAL_WIDTH
    assert all(f"round {number}" in text for number in range(1, 10))


class Page(HTMLParser):
    """Reads a page; remembers tags, attributes and whether all that was opened is closed."""

    VOID = {"meta", "br", "input"}

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.text, self._open = Counter(), [], "", []
        self.feed(page)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self._open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data):
        self.text += data


def test_page_is_whole_and_needs_nothing_from_outside(run):
    text = page_of(run)
    page = Page(text)
    assert page.tags["svg"] == 5 and page.tags["script"] == 2  # the page's own, and the samples
    assert not {"img", "link", "iframe", "object", "a"} & set(page.tags)
    assert not {name for name, _ in page.attributes} & {"src", "href", "action", "xlink:href",
                                                        "srcset"}
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    style = text[text.index("<style>"):text.index("</style>")]
    assert "url(" not in style and "@import" not in style
    assert not [word for word in ("http:", "https:", "fetch(", "innerHTML")
                if word in script_of(text)]


def script_of(page: str) -> str:
    return page[page.index("<script>"):page.index("</script>")]


def test_what_a_model_wrote_stays_text(run):
    page = Page(page_of(run))
    assert "evil.example" not in json.dumps(page.attributes)
    assert page.text.count('<script>alert("x")</script>') >= 2  # note, settings
    assert "{{table}}" in page.text  # a value is not filled in again
    assert page.tags["table"] == 10


def test_real_run_has_no_columns_of_truth(run):
    report = read_report(run, None, "command")
    text, page = text_of(report), page_of(run, None)
    for shown in (text, page[page.index("<main>"):page.index('<script id="samples"')]):
        assert not [word for word in ("SIMULATED", "noise", " right)", "label right", "✓")
                    if word in shown]
    # against the labels
    assert line_of(text, "accuracy") == ["25.0%", "of", "4", "75.0%", "of", "4"]
    assert line_of(text, "LABEL_WRONG") == ["2"]


# Unfinished runs, and the script


def test_unfinished_run_says_not_yet(tmp_path):
    write_jsonl(RoundFiles(tmp_path, 1).dataset, D1)
    report = read_report(config(tmp_path, rounds=4), WORLD, "command")
    text = text_of(report)
    for label in ("reward, first 3 -> last 3 steps", "accuracy", "mastered: equal to the label",
                  "mismatches judged", "labels replaced", "new samples accepted"):
        assert line_of(text, label) == NOT_YET.split(), label
    page = Page(page_of(config(tmp_path)))
    assert report.next is None and page.tags["svg"] == 2 and "D1 to D1" not in page.text


def test_files_without_records_are_none_found_rather_than_not_yet(run):
    first = RoundFiles(run.run_dir, 1)
    for path in (first.verdicts, first.label_changes, first.error_seeds, first.expanded):
        path.write_bytes(b"")
    report = read_report(run, WORLD, "command")
    text = text_of(report)
    assert line_of(text, "mismatches judged") == line_of(text, "labels replaced") == ["0"]
    assert line_of(text, "decided verdicts that are right") == ["none"]
    Page(page_of(run))


def test_dataset_after_the_plan_is_a_round_as_soon_as_it_is_trained(run):
    files = RoundFiles(run.run_dir, 2)
    files.training.mkdir()
    (files.training / "metrics.jsonl").write_text('{"step": 1, "data": {"critic/sco')
    with pytest.raises(InputError, match="metrics.jsonl:1"):
        read_report(run, WORLD, "command")
    (files.training / "metrics.jsonl").write_text("")
    report = read_report(run, WORLD, "command")
    assert len(report.rounds) == 2 and report.next is None and report.rounds[1].training is None


def test_without_a_dataset_the_error_names_the_step(tmp_path):
    with pytest.raises(InputError, match=r"round_1/dataset.jsonl.*03_make_samples.sh"):
        read_report(config(tmp_path), WORLD, "command")


def test_damaged_line_is_named(run):
    with RoundFiles(run.run_dir, 1).verdicts.open("ab") as file:
        file.write(b'{"probe": ')
    with pytest.raises(InputError, match="verdicts.jsonl:5"):
        read_report(run, WORLD, "command")


def test_damaged_manifest_is_named(run):
    (RoundFiles(run.run_dir, 2).folder / "dataset.meta.json").write_text("{")
    with pytest.raises(InputError, match="dataset.meta.json"):
        read_report(run, WORLD, "command")


def test_script_writes_page_and_figures(run, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv",
                        ["report.py", "--set", f"run_dir={run.run_dir}", "--set", "rounds=1"])
    script.main()
    folder = Path(run.run_dir)
    report = msgspec.json.decode((folder / "report.json").read_bytes(), type=Report)
    assert report.simulated and len(report.rounds) == 1 and report.rounds[0].dataset.samples == 5
    assert ("SIMULATED" in capsys.readouterr().out
            and "SIMULATED" in (folder / "report.html").read_text())


def test_simulation_is_known_in_process_and_over_http():
    laptop = load_config(ROOT / "configs" / "laptop.yaml")
    assert laptop.teacher.is_simulated
    laptop.teacher.base_urls = ["http://127.0.0.1:8000/v1"]
    assert laptop.teacher.is_simulated
    laptop.teacher.models = ["Qwen3-32B"]
    assert not laptop.teacher.is_simulated


def test_truth_of_the_simulation_knows_its_own_tasks():
    from looptool.simulation.heldout import heldout_samples

    world = script.simulated_world()
    for task in heldout_samples(14):
        assert world.right(task, task.label) is True
        more = Message(role="assistant", calls=[*task.label.calls, RIGHT.calls[0]])
        assert world.right(task, more) is False and world.rule(task, more) is None
        assert f"simulation:{world.kind(task)}" == task.source
        if len(task.label.calls) == 2:
            one = Message(role="assistant", calls=task.label.calls[:1])
            assert world.rule(task, one) == "one_by_one"
    assert world.right(sample(UNSPOKEN), RIGHT) is world.kind(sample(UNSPOKEN)) is None


def test_shell_script_from_another_folder(tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(["bash", str(ROOT / "scripts" / "11_report.sh"), "--set",
                           f"run_dir={tmp_path}/none"],
                          cwd=tmp_path, env=os.environ | {"PATH": path}, capture_output=True,
                          text=True)
    assert (done.returncode == 2 and len(done.stderr.splitlines()) == 1
            and "03_make_samples.sh" in done.stderr)
    assert not (tmp_path / "none").exists()
