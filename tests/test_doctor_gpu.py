"""The doctor's checks of GPUs, with stand-ins for nvidia-smi, nvcc and torch, as no GPU is here."""
from __future__ import annotations

import os
from pathlib import Path

import pytest
from programs import program
from test_doctor import make_config, run

from grpotool.doctor import gpu as doctor_gpu
from looptool.config import Train
from looptool.config_file import ROOT
from looptool.machine import packages
from looptool.run_files import RoundFiles

TORCH = """
from types import SimpleNamespace

def init():
    {init}

cuda = SimpleNamespace(
    init=init, device_count=lambda: {count},
    mem_get_info=lambda number: ([79_000_000_000, 12_500_000_000][number], 80_000_000_000),
    get_device_properties=lambda number: SimpleNamespace(uuid=["aa", "bb"][number]))
"""
SMI = """#!/bin/sh
case "$1" in
  -L) echo 'GPU 0: NVIDIA (UUID: GPU-aa)'; echo 'GPU 1: NVIDIA (UUID: GPU-bb)' ;;
  --query-compute-apps=*) {apps} ;;
esac
"""
APP = "echo 'GPU-{}, 4242, /env/bin/python3, 66000 MiB'"


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Makes a machine: what torch does at its start, GPUs that it sees, what nvidia-smi names."""
    def make(init: str = "pass", count: int = 2, apps: str = ":") -> None:
        program(tmp_path / "stand_in" / "torch.py", TORCH.format(init=init, count=count))
        program(tmp_path / "stand_in" / "nvidia-smi", SMI.format(apps=apps))
        monkeypatch.setenv("PYTHONPATH", str(tmp_path / "stand_in"))
        monkeypatch.setenv("PATH", f"{tmp_path / 'stand_in'}:{os.environ['PATH']}")
    return make


@pytest.mark.parametrize("given, expected", [
    ({"count": 1}, ["ok   79.0 GB or more are free on each of 1 GPUs"]),
    ({"apps": APP.format("bb")},
     ["FAIL GPU 1: 12.5 of 80.0 GB are free; the rest is held by process 4242 (python3, 66000 MiB) "
      "-> wait for its end, or kill it"]),
    ({"apps": APP.format("aa")},
     ["FAIL GPU 1: 12.5 of 80.0 GB are free; the rest is held by a process that nvidia-smi does "
      "not name, as of another container -> wait for its end, or kill it"]),
    ({"init": "raise RuntimeError('The NVIDIA driver on your system is too old')"},
     ["FAIL torch cannot use the GPUs: RuntimeError: The NVIDIA driver on your system is too old "
      "-> see the message; CUDA 13, of requirements-gpu.txt, takes driver 580 or newer"])])
def test_memory_of_gpus(tmp_path, machine, given, expected):
    machine(**given)
    config = make_config(tmp_path, train=Train())
    assert run(doctor_gpu.check_gpu_memory, config, RoundFiles(tmp_path, 1)) == expected


def test_memory_is_not_asked_for_without_gpus(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    for profile in ("cpu", "gpu"):
        config = make_config(tmp_path, train=Train(profile=profile))
        (line,) = run(doctor_gpu.check_gpu_memory, config, RoundFiles(tmp_path, 1))
        assert line.startswith("skip memory of GPUs")


def flash_attn(folder: Path, error: str) -> None:
    for module in ("__init__", "bert_padding", "ops/__init__", "ops/triton/__init__"):
        program(folder / "flash_attn" / f"{module}.py", "")
    program(folder / "flash_attn" / "ops" / "triton" / "cross_entropy.py", error)


INSTALL = "pip install --no-build-isolation flash-attn==2.8.3"


@pytest.mark.parametrize("chosen, there, error, expected", [
    ("auto", True, "", ["ok   flash-attn can be imported"]),
    ("flash_attention_2", True, "raise ImportError('undefined symbol: x')",
     [f"FAIL flash-attn cannot be imported: ImportError: undefined symbol: x -> {INSTALL}"]),
    ("flash_attention_2", False, "",
     ["FAIL flash-attn cannot be imported: ModuleNotFoundError: No module named 'flash_attn' -> "
      f"{INSTALL}"]),
    ("auto", False, "", ["warn flash-attn is not installed, so rows are padded (train.attention "
                         f"is auto) -> {INSTALL}"]),
    ("sdpa", False, "", [])])
def test_attention(tmp_path, monkeypatch, chosen, there, error, expected):
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    if there:
        flash_attn(tmp_path, error)
    monkeypatch.setattr(packages, "find_spec", lambda name: name if there else None)
    config = make_config(tmp_path, train=Train(attention=chosen))
    lines = run(doctor_gpu.check_attention, config, RoundFiles(tmp_path, 1))
    assert len(lines) == len(expected)
    for line, start in zip(lines, expected, strict=True):
        assert line.startswith(start)
    assert run(doctor_gpu.check_attention, make_config(tmp_path), RoundFiles(tmp_path, 1)) == []


def test_training_md_and_the_doctor_name_one_flash_attention():
    for name in ("docs/training.md", "requirements-gpu.txt"):
        assert doctor_gpu.INSTALL in (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("user, compiler, start", [
    (None, False, "ok   vLLM samples without FlashInfer"),
    ("0", False, "ok   vLLM samples without"),
    ("1", True, "ok   VLLM_USE_FLASHINFER_SAMPLER is set, and nvcc is there"),
    ("1", False, "FAIL VLLM_USE_FLASHINFER_SAMPLER is set, and there is no nvcc on PATH")])
def test_sampler(tmp_path, monkeypatch, user, compiler, start):
    monkeypatch.delenv("VLLM_USE_FLASHINFER_SAMPLER", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    if user:
        monkeypatch.setenv("VLLM_USE_FLASHINFER_SAMPLER", user)
    if compiler:
        program(tmp_path / "nvcc", "#!/bin/sh\n")
    config = make_config(tmp_path, train=Train())
    (line,) = run(doctor_gpu.check_sampler, config, RoundFiles(tmp_path, 1))
    assert line.startswith(start)
    assert run(doctor_gpu.check_sampler, make_config(tmp_path), RoundFiles(tmp_path, 1)) == []


def test_what_hangs_is_named(machine, tmp_path, monkeypatch):
    machine()
    program(tmp_path / "stand_in" / "nvidia-smi", "#!/bin/sh\nexec sleep 30\n")
    monkeypatch.setattr(doctor_gpu, "SMI_WITHIN", 0.2)
    monkeypatch.setattr(doctor_gpu, "STARTS_WITHIN", 0.2)
    assert doctor_gpu.nvidia_smi("-L") == [] and doctor_gpu.count_gpus() == 0
    assert doctor_gpu.in_a_process("-c", "import time; time.sleep(30)") == (
        "", "no answer in 0.2 s")
