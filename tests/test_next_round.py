"""The next round's dataset: mixes as a table, four rounds over one supply of seed samples,
refusals, formats."""
from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from itertools import count
from pathlib import Path

import msgspec
import numpy as np
import pytest
from golden_files import check_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_world import (
    is_right, judged, loop_config, probed, says, supply_of, taken, task, weather, world)

from dataloop import filter_grpo_sample, next_round as script
from dataloop.mixing.equation_5 import Supply, is_used, mix_parts, planned
from dataloop.verifying.relabel import error_seed
from grpotool.dataset.utils import filter_grpo_sample as seed_filter
from looptool.calling.sample_rules import sample_faults
from looptool.command import run_main
from looptool.config import Mix, Simulation
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.fingerprints import IdSet, fingerprint
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.judging import checker as checking
from looptool.models.completion import CallFailed
from looptool.records import ErrorSeed, Probe, Refused, Sample
from looptool.run_files import RoundFiles, RunFiles
from looptool.sample_table import Listing
from looptool.stages.llm_stage import run_stage
from looptool.stages.meta import read_meta


def samples(name: str, count: int, **fields) -> list[Sample]:
    return [task(f"{name}{index}", **fields) for index in range(count)]


def supply(error_seeds=0, expanded=0, high_ppl=0, seed_new=0) -> Supply:
    return supply_of(error_seeds=samples("es", error_seeds), expanded=samples("ee", expanded),
                     high_ppl=samples("hp", high_ppl), seed_new=samples("new", seed_new))


# The mix


@pytest.mark.parametrize("round, available, size, expected, noted", [
    # ES, EE, HPPL, Seed-new there; samples taken of each. Plan of D_2: 8 HPPL, 12 Seed-new.
    (2, (10, 10, 50, 50), 40, (10, 10, 8, 12), ""),
    (2, (10, 4, 50, 50), 40, (10, 4, 8, 18), "6 more Seed-new than planned"),
    (2, (10, 4, 50, 14), 40, (10, 4, 12, 14), "4 more HPPL than planned"),
    (2, (10, 4, 9, 14), 40, (10, 4, 9, 14), "3 samples short of 40"),
    (2, (0, 0, 50, 50), 40, (0, 0, 8, 32), "20 more Seed-new"),
    (2, (6, 30, 50, 50), 40, (6, 14, 8, 12), "16 of 30 EE left out"),
    (2, (10, 30, 50, 50), 40, (7, 13, 8, 12), "3 of 10 ES left out"),
    (2, (35, 12, 50, 50), 40, (8, 12, 8, 12), "27 of 35 ES left out"),
    (2, (60, 2, 50, 50), 40, (18, 2, 8, 12), "42 of 60 ES left out"),
    (2, (10, 30, 50, 50), 16, (0, 0, 4, 12), "10 of 10 ES left out"),
    (2, (10, 30, 2, 3), 40, (10, 25, 2, 3), "5 of 30 EE left out"),
    (3, (10, 30, 50, 50), 40, (9, 17, 8, 6), "13 of 30 EE left out"),
    (4, (10, 30, 50, 50), 40, (10, 19, 8, 3), "11 of 30 EE left out"),
    (9, (10, 30, 50, 50), 40, (10, 22, 8, 0), "8 of 30 EE left out"),
    (1, (0, 0, 0, 50), 40, (0, 0, 0, 40), ""),
    (1, (0, 0, 0, 30), 40, (0, 0, 0, 30), "10 samples short of 40")])
def test_mixes(round, available, size, expected, noted):
    parts = supply(*available)
    mixture = mix_parts(parts, Mix(size=size, seed_new=12, high_ppl=8), round, seed=0)
    assert tuple(mixture.counts[part] for part in ("ES", "EE", "HPPL", "Seed-new")) == expected
    assert len(mixture.samples) == sum(expected)
    notes = "; ".join(mixture.notes)
    assert noted in notes if noted else not notes
    origins = Counter(sample.origin for sample in taken(parts, mixture))
    assert tuple(origins[name]
                 for name in ("error_seed", "expanded", "high_ppl", "seed")) == expected


@pytest.mark.parametrize("config", ["qwen3_8b", "qwen3_32b"])
def test_the_papers_table(config):
    """Table 3: with enough of everything, the counts of every round are the paper's."""
    mix = load_config(ROOT / "configs" / f"{config}.yaml").mix
    listing, ids = Listing(), count()

    def many(size):
        return np.array([listing.add_row(fingerprint(f"{next(ids)}")) for _ in range(size)])

    plenty = Supply(listing=listing, error_seeds=many(9000), expanded=many(36000),
                    high_ppl=many(6000), seed_new=many(28000))
    counts = [tuple(mix_parts(plenty, mix, round, seed=0).counts.values())
              for round in (1, 2, 3, 4)]
    assert counts == [(0, 0, 0, 18304), (1919, 6566, 4187, 5632), (3386, 8066, 4036, 2816),
                      (3731, 8169, 4996, 1408)]


@pytest.mark.parametrize("name", ["qwen3_8b", "qwen3_32b"])
def test_dialogs_suffice_for_the_papers_rounds(name):
    """Table 3 with 7.35 samples a dialog (147 of 20, simulated) before the judge's tier, which may
    refuse a third."""
    config = load_config(ROOT / "configs" / f"{name}.yaml")
    drawn = sum(planned(config.mix, number)["seed"] for number in range(2, config.rounds + 1))
    assert drawn == 9856 and config.dialogs.count * 7.35 * 2 / 3 > config.mix.size + drawn


@pytest.mark.parametrize("parts, expected", [
    ({"seed_new": 12, "high_ppl": 8, "error_seeds": 6},
     [(6, 14, 8, 12), (6, 20, 8, 6), (6, 23, 8, 3)]),
    ({"seed_new": 0.3, "high_ppl": 0.2, "error_seeds": 0.15},
     [(6, 14, 8, 12), (6, 20, 8, 6), (6, 23, 8, 3)]),
    ({"seed_new": [12, 0.25], "high_ppl": [8, 0.1], "error_seeds": [6, 2, 4]},
     [(6, 14, 8, 12), (2, 24, 4, 10), (4, 22, 4, 10)]),
    ({"seed_new": 0, "high_ppl": 1.0, "error_seeds": 1}, [(0, 0, 40, 0)] * 3)])
def test_parts_are_numbers_or_shares_for_all_rounds_or_each(parts, expected):
    mix = msgspec.convert({"size": 40} | parts, Mix)
    assert [tuple(mix_parts(supply(30, 60, 50, 50), mix, round, seed=0).counts.values())
            for round in (2, 3, 4)] == expected


@pytest.mark.parametrize("value", ["-1", "1.5", "true", "[]", "[0.5, -1]", "half"])
def test_a_part_that_is_neither_is_refused(value):
    with pytest.raises(InputError, match="mix.high_ppl"):
        load_config(ROOT / "configs" / "laptop.yaml", [f"mix.high_ppl={value}"])


def test_what_is_below_the_threshold_only_fills_up():
    """High-perplexity samples are those that verification chose; other mastered ones enter where
    nothing else is left."""
    mastered = samples("hp", 2) + samples("sure", 20)
    for new, expected in ((30, (0, 0, 2, 18)), (9, (0, 0, 11, 9))):
        parts = supply_of(high_ppl=samples("hp", 2), seed_new=samples("new", new),
                          mastered=mastered)
        mixture = mix_parts(parts, Mix(size=20, seed_new=5, high_ppl=8), 2, seed=0)
        assert tuple(mixture.counts.values()) == expected and not mixture.left_out


def test_highest_perplexity_and_the_runs_order_come_first():
    parts = supply(0, 0, 20, 20)
    chosen = taken(parts, mix_parts(parts, Mix(size=9, seed_new=4, high_ppl=5), 2, seed=0))
    by_origin = {origin: {sample.source for sample in chosen if sample.origin == origin}
                 for origin in ("high_ppl", "seed")}
    assert by_origin == {"high_ppl": {f"d1#hp{i}" for i in range(5)},
                         "seed": {f"d1#new{i}" for i in range(4)}}


def test_a_sample_enters_once_by_the_first_part_that_has_it():
    shared = task("shared")
    both = supply_of(error_seeds=[shared], expanded=[shared, task("a"), task("a")],
                     high_ppl=[shared, task("b")], seed_new=[task("a"), task("c")])
    mixture = mix_parts(both, Mix(size=10, seed_new=5, high_ppl=5), 2, seed=0)
    assert {sample.source: sample.origin for sample in taken(both, mixture)} == {
        "d1#shared": "error_seed", "d1#a": "expanded", "d1#b": "high_ppl", "d1#c": "seed"}
    assert len(mixture.samples) == 4 and mixture.left_out == {"duplicate": 4}


@settings(max_examples=30, deadline=None)
@given(st.tuples(*[st.integers(0, 6)] * 4), st.integers(1, 20), st.integers(1, 4))
def test_nothing_is_taken_twice_or_beyond_the_size(available, size, round):
    parts = supply(*available)
    mixture = mix_parts(parts, Mix(size=size, seed_new=3, high_ppl=2), round, seed=1)
    ids = [sample.id for sample in taken(parts, mixture)]
    assert len(set(ids)) == len(ids) <= size and sum(mixture.counts.values()) == len(ids)
    assert len(ids) == min(size, sum(available)) or mixture.counts["EE"] == available[1]


def test_the_shuffle_depends_on_seed_and_round_and_not_on_the_order_of_the_files():
    def order(parts, seed=0, round=2):
        return [sample.id
                for sample
                in taken(parts,
                         mix_parts(parts, Mix(size=20, seed_new=5, high_ppl=5), round, seed))]

    turned = supply_of(seed_new=samples("new", 5), high_ppl=samples("hp", 5),
                       expanded=samples("ee", 5)[::-1], error_seeds=samples("es", 5)[::-1])
    assert order(supply(5, 5, 5, 5)) == order(turned)
    assert order(supply(5, 5, 5, 5)) != order(supply(5, 5, 5, 5),
                                              seed=1) != order(supply(5, 5, 5, 5), round=3)


def test_a_relabeled_sample_uses_up_the_one_it_was_made_from():
    old, child = task("Rome"), task("Oslo", parent=task("Rome").id)
    assert [is_used(sample, IdSet([old.id]))
            for sample in (old, child, task("Bern"))] == [True, True, False]


# The script, over rounds


class Run:
    """A run whose rounds are made by hand: of each dataset some samples fail, one gets a new label,
    the rest match."""

    def __init__(self, folder: Path, monkeypatch):
        self.folder = folder
        self.config = loop_config(folder, mix=Mix(size=40, seed_new=12, high_ppl=8))
        self._patch = monkeypatch
        write_jsonl(RunFiles(self.config).seed, samples("seed", 90))

    def files(self, round: int) -> RoundFiles:
        return RoundFiles(self.folder, round)

    def next(self, round: int, *flags: str) -> list[Sample]:
        self._patch.setattr(script, "load_config", lambda *_: self.config)
        self._patch.setattr(sys, "argv", ["next_round.py", "--round", str(round), *flags])
        script.main()
        return list(read_jsonl(self.files(round + 1).dataset, Sample))

    def fill(self, round: int, errors: int = 4) -> None:
        """What probing, verification and expansion leave of a round."""
        files = self.files(round)
        dataset = list(read_jsonl(files.dataset, Sample))
        probes = [probed(sample, says("", weather(f"no {index}")) if index <= errors
                         else sample.label, perplexity=1 + index / 100)
                  for index, sample in enumerate(dataset)]
        seeds = [error_seed(judged(probe, "LABEL_WRONG" if index == 0 else "PRED_WRONG"), round)
                 for index, probe in enumerate(probes) if not probe.matches]
        write_jsonl(files.probes, probes)
        write_jsonl(files.error_seeds, seeds)
        write_jsonl(files.high_ppl, [probe for probe in probes if probe.matches][:-9:-1])
        write_jsonl(files.expanded,
                    [task(f"{round} {seed.sample.id} {n}", origin="expanded", round=round,
                          parent=seed.sample.id) for seed in seeds for n in range(4)])


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    return Run(tmp_path / "run", monkeypatch)


def test_four_rounds_never_take_a_seed_sample_twice(run, caplog):
    caplog.set_level("INFO")
    fresh, used = Counter(), set()
    for round in range(4):
        dataset = run.next(round)
        new = {sample.id for sample in dataset if sample.origin == "seed"}
        assert not new & used
        fresh[round + 1] = len(new)
        used |= {sample.id for sample in dataset} | {sample.parent for sample in dataset}
        run.fill(round + 1)
    assert caplog.messages[0] == "next_round: D_1: 40 = 0 ES + 0 EE + 0 HPPL + 40 Seed-new"
    noted = " (with notes in its .meta.json)"
    assert f"next_round: D_2: 40 = 5 ES + 15 EE + 8 HPPL + 12 Seed-new{noted}" in caplog.messages
    # 6 and 3 planned; 5 ES, 20 EE and 8 HPPL leave room for 7
    assert fresh == {1: 40, 2: 12, 3: 7, 4: 7}


def test_the_manifest_says_what_the_dataset_was_made_of(run):
    run.next(0)
    run.fill(1)
    run.next(1)
    manifest = json.loads((run.folder / "round_2/dataset.meta.json").read_text())
    assert manifest["counts"] == {"ES": 5, "EE": 15, "HPPL": 8,
                                  "Seed-new": 12} and manifest["left_out"] == {"EE": 5}
    assert set(manifest["sources"]) == {"../seed.jsonl", *(f"../round_1/{name}.jsonl" for name in (
        "dataset", "error_seeds", "expanded", "high_ppl", "probes"))}
    assert manifest["notes"] == ["5 of 20 EE left out, as there is no more room"]
    card = (run.folder / "round_2/dataset_card.md").read_text()
    for source, digest in manifest["sources"].items():
        assert f"- `{source}` {digest}" in card
    assert "| made from error seeds (EE) | 1 | 15 | 15 |" in card.splitlines()


def test_the_same_files_give_the_same_bytes_and_another_dataset_is_not_replaced(run, caplog):
    caplog.set_level("INFO")
    run.next(0)
    run.fill(1)
    run.next(1)
    before = run.files(2).dataset.read_bytes()
    run.next(1)
    assert (run.files(2).dataset.read_bytes() == before
            and any("nothing to do" in line for line in caplog.messages))
    run.fill(1, errors=6)
    with pytest.raises(InputError, match="is there already and would change"):
        run.next(1)
    assert run.files(2).dataset.read_bytes() == before
    run.next(1, "--fresh")
    assert run.files(2).dataset.read_bytes() != before


@pytest.mark.parametrize("name", ["error_seeds", "expanded", "high_ppl", "probes", "dataset"])
def test_an_absent_file_is_named_and_nothing_is_written(run, name):
    run.next(0)
    run.fill(1)
    path = getattr(run.files(1), name)
    path.unlink()
    with pytest.raises(InputError, match=str(path)):
        run.next(1)
    assert not run.files(2).folder.exists()


def test_empty_probes_are_refused(run):
    run.next(0)
    run.fill(1)
    run.files(1).probes.write_bytes(b"")
    with pytest.raises(InputError, match="probes.jsonl: is empty"):
        run.next(1)


@pytest.mark.parametrize("name, kind",
                         [("error_seeds", "error seed"), ("expanded", "expanded sample"),
                          ("high_ppl", "high-perplexity probe"), ("probes", "probe")])
def test_files_of_two_rounds_are_refused(run, name, kind):
    run.next(0)
    run.fill(1)
    run.next(1)
    run.fill(2)
    getattr(run.files(1), name).replace(getattr(run.files(2), name))
    with pytest.raises(InputError, match=f"^{kind} .*D_2"):
        run.next(2)
    assert not run.files(3).folder.exists()


def test_a_file_made_from_another_version_of_its_source_is_refused(run):
    run.next(0)
    run.fill(1)
    files = run.files(1)
    asyncio.run(run_stage("verify", [], None, files.verdicts, settings={}, sources=[files.probes],
                          in_flight=1))
    run.next(1)
    write_jsonl(files.probes, reversed(list(read_jsonl(files.probes, Probe))))
    with pytest.raises(InputError, match="verdicts.jsonl: was made from another probes.jsonl"):
        run.next(1)


def test_a_label_replaced_in_another_round_is_refused(run):
    run.next(0)
    run.fill(1)
    seeds = list(read_jsonl(run.files(1).error_seeds, ErrorSeed))
    relabeled = next(seed for seed in seeds if seed.cause == "relabeled")
    relabeled.sample.round = 3
    write_jsonl(run.files(1).error_seeds, seeds)
    with pytest.raises(InputError, match=relabeled.sample.id):
        run.next(1)


def test_a_round_without_errors_is_filled(run):
    run.next(0)
    run.fill(1, errors=-1)
    assert Counter(sample.origin for sample in run.next(1)) == {"high_ppl": 8, "seed": 32}


def test_what_a_benchmark_has_enters_no_dataset(run, tmp_path):
    """Requests that the benchmark has: two of seed samples, and one that expansion brings."""
    asked = "How is the weather in {} going to be tomorrow, and should I take an umbrella?"
    write_jsonl(tmp_path / "benchmark.json", [{"question": asked.format("Rome")}] * 2)
    run.config.mix = Mix(size=40, seed_new=12, high_ppl=8,
                         benchmarks=[str(tmp_path / "benchmark.json")])
    write_jsonl(RunFiles(run.config).seed,
                [*samples("seed", 90),
                 *(task(city, asked=asked.format(city)) for city in ("Oslo", "Bern"))])
    run.next(0)
    manifest = json.loads((run.folder / "round_1/dataset.meta.json").read_text())
    assert (manifest["left_out"] == {"contaminated": 2}
            and "../../benchmark.json" in manifest["sources"])
    run.fill(1)
    expanded = list(read_jsonl(run.files(1).expanded, Sample))
    expanded[0].messages = task("Kyoto", asked=asked.format("Kyoto")).messages
    write_jsonl(run.files(1).expanded, expanded)
    asked_for = [sample.messages[0].content for sample in run.next(1)]
    assert len(asked_for) == 40 and not any("umbrella" in text for text in asked_for)


def test_what_is_short_is_filled_with_mastered_samples_that_are_in_no_part_yet(run):
    write_jsonl(RunFiles(run.config).seed, samples("seed", 50))
    run.next(0)
    run.fill(1)
    run.config.mix = Mix(size=60, seed_new=12, high_ppl=8)
    assert Counter(sample.origin for sample in run.next(1)) == {"error_seed": 5, "expanded": 20,
                                                                "high_ppl": 25, "seed": 10}


def test_no_seed_samples_left_and_nothing_else(run):
    write_jsonl(RunFiles(run.config).seed, samples("seed", 5))
    run.next(0)
    run.fill(1, errors=-1)
    assert len(run.next(1)) == 5  # all mastered, as there is nothing new


def test_format(run):
    run.config.mix = Mix(size=4, seed_new=1, high_ppl=1)
    write_jsonl(RunFiles(run.config).seed, samples("seed", 6))
    run.next(0)
    run.fill(1, errors=0)
    run.next(1)
    check_golden(run.files(2).dataset, "loop/dataset.jsonl")
    check_golden(run.folder / "round_2/dataset.meta.json", "loop/dataset.meta.json")


@pytest.mark.parametrize("flags, said", [
    (["--round", "x"], "--round x"), (["--round", "1"], "round_1"),
    (["--set", "mix.sise=3"], "did you mean 'size'"), (["--config", "absent.yaml"], "absent.yaml"),
    (["--round", "0", "--seed-samples", "absent.jsonl"], "absent.jsonl")])
def test_a_wrong_input_is_one_line_and_exit_code_2(tmp_path, monkeypatch, caplog, flags, said):
    monkeypatch.setattr(sys, "argv", ["next_round.py", "--set", f"run_dir={tmp_path}/run", *flags])
    with pytest.raises(SystemExit) as ended:
        run_main(script.main)
    assert ended.value.code == 2 and said in caplog.messages[-1] and "\n" not in caplog.messages[-1]
    assert not (tmp_path / "run").exists()


# The optional filter


def test_the_filter_takes_out_what_breaks_a_rule(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    path = tmp_path / "expanded.jsonl"
    bad = task("Oslo", label=says("", weather("Oslo", days=0)))
    write_jsonl(path, [task("Rome"), bad, task("Bern"), task("Rome")])
    monkeypatch.setattr(sys, "argv", ["filter_grpo_sample.py", "--input", str(path)])
    for _ in range(2):
        filter_grpo_sample.main()
        assert list(read_jsonl(path, Sample)) == [task("Rome"), task("Bern")]
    assert "filter: 4 in -> 2 kept, 1 out_of_range, 1 duplicate" in caplog.messages
    assert caplog.messages[-1] == "filter: 2 in -> 2 kept"


@pytest.fixture
def judging(tmp_path, monkeypatch, caplog):
    """Runs a filter script with --judge over samples of the simulated world, and returns what it
    says last."""
    caplog.set_level("INFO")

    def filtered(script, *flags: str, **rates: float) -> str:
        config = loop_config(tmp_path, simulation=Simulation(**rates))
        monkeypatch.setattr(script, "load_config", lambda *_: config)
        monkeypatch.setattr(sys, "argv", ["filter_grpo_sample.py", "--judge", *flags])
        script.main()
        return caplog.messages[-1]

    return filtered


@pytest.mark.parametrize("script", [filter_grpo_sample, seed_filter])
def test_with_a_judge_wrong_labels_go_too(script, tmp_path, judging):
    samples = [probe.sample for probe in world(60, wrong_labels=0.5)]
    source, output = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    write_jsonl(source, samples)
    judging(script, "--input", str(source), "--output", str(output), judge_error=0, malformed=0)
    valid = [sample for sample in samples if not sample_faults(sample)]
    kept = list(read_jsonl(output, Sample))
    assert (kept == [sample for sample in valid if is_right(sample, sample.label)]
            and 10 < len(kept) < len(valid) - 10)
    refused = Counter(refusal.code
                      for refusal in read_jsonl(tmp_path / "out_refused.jsonl", Refused))
    assert (refused["refused_by_judge"] == len(valid) - len(kept)
            and refused["refused_by_judge"] < refused.total())


@pytest.mark.parametrize("script", [filter_grpo_sample, seed_filter])
def test_other_samples_are_judged_with_fresh(script, tmp_path, judging):
    flags = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    for number in (10, 12):
        write_jsonl(tmp_path / "in.jsonl", [probe.sample for probe in world(12)[:number]])
        if number == 12:
            with pytest.raises(InputError, match="use --fresh"):
                judging(script, *flags)
        judging(script, *flags, "--fresh")
    assert sum(read_meta(tmp_path / "out_judged.jsonl").counts.values()) > 10


def test_the_seed_dataset_says_who_judged_it(tmp_path, judging, monkeypatch):
    flags = ["--input", str(tmp_path / "in.jsonl"), "--output", str(tmp_path / "out.jsonl")]
    write_jsonl(tmp_path / "in.jsonl", [probe.sample for probe in world(10)])
    judging(seed_filter, *flags)
    assert read_meta(tmp_path / "out.jsonl").settings == {"judge": "m"}
    monkeypatch.setattr(sys, "argv", ["filter_grpo_sample.py", *flags])
    seed_filter.main()
    assert read_meta(tmp_path / "out.jsonl").settings == {"judge": None}


def test_in_place_the_judge_is_asked_once_and_what_it_took_out_stays_to_be_seen(tmp_path, judging):
    path = tmp_path / "expanded.jsonl"
    write_jsonl(path, [probe.sample for probe in world(60)])
    first = judging(filter_grpo_sample, "--input", str(path), judge_error=0.2)
    refused = (tmp_path / "expanded_refused.jsonl").read_bytes()
    kept = path.read_bytes()
    again = judging(filter_grpo_sample, "--input", str(path), judge_error=0.2)
    count = len(kept.splitlines())
    assert "refused_by_judge" in first and again == f"filter: {count} in -> {count} kept"
    assert (path.read_bytes() == kept
            and (tmp_path / "expanded_refused.jsonl").read_bytes() == refused)
    assert not list(tmp_path.glob("*_judged.jsonl*"))


def test_a_judge_that_cannot_be_read_accepts_nothing_and_an_empty_file_asks_none(tmp_path, judging):
    path = tmp_path / "expanded.jsonl"
    write_jsonl(path, [probe.sample for probe in world(10)])
    assert (
        "judge_cut" in judging(filter_grpo_sample, "--input", str(path), malformed=1.0)
        and not path.read_bytes()
    )
    assert judging(filter_grpo_sample, "--input", str(path)) == "filter: 0 in -> nothing"


def test_without_answers_nothing_is_filtered(tmp_path, judging, monkeypatch):
    path = tmp_path / "expanded.jsonl"
    write_jsonl(path, [probe.sample for probe in world(10)])
    before, answers = path.read_bytes(), iter([CallFailed("down")])

    async def is_correct(*_):
        if error := next(answers, None):
            raise error
        return True

    monkeypatch.setattr(checking, "is_correct", is_correct)
    with pytest.raises(InputError, match="1 samples got no answer, so nothing is filtered yet"):
        judging(filter_grpo_sample, "--input", str(path))
    assert path.read_bytes() == before
    assert judging(filter_grpo_sample, "--input", str(path)).startswith("filter: 10 in -> ")
