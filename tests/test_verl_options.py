"""What docs/training.md lists for train.verl, as trainings of two steps on a CPU; a minute each."""
from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest
from test_training_overrides import OPTIONS
from test_verl_cpu import tasks
from tiny_policy import make_policy

from grpotool.verl_run.process import read_lines
from looptool.config_file import ROOT
from looptool.json_lines import write_jsonl
from looptool.records import Message
from looptool.run_files import RoundFiles

pytestmark = [pytest.mark.slow, pytest.mark.cluster]
SIZES = ("train.batch_size=4", "train.mini_batch_size=2", "train.rollouts=4", "train.epochs=2",
         "student.max_response_tokens=16", "student.max_prompt_tokens=900",
         "train.learning_rate=1.0e-3")


@pytest.mark.parametrize("option, seen", [
    ("GSPO", "'loss_mode': 'gspo'"), ("CISPO", "'loss_mode': 'cispo'"),
    ("DAPO's dynamic sampling", "'filter_groups': {"), ("LoRA", "PeftModelForCausalLM contains")])
def test_an_option_of_verl_trains(tmp_path, option, seen):
    from safetensors.torch import load_file

    files, policy = RoundFiles(tmp_path, 1), make_policy(tmp_path / "start")
    # right without a call, so that random replies earn both rewards, and some groups are kept
    text = Message(role="assistant", content="Fine.")
    write_jsonl(files.dataset, [msgspec.structs.replace(one, label=text) for one in tasks(5)])
    settings = (f"run_dir={tmp_path}", f"student.model={policy}", *SIZES,
                f"train.verl={msgspec.json.encode(OPTIONS[option]).decode()}")
    flags = [word for setting in settings for word in ("--set", setting)]
    for script in ("dataset/utils/json2parquet.py", "train.py"):
        command = [sys.executable, ROOT / "grpotool" / script, "--round", "1", *flags]
        subprocess.run(command, check=True)
    assert [step for step, _ in read_lines(files.training / "metrics.jsonl")] == [1, 2]
    assert seen in (files.training / "verl.log").read_text(errors="replace")
    trained, start = (load_file(folder / "model.safetensors") for folder in (files.policy, policy))
    assert trained.keys() == start.keys()
    moved = [name for name, weight in start.items()
             if (weight.float() - trained[name].float()).abs().max() > 1e-5]
    assert len(moved) >= 14
