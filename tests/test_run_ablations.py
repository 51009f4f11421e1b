"""The runs of Table 4: what variants share, results, and the tables; the loops themselves run in
test_whole_loop.py."""
from __future__ import annotations

import re
import statistics
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from argparse import Namespace
from pathlib import Path

import msgspec
import pytest

from dataloop.ablations import run as run_ablations
from dataloop.ablations.results import Result, Runs, by_world, read_results, result_of
from dataloop.ablations.run import copy_beginning, run_variant, settings_of, student_size
from dataloop.ablations.table_4 import (
    T_95, blind_spots, data_quality, figure_2, figure_3, interval, kinds, picture, table_4)
from dataloop.ablations.variants import TABLE_4, VARIANTS, WORLDS, Variant, world_of
from dataloop.ablations.worlds import bars, corner_lines, curves
from dataloop.reporting.figures import (
    DatasetFigures, ExpansionFigures, HeldoutFigures, Rate, ReplacedFigures, Report, RoundFigures)
from looptool.charts.paper_figures import BY_ROUND, FULL
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError

LAPTOP = ROOT / "configs" / "laptop.yaml"
REAL_RUN = subprocess.run


def result(variant: str, seed: int, *accuracies: float, **more) -> Result:
    return Result(**{"variant": variant, "seed": seed, "settings": "s", "student": "3.1M",
                     "accuracies": list(accuracies), "noise": [16.0, 6.0 + seed]} | more)


def test_every_variant_has_the_papers_figures():
    assert set(BY_ROUND) == set(TABLE_4) and all(len(figures) >= 4 for figures in BY_ROUND.values())


def test_interval_is_students():
    values = [50.0, 52.0, 57.0]
    assert interval(values) == f"53.0 ± {4.303 * statistics.stdev(values) / 3 ** 0.5:.1f}"
    assert interval([4.0]) == "4.0" and interval([4.0], "+") == "+4.0" and interval([]) == "-"
    # 11 degrees of freedom
    assert all(T_95[count] > T_95[count + 1] for count in range(2, 30)) and T_95[12] == 2.201
    assert interval([*range(30)]) == f"14.5 ± {2.045 * statistics.stdev(range(30)) / 30 ** 0.5:.1f}"
    with pytest.raises(InputError, match="31 seeds: intervals are known for up to 30"):
        interval([*range(31)])


def make_run(folder: Path) -> Path:
    for name in ("answers.sqlite", "seed.jsonl", "report.json", "report.html",
                 "round_0/policy_probes.jsonl", "round_1/probes.jsonl",
                 "round_1/heldout_probes.jsonl", "round_1/policy/model.safetensors",
                 "round_1/verdicts.jsonl", "round_2/dataset.jsonl"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_variants_share_all_up_to_the_probes(tmp_path):
    copy_beginning(make_run(tmp_path / "full"), tmp_path / "static", Variant("static"))
    copied = sorted(str(path.relative_to(tmp_path / "static"))
                    for path in (tmp_path / "static").rglob("*") if path.is_file())
    assert copied == ["answers.sqlite", "round_0/policy_probes.jsonl",
                      "round_1/heldout_probes.jsonl", "round_1/policy/model.safetensors",
                      "round_1/probes.jsonl", "seed.jsonl"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_variant_that_probes_otherwise_shares_the_training_only(tmp_path):
    variant = Variant(settings=("probe.samples=4",))
    copy_beginning(make_run(tmp_path / "full"), tmp_path / "other", variant)
    names = {path.name for path in (tmp_path / "other").rglob("*") if path.is_file()}
    assert names == {"answers.sqlite", "model.safetensors", "seed.jsonl", "policy_probes.jsonl",
                     "heldout_probes.jsonl"}


def test_a_variant_is_the_loop_with_its_settings(tmp_path, monkeypatch):
    args = Namespace(config="c.yaml", overrides=["a.b=1"], rounds=3)
    folder = tmp_path / "ablations" / "random_shared" / "no_edde_seed1"
    make_run(tmp_path / "ablations" / "random_shared" / f"{FULL}_seed1")
    asked = []

    def loop(command, stdout, **_):
        asked.append(command)
        return type("Ended", (), {"returncode": len(asked) - 1})

    monkeypatch.setattr(run_ablations.subprocess, "run", loop)
    run_variant(args, folder, "random_shared", "no_edde", 1)
    given = [word for word in asked[0][2:] if word != "--set"]
    assert given == ["--same-config", "--config", "c.yaml", "a.b=1", "simulation.noise=random",
                     "simulation.judge_shares_blind_spots=true", "ablation=no_edde", "seed=1",
                     "rounds=3", f"run_dir={folder}"]
    assert (folder / "round_1" / "probes.jsonl").exists()
    with pytest.raises(InputError,
                       match=r"no_edde_seed1: the loop has ended with an error; see "
                             r".*no_edde_seed1.log"):
        run_variant(args, folder, "real", "no_edde", 1)


def one_world(*results: Result) -> Runs:
    return by_world(results)["real"]


RUNS = one_world(*[result(FULL, 0, 40, 50, 52), result(FULL, 1, 42, 51, 55),
                   result("static", 0, 40, 50, 51, replaced=(3, 4)),
                   result("static", 1, 42, 51, 53), result("no_edde", 1, 42, 50, 50),
                   result(FULL, 2, 41, 49)])


def test_table_4_takes_differences_seed_by_seed_and_what_is_there():
    head, full, no_edde, static = table_4(RUNS, 2)
    assert head.split()[:5] == ["variant", "seeds", "start", "round", "1"]
    assert (full.split()[:3] == ["full", "loop", "3"] and "53.5 ± 19.1" in full
            and full.endswith("65.19 / 71.20 / 73.00"))
    assert "-1.5 ± 6.4" in static and static.endswith("65.19 / 71.20 / 73.30, +0.30")
    assert (no_edde.split()[:2] == ["no_edde", "1"] and " -5.0 " in no_edde
            and no_edde.endswith("- / - / 71.50, -1.50"))


def test_data_and_figures_as_text():
    quality = list(data_quality(RUNS))
    assert "16.0 ± 0.0, 7.0 ± 2.5" in quality[1] and "3 of 4 (75.0%)" in quality[-1]
    last = list(figure_2(RUNS, 2))[-1]
    assert (last.split()[:2] == ["round", "2"] and "+1.5 ± 6.4" in last
            and last.endswith("73.00, 73.30, -0.30"))
    other = one_world(result(FULL, 0, 1, 2, 21))
    lines = [line.split() for line in figure_3([("random", RUNS), ("systematic", other)])]
    assert lines[:2] == [["3.1M", "+3.0", "±", "12.7", "random"], ["3.1M", "+19.0", "systematic"]]


def test_figure_2_is_a_picture():
    drawn = ElementTree.fromstring(picture(RUNS, 2, "SIMULATED <tasks>"))
    lines = drawn.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert [len(line.get("points").split()) for line in lines] == [3, 3, 5, 5]
    assert "SIMULATED <tasks>" in "".join(drawn.itertext())
    assert ElementTree.fromstring(picture(one_world(result("no_edde", 0, 1, 2)), 1,
                                          "tasks")) is not None


def told(variant: str, seed: int, *accuracies: float, world: str = "systematic", **more) -> Result:
    return result(variant, seed, *accuracies, world=world, mastered_wrong=[(1, 10), (3, 10)],
                  kappa=[0.5, None], reproduced=[(1, 4), (3, 4)],
                  by_kind={"ask": [10.0, 20.0, accuracies[-1]]}, **more)


TOLD = by_world([*(told(FULL, seed, 40, 50, 58 + seed, error_seeds={"ask": [4, 2]},
                        expanded_by_kind={"ask": [8, 6]}) for seed in range(3)),
                 *(told("static", seed, 40, 50, 50) for seed in range(3)),
                 *(told(FULL, seed, 40, 50, 50 + 9 * seed, world="random") for seed in range(3)),
                 *(told("static", seed, 40, 50, 50, world="random") for seed in range(3))])


def test_what_a_known_truth_shows_is_told_by_variant_and_kind():
    assert ["10.0,", "30.0", "25.0,", "75.0",
            "0.50"] == list(blind_spots(TOLD["systematic"]))[1].split()[2:]
    line = list(kinds(TOLD["systematic"], 2))[1]
    assert line.split() == ["ask", "10.0", "59.0", "±", "2.5", "50.0", "±", "0.0", "+9.0", "±",
                            "2.5", "4.0", "->", "8.0,", "2.0", "->", "6.0"]


def test_worlds_stand_side_by_side_and_what_shows_nothing_is_pale():
    lines = list(corner_lines(TOLD, 2))
    assert "+9.0 ± 2.5" in next(line for line in lines
                                if line.startswith("systematic errors, judge i"))
    assert "+9.0 ± 22.4" in next(line for line in lines
                                 if line.startswith("errors at random, judge i"))
    drawn = ElementTree.fromstring(bars(TOLD, 2))
    drawn_bars = drawn.iter("{http://www.w3.org/2000/svg}rect")
    assert [bar.get("opacity") for bar in drawn_bars] == ["1", "0.35"]
    assert "+9.0 ± 2.5" in "".join(drawn.itertext()) and "SIMULATED" in "".join(drawn.itertext())
    panels = ElementTree.fromstring(curves(TOLD, 2)).findall("{http://www.w3.org/2000/svg}g")
    assert len(panels) == 2 and not list(corner_lines({"real": RUNS}, 2))


def test_a_world_is_named_by_its_config():
    for world, settings in WORLDS.items():
        config = load_config(LAPTOP, list(settings))
        assert world_of(config) == world
        real = ["teacher.base_urls=[http://localhost:8000/v1]", "teacher.models=[Qwen3-32B]"]
        assert world_of(load_config(LAPTOP, [*settings, *real])) == "real"
        assert settings_of(config) == settings_of(load_config(LAPTOP))


def test_every_variant_can_be_configured():
    for variant in VARIANTS.values():
        assert load_config(LAPTOP, [f"ablation={variant.ablation}", *variant.settings])


@pytest.mark.parametrize("override, same", [("simulation.noise=systematic", True),
                                            ("simulation.rule_share=0.5", False),
                                            ("teacher.in_flight=7", True),
                                            ("probe.in_flight=7", True),
                                            ("train.gpus_per_node=4", True),
                                            ("probe.replicas=4", True),
                                            ("train.learning_rate=0.5", False),
                                            ("probe.dtype=bfloat16", False),
                                            ("teacher.models=[o]", False)])
def test_results_of_several_machines_stand_in_one_table(override, same):
    assert (settings_of(load_config(LAPTOP))
            == settings_of(load_config(LAPTOP, [override]))) == same


def test_the_address_of_a_teacher_tells_no_results_apart_unless_it_is_simulated():
    one, other, simulated = (
        settings_of(load_config(LAPTOP, ["teacher.models=[m]", f"teacher.base_urls=[{url}]"]))
        for url in ("http://a/v1", "http://b/v1", "simulated"))
    assert one == other != simulated


def test_the_students_parameters_are_counted():
    size = student_size(load_config(LAPTOP, []))
    assert 2 < float(size.removesuffix("M")) < 5
    assert student_size(load_config(LAPTOP, ["student.model=some/model"])) == "some/model"


def rate(hits: int, total: int) -> Rate:
    return Rate(hits=hits, total=total, unknown=0, share=hits / total, low=0, high=1)


def report(*hits: int) -> bytes:
    """What a run leaves, with so many of 10 held-out tasks done before and after each round."""
    rounds = [RoundFigures(number=number, heldout=HeldoutFigures(accuracy=rate(hit, 10)),
                           dataset=DatasetFigures(samples=1, mix={}, text_labels=0,
                                                  noise=rate(1, 5), noise_by_origin={}),
                           replaced=ReplacedFigures(labels=3, right=rate(2, 3), needed=None),
                           expansion=ExpansionFigures(seeds={}, accepted=4, right=rate(4, 4),
                                                      outcomes={}))
              for number, hit in enumerate(hits)]
    return msgspec.json.encode(
        Report(simulated=True, run_dir="", config={}, versions={}, command="", stages=[],
               before=rounds[0], rounds=rounds[1:], planned_rounds=1, next=None))


@pytest.fixture
def ablations(tmp_path, monkeypatch, capsys):
    """Runs the script with loops that leave a report at once; returns what it prints, and which
    loops it ran."""
    ran: list[str] = []

    def run(*flags: str, broken: str = "", run_dir: Path = tmp_path) -> tuple[str, list[str]]:
        def loop(command, **more):
            if command[0] == "git":
                return REAL_RUN(command, **more)
            folder = Path(next(word for word in reversed(command)
                               if word.startswith("run_dir=")).removeprefix("run_dir="))
            if folder.name == broken:
                return type("Ended", (), {"returncode": 1})
            ran.append(folder.name)
            make_run(folder)
            rounds = int(re.search(r" rounds=(\d+)", " ".join(command))[1])
            assert command[command.index("--config") + 1] == str(LAPTOP)
            (folder / "report.json").write_bytes(report(*range(4, 5 + rounds)))
            return type("Ended", (), {"returncode": 0})

        ran.clear()
        monkeypatch.setattr(run_ablations.subprocess, "run", loop)
        monkeypatch.setattr(sys, "argv",
                            ["run_ablations.py", "--set", f"run_dir={run_dir}", *flags])
        run_ablations.main()
        return capsys.readouterr().out, list(ran)

    return run


def test_seeds_and_variants_over_several_sessions(ablations, tmp_path):
    with pytest.raises(InputError, match="static_seed0: the loop has ended"):
        ablations("--variants", "static", "no_edde", "--seeds", "0", "--rounds", "2",
                  broken="static_seed0")
    said, ran = ablations("--variants", "static", "no_edde", "--seeds", "0", "--rounds", "2")
    assert ran == ["static_seed0", "no_edde_seed0"] and "SIMULATED" in said
    said, ran = ablations("--variants", "static", "--seeds", "0", "1", "--rounds", "2")
    assert ran == ["none_seed1", "static_seed1"]
    kept = list(read_results(tmp_path / "ablations" / "results"))
    assert len({one.commit for one in kept}) == 1 and kept[0].commit != "unknown"
    assert all(one.config["seed"] == one.seed and "run_dir" not in one.config for one in kept)
    assert "wrong labels" in said and "20.0 ± 0.0, 20.0 ± 0.0" in said and "8 of 12 (66.7%)" in said
    table, ran = ablations("--table", "--rounds", "2")
    assert not ran and table == said
    assert (tmp_path / "ablations" / "results" / "figure_2_systematic.svg").exists()
    _, ran = ablations("--variants", "static", "--seeds", "1", "--rounds", "3")
    assert ran == ["none_seed1", "static_seed1"]  # one round more


def test_results_of_another_config_are_refused_and_those_of_another_student_stand_beside(
        ablations, tmp_path):
    ablations("--variants", "static", "--seeds", "0", "--rounds", "2")
    with pytest.raises(InputError, match="another config"):
        ablations("--variants", "static", "--seeds", "0", "--rounds", "2", "--set",
                  "verify.both_orders=false")
    ablations("--variants", "none", "--seeds", "0", "--rounds", "2", "--set",
              "student.model=big/one", run_dir=tmp_path / "big")
    said, _ = ablations("--table", "--rounds", "2", "--also",
                        str(tmp_path / "big" / "ablations" / "results"))
    lines = [line.split() for line in said.splitlines()]
    assert ["big/one", "+10.0", "systematic"] in lines
    figure = lines[next(place for place, line in enumerate(lines) if line[:2] == ["Figure", "3:"]):]
    assert [line[-1] for line in figure[1:3]] == ["systematic"] * 2


def test_results_of_another_config_are_refused_before_anything_runs(ablations, tmp_path):
    ablations("--variants", "none", "--seeds", "0", "--rounds", "2")
    with pytest.raises(InputError, match="holds results of another config"):
        ablations("--variants", "none", "--seeds", "1", "--rounds", "2",
                  "--set", "verify.both_orders=false")
    assert not list((tmp_path / "ablations").rglob("none_seed1*"))


def test_a_round_without_held_out_figures_is_no_result(tmp_path):
    whole = msgspec.json.decode(report(4, 5, 6), type=Report)
    for place in range(3):
        [whole.before, *whole.rounds][place].heldout = None
        (tmp_path / "report.json").write_bytes(msgspec.json.encode(whole))
        with pytest.raises(InputError, match="round 0 has no" if place == 0 else f"round {place} "):
            result_of(tmp_path, variant=FULL, seed=0, settings="s", student="3M")
        whole = msgspec.json.decode(report(4, 5, 6), type=Report)


@pytest.mark.parametrize("content, said",
                         [(b"{", "no result"),
                          (msgspec.json.encode(result("static", 0, 1.0)), "another config")])
def test_damaged_and_foreign_results_are_named(tmp_path, content, said):
    (tmp_path / "real").mkdir()
    other = result(FULL, 0, 1.0, settings="t")
    (tmp_path / "real" / "a.json").write_bytes(msgspec.json.encode(other))
    (tmp_path / "real" / "b.json").write_bytes(content)
    with pytest.raises(InputError, match=f"b.json.*{said}"):
        list(read_results(tmp_path))


@pytest.mark.parametrize("flags, said",
                         [(["--table"], "holds no result yet"),
                          (["--rounds", "0"], "at least one round")])
def test_nothing_to_show(ablations, flags, said):
    with pytest.raises(InputError, match=said):
        ablations(*flags)
