"""examples/loop_minimal.py, the page that people read first: short, and the whole method."""
from __future__ import annotations

import runpy
import sys
from collections import Counter

import pytest
import torch
from transformers import AutoModelForCausalLM

from looptool.config_file import ROOT

SCRIPT = ROOT / "examples" / "loop_minimal.py"


@pytest.mark.slow
def test_the_whole_method_in_200_lines(monkeypatch: pytest.MonkeyPatch,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    assert len(SCRIPT.read_text().splitlines()) <= 200
    monkeypatch.setattr(sys, "argv",
                        [str(SCRIPT), *"--samples 56 --rounds 2 --steps 1 --tasks 4".split()])
    ran = runpy.run_path(str(SCRIPT), run_name="__main__")
    first, second, third = ran["datasets"]

    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows] == ["SIMULATED", "round", "round"]

    trained = ran["policy"].model.state_dict()
    begun = AutoModelForCausalLM.from_pretrained(ran["STUDENT"]).state_dict()
    assert any(not torch.equal(trained[name], begun[name]) for name in begun), "no weight moved"

    by_id = {sample.id: sample for sample in first}
    replaced = [sample for sample in second
                if sample.parent in by_id and sample.origin == "error_seed"]
    assert replaced and all(sample.label != by_id[sample.parent].label for sample in replaced)
    assert all(sample.messages == by_id[sample.parent].messages for sample in replaced)

    origins = Counter(sample.origin for sample in second)
    assert Counter(sample.origin for sample in first) == {"seed": 56}
    assert origins.keys() == {"error_seed", "expanded", "high_ppl", "seed"}
    assert origins["seed"] == 18
    assert Counter(sample.origin for sample in third)["seed"] == 9  # halved
    wrong = [sum(not ran["truth"](sample.tools, sample.messages).accepts(sample.label)
                 for sample in dataset)
             for dataset in (first, second)]
    assert wrong[1] < wrong[0], wrong
