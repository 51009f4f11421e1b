"""What a loop has left after the config was edited: complete rounds stay as they were made, unless
their files changed."""
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from loop_world import loop_config

from dataloop.mixing.manifest import Manifest
from dataloop.running import steps_left as script
from dataloop.running.steps_left import steps_left
from looptool.config import Config
from looptool.json_lines import write_atomic
from looptool.run_files import RoundFiles, RunFiles
from looptool.stages.meta import StageMeta, make_header, meta_path

ALL = ["evaluate_heldout.sh:0", "run_round.sh:1", "evaluate_heldout.sh:1", "run_round.sh:2",
       "evaluate_heldout.sh:2"]


def put(output: Path, settings: Any, *sources: Path) -> None:
    """An output whose content is its name, with a .meta.json as its stage leaves it."""
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(output.name)
    header = make_header("stage", settings, sources, output)
    meta = StageMeta(**msgspec.structs.asdict(header), version="1", inputs=1, counts={}, failed=0,
                     failures={}, records=1, usage={}, seconds=1)
    write_atomic(meta_path(output), [msgspec.json.encode(meta)])


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """Of a run whose first round is complete, with the settings that its stages write down."""
    config = loop_config(tmp_path / "run", rounds=2)
    run, start, files = RunFiles(config), RoundFiles(config.run_dir,
                                                     0), RoundFiles(config.run_dir, 1)
    probe = {"engine": "endpoint", "dtype": "auto", "model": "", "instructions": "short",
             "max_response_tokens": 1024}
    prompt = tmp_path / "judge.md"
    for path in (prompt, run.seed, run.heldout, files.dataset, files.error_seeds):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    put(start.heldout_probes, probe, run.heldout)
    put(files.train_parquet, {"seed": 0, "test_share": 0.02, "max_prompt_tokens": 4096},
        files.dataset)
    put(files.policy,
        {"train": {"learning_rate": 1e-6}, "student": config.student, "seed": 0, "start": "x"},
        files.train_parquet)
    put(files.probes, probe, files.dataset, files.policy)
    put(files.verdicts, {"world": "w", "judges": ["m"], "votes_per_order": 1, "judging": True},
        files.probes, prompt)
    put(files.expanded,
        {"models": ["m"], "checker": "m", "expand": config.expand, "seed": 0, "round": 1},
        files.error_seeds)
    files.next().folder.mkdir()
    files.next().dataset.write_text("")
    manifest = Manifest(round=2, size=1, counts={}, left_out={}, notes=[], seed=0, mix=config.mix,
                        checkpoint={},
                        sources=make_header("", None, [run.seed, files.probes],
                                            files.next().dataset).sources)
    files.next().dataset.with_suffix(".meta.json").write_bytes(msgspec.json.encode(manifest))
    put(files.heldout_probes, probe, run.heldout, files.policy)
    return config


def test_a_complete_round_is_not_run_again(config: Config,
                                           caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        assert list(steps_left(config)) == ALL[3:]
    assert caplog.messages == ["held-out of round 0 is complete; left as it is",
                               "round 1 is complete; left as it is",
                               "held-out of round 1 is complete; left as it is"]
    fresh = loop_config(Path(config.run_dir) / "none", rounds=2)
    assert list(steps_left(fresh)) == ALL


@pytest.mark.parametrize("section, key, value, said", [
    ("train", "learning_rate", 5e-7, "train.learning_rate: 1e-6 -> 5e-7"),
    ("train", "test_share", 0.1, "train.test_share: 0.02 -> 0.1"),
    ("student", "max_prompt_tokens", 2048, "student.max_prompt_tokens: 4096 -> 2048"),
    ("probe", "dtype", "float32", 'probe.dtype: "auto" -> "float32"'),
    ("verify", "votes_per_order", 3, "verify.votes_per_order: 1 -> 3"),
    ("teacher", "judges", ["a", "b"], 'checker: "m" -> "a"; judges: ["m"] -> ["a","b"]'),
    ("expand", "per_seed", 2, "expand.per_seed: 4 -> 2"),
    ("mix", "high_ppl", 9, "mix.high_ppl: 8 -> 9")])
def test_what_was_edited_since_is_named_and_the_round_stays(
        config: Config, caplog: pytest.LogCaptureFixture, section: str, key: str, value: Any,
        said: str) -> None:
    setattr(getattr(config, section), key, value)
    with caplog.at_level("INFO"):
        assert list(steps_left(config)) == ALL[3:]
    assert (f"round 1 is complete, made with other settings ({said}); left as it is"
            in caplog.messages)


@pytest.mark.parametrize("section, key, value, said", [
    ("verify", "audit_mastered", 0.5, "verify.audit_mastered: 0.0 -> 0.5"),
    ("verify", "label_refinement", True, "verify.label_refinement: false -> true"),
    ("expand", "distractors", 2, "expand.distractors: 0 -> 2"),
    ("mix", "medium_difficulty_share", 0.5, "mix.medium_difficulty_share: 0.0 -> 0.5"),
    ("probe", "samples", 4, "probe.samples: 0 -> 4"),
    ("teacher", "structured", "off", 'teacher.structured: "auto" -> "off"')])
def test_an_option_that_was_off_is_named_too(
        config: Config, caplog: pytest.LogCaptureFixture, section: str, key: str, value: Any,
        said: str) -> None:
    files = RoundFiles(config.run_dir, 1)
    path = files.next().dataset.with_suffix(".meta.json")
    manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    manifest = msgspec.structs.replace(manifest, mix=config.mix.recorded())
    path.write_bytes(msgspec.json.encode(manifest))
    put(files.expanded, {"expand": config.expand.recorded(), "structured": "auto"},
        files.error_seeds)
    test_what_was_edited_since_is_named_and_the_round_stays(
        config, caplog, section, key, value, said)


@pytest.mark.parametrize("name, left", [
    ("round_1/dataset.jsonl", ALL[1:]), ("round_1/policy", ALL[1:]), ("seed.jsonl", ALL[1:]),
    ("round_1/probes.jsonl", ALL[1:]), ("round_1/error_seeds.jsonl", ALL[1:]),
    ("heldout.jsonl", [ALL[0], *ALL[2:]])])
@pytest.mark.parametrize("gone", [False, True])
def test_a_round_whose_files_changed_is_left(config: Config, name: str, left: list[str],
                                             gone: bool) -> None:
    path = Path(config.run_dir) / name
    path.unlink() if gone else path.write_text("another")
    assert list(steps_left(config)) == left


@pytest.mark.parametrize("name",
                         ["round_1/expanded.jsonl", "round_1/policy.meta.json",
                          "round_2/dataset.jsonl", "round_2/dataset.meta.json"])
def test_a_round_without_one_of_its_outputs_is_left(config: Config, name: str) -> None:
    (Path(config.run_dir) / name).unlink()
    assert list(steps_left(config)) == ALL[1:]


def test_what_failed_is_tried_again_where_nothing_was_made_of_it(config: Config) -> None:
    for output in (RoundFiles(config.run_dir, 0).heldout_probes,
                   RoundFiles(config.run_dir, 1).expanded):
        path = meta_path(output)
        path.write_text(path.read_text().replace('"failed":0', '"failed":1'))
    assert list(steps_left(config)) == [ALL[0], *ALL[3:]]


def test_an_edited_prompt_is_no_changed_file_of_the_run(config: Config) -> None:
    (Path(config.run_dir).parent / "judge.md").write_text("another")
    assert list(steps_left(config)) == ALL[3:]


def test_with_one_config_every_step_looks_itself(config: Config, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv",
                        ["steps_left.py", "--same-config", "--set", f"run_dir={config.run_dir}"])
    script.main()
    assert capsys.readouterr().out.split() == ALL


def test_a_cold_start_comes_first_and_is_made_once(config: Config,
                                                   caplog: pytest.LogCaptureFixture) -> None:
    config.train.cold_start.steps = 24
    assert [*steps_left(config)][0] == [*steps_left(config, True)][0] == "cold_start.sh:0"
    start = RoundFiles(config.run_dir, 0)
    put(start.train_parquet, {"seed": 0}, start.next().dataset)
    put(start.policy, {"cold_start": {"steps": 24}}, start.train_parquet)
    config.train.cold_start.steps = 12
    caplog.clear()
    with caplog.at_level("INFO"):
        assert "cold_start.sh:0" not in [*steps_left(config)]
    assert caplog.messages[0] == ("the cold start is complete, made with other settings "
                                  "(train.cold_start.steps: 24 -> 12); left as it is")
    start.next().dataset.write_text("another D_1")
    assert [*steps_left(config)][0] == "cold_start.sh:0"
