"""The runs of Table 4: what variants share, and the table; the loops themselves run in test_whole_loop.py."""
from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from dataloop import run_ablations
from dataloop.run_ablations import FULL, PAPER, T_95, VARIANTS, copy_beginning, interval, run_variant, table
from looptool.config import ROOT, load_config
from looptool.records import InputError


def test_every_variant_has_the_papers_figures():
    assert set(PAPER) == set(VARIANTS) and all(len(figures) == 4 for figures in PAPER.values())


def test_interval_is_students():
    values = [50.0, 52.0, 57.0]
    assert interval(values) == f"53.0 ± {4.303 * statistics.stdev(values) / 3 ** 0.5:.1f}" and interval([4.0]) == "4.0"
    assert all(T_95[count] > T_95[count + 1] for count in range(2, 8))


def make_run(folder: Path) -> Path:
    for name in ("answers.sqlite", "seed.jsonl", "report.json", "report.html", "round_0/policy_probes.jsonl", "round_1/probes.jsonl",
                 "round_1/policy/model.safetensors", "round_1/verdicts.jsonl", "round_2/dataset.jsonl"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def test_variants_share_all_up_to_the_probes(tmp_path):
    copy_beginning(make_run(tmp_path / "full"), tmp_path / "static")
    copied = sorted(str(path.relative_to(tmp_path / "static")) for path in (tmp_path / "static").rglob("*") if path.is_file())
    assert copied == ["answers.sqlite", "round_0/policy_probes.jsonl", "round_1/policy/model.safetensors", "round_1/probes.jsonl",
                      "seed.jsonl"]
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_variant_is_the_loop_with_its_settings(tmp_path, monkeypatch):
    config = load_config(ROOT / "configs" / "laptop.yaml", [f"run_dir={tmp_path}"])
    make_run(tmp_path / "ablations" / f"{FULL}_seed1")
    asked = []

    def loop(command, stdout, **_):
        asked.append(command)
        return type("Ended", (), {"returncode": len(asked) - 1})

    monkeypatch.setattr(run_ablations.subprocess, "run", loop)
    folder = run_variant(config, ["--config", "c.yaml"], "no_edde", 1, 3)
    assert asked[0][2:] == ["--config", "c.yaml", "--set", f"run_dir={folder}", "--set", "ablation=no_edde", "--set", "seed=1",
                            "--set", "rounds=3"]
    with pytest.raises(InputError, match=r"no_edde_seed1: the loop has ended with an error; see .*no_edde_seed1.log"):
        run_variant(config, [], "no_edde", 1, 3)


def test_table():
    curves = {FULL: [[40.0, 50.0, 52.0], [42.0, 51.0, 55.0]], "static": [[40.0, 50.0, 51.0], [42.0, 51.0, 53.0]]}
    head, full, static = table(curves, 2)
    assert head.split()[:4] == ["variant", "start", "round", "1"]
    assert full.startswith("full loop") and "53.5 ± 19.1" in full and full.endswith("65.19 / 71.20 / 73.00")
    assert "-1.5 ± 6.4" in static and static.endswith("65.19 / 71.20 / 73.30")
