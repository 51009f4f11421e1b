"""Checks of the doctor that look at GPUs: memory and who holds it, attention, vLLM's sampler."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from grpotool.doctor.check_result import Finding, fail, ok, skip, warn
from grpotool.verl_run.overrides import attention, samples_in_process
from looptool.config import Config
from looptool.config_file import ROOT
from looptool.machine.packages import missing_packages
from looptool.run_files import RoundFiles

GB = 1e9
STARTS_WITHIN = 120
"""Seconds for a process that loads torch."""
SMI_WITHIN = 60
"""Seconds for nvidia-smi, which hangs where the driver does."""
FREE_SHARE = 0.9
"""Of a GPU's memory, below which somebody else uses it."""
FLASH_ATTENTION = "import flash_attn, flash_attn.bert_padding, flash_attn.ops.triton.cross_entropy"
"""What verl imports of it."""
INSTALL = "pip install --no-build-isolation flash-attn==2.8.3"


def count_gpus() -> int:
    """NVIDIA GPUs of this machine."""
    lines = nvidia_smi("-L")
    return sum(line.startswith("GPU ") for line in lines)


def nvidia_smi(*arguments: str) -> list[str]:
    """What it prints; nothing where it is not there, fails, or hangs."""
    if shutil.which("nvidia-smi") is None:
        return []
    try:
        done = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True,
                              timeout=SMI_WITHIN)
    except subprocess.TimeoutExpired:
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []


def in_a_process(*arguments: str) -> tuple[str, str]:
    """What Python prints with these arguments, and its error's last line, one of them empty."""
    try:
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True,
                              cwd=ROOT, timeout=STARTS_WITHIN)
    except subprocess.TimeoutExpired:
        return "", f"no answer in {STARTS_WITHIN} s"
    if done.returncode == 0:
        return done.stdout, ""
    return "", (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def holders(uuid: str) -> str:
    """The processes on a GPU, in words."""
    apps = nvidia_smi("--query-compute-apps=gpu_uuid,pid,process_name,used_memory",
                      "--format=csv,noheader")
    found = [line.split(", ") for line in apps if line.startswith(uuid)]
    named = [f"process {pid} ({Path(name).name}, {used})" for _, pid, name, used in found]
    return ", ".join(named) or "a process that nvidia-smi does not name, as of another container"


def check_gpu_memory(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Nobody else holds memory of a GPU, such as engines of a run that was killed."""
    if config.train.profile == "cpu" or not count_gpus():
        yield skip("memory of GPUs", "train.profile is cpu, or no GPU is here")
        return
    printed, error = in_a_process("-m", "grpotool.doctor.gpu_memory")
    if error:
        yield fail(f"torch cannot use the GPUs: {error}",
                   "see the message; CUDA 13, of requirements-gpu.txt, takes driver 580 or newer")
        return
    memory = json.loads(printed)
    taken = [(number, gpu) for number, gpu in enumerate(memory)
             if gpu["free"] < FREE_SHARE * gpu["total"]]
    for number, gpu in taken:
        free, total = gpu["free"] / GB, gpu["total"] / GB
        yield fail(f"GPU {number}: {free:.1f} of {total:.1f} GB are free; the rest is held by "
                   f"{holders(gpu['uuid'])}", "wait for its end, or kill it")
    if memory and not taken:
        least = min(gpu["free"] for gpu in memory) / GB
        yield ok(f"{least:.1f} GB or more are free on each of {len(memory)} GPUs")


def check_attention(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """What packs sequences can be imported where they are to be packed."""
    if config.train.profile == "cpu":
        return
    if attention(config) == "sdpa":
        if config.train.attention == "auto":
            yield warn("flash-attn is not installed, so rows are padded (train.attention is auto)",
                       f"{INSTALL}, which needs nvcc, or set train.attention=sdpa")
        return
    _, error = in_a_process("-c", FLASH_ATTENTION)
    if error:
        yield fail(f"flash-attn cannot be imported: {error}",
                   f"{INSTALL}, or set train.attention=sdpa")
    else:
        yield ok("flash-attn can be imported")


def check_sampler(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """vLLM's engines start without a compiler, unless the user asks for FlashInfer's sampler."""
    if config.train.profile == "cpu" or samples_in_process(config) and missing_packages(["vllm"]):
        return
    if os.environ.get("VLLM_USE_FLASHINFER_SAMPLER", "0") == "0":
        yield ok("vLLM samples without FlashInfer, which would compile at the first request")
    elif shutil.which("nvcc"):
        yield ok("VLLM_USE_FLASHINFER_SAMPLER is set, and nvcc is there to compile it")
    else:
        yield fail("VLLM_USE_FLASHINFER_SAMPLER is set, and there is no nvcc on PATH to compile it",
                   "unset it, or put CUDA's bin on PATH")
