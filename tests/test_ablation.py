"""The variants of Table 4: what each puts into the next dataset, and that a run without judges asks
none."""
from __future__ import annotations

import asyncio
from typing import get_args

import pytest
from loop_world import loop_config, supply_of, taken, task, world

from dataloop.ablations.mixture import ablate
from dataloop.judgement_label_verification import verify_probes
from dataloop.mixing.equation_5 import mix_parts
from looptool.config import Ablation, Mix
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Sample, Verdict
from looptool.run_files import RoundFiles

MIX = Mix(size=40, seed_new=12, high_ppl=8)


def samples(name: str, count: int) -> list[Sample]:
    return [task(f"{name}{index}") for index in range(count)]


FIRST = samples("first", 40)


def mixed(ablation: Ablation, round: int = 2) -> tuple[tuple[int, ...], list[Sample]]:
    """Counts by part, and the samples."""
    supply = supply_of(error_seeds=samples("es", 5), expanded=samples("ee", 30),
                       high_ppl=samples("hp", 8), seed_new=samples("new", 50),
                       mastered=samples("hp", 50))
    mixture = mix_parts(*ablate(ablation, supply, MIX, round, 0, supply.listing.put(FIRST)), round,
                        0)
    return tuple(mixture.counts.values()), taken(supply, mixture)


@pytest.mark.parametrize("ablation, counts", [
    ("none", (5, 15, 8, 12)), ("no_jglv", (5, 15, 8, 12)), ("no_high_ppl", (5, 15, 8, 12)),
    ("no_edde", (5, 0, 8, 27)), ("high_ppl_replace", (5, 0, 23, 12)),
    ("error_seed_repetition", (5, 15, 8, 12)), ("static", (0, 0, 0, 40))])
def test_what_each_variant_is_made_of(ablation, counts):
    found, chosen = mixed(ablation)
    assert found == counts
    assert len({sample.id for sample in chosen}) == len(chosen) == 40


def test_the_variants_are_those_of_the_config():
    for ablation in get_args(Ablation):
        assert mixed(ablation, 1) == mixed("none", 1)


def test_mastered_samples_are_random_without_high_perplexity():
    highest = {sample.id for sample in samples("hp", 8)}
    chosen = {ablation: {sample.id for sample in mixed(ablation)[1] if sample.origin == "high_ppl"}
              for ablation in ("none", "no_high_ppl")}
    assert chosen["none"] == highest != chosen["no_high_ppl"] and len(chosen["no_high_ppl"]) == 8


def test_error_seeds_are_repeated_evenly():
    repeats = [sample.parent for sample in mixed("error_seed_repetition")[1]
               if sample.origin == "expanded"]
    assert sorted(repeats) == sorted([sample.id for sample in samples("es", 5)] * 3)


@pytest.mark.parametrize("round", [2, 3, 5])
def test_static_training_sees_the_first_dataset_again(round):
    assert {sample.id for sample in mixed("static", round)[1]} == {sample.id for sample in FIRST}


def test_without_jglv_no_judge_is_asked_and_no_label_changes(tmp_path):
    probes = world(60)
    files = RoundFiles(tmp_path, 1)
    write_jsonl(files.probes, probes)
    meta = asyncio.run(verify_probes(loop_config(tmp_path, ablation="no_jglv"), files.probes,
                                     files.verdicts))
    verdicts = list(read_jsonl(files.verdicts, Verdict))
    assert not meta.usage and len(verdicts) == sum(not probe.matches for probe in probes)
    assert {verdict.verdict for verdict in verdicts} == {"PRED_WRONG"}
