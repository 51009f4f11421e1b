"""scripts/environment.sh: an environment is made when it is not there, and made current when what
it holds has changed."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from programs import program

from looptool.config_file import ROOT

PYTHON = """#!/bin/bash
case "$*" in
  *venv*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
  *pip*) echo "pip ${@: -1}" ;;
esac
"""
"""Makes an environment whose python only tells what pip was asked for."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with one script that uses the environment."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "environment.sh", tmp_path / "scripts")
    program(tmp_path / "python", PYTHON)
    (tmp_path / "requirements.txt").write_text("-e .\n")
    (tmp_path / "pyproject.toml").write_text('include = ["looptool*"]\n')
    return tmp_path


def use(root: Path) -> list[str]:
    said = subprocess.run(["bash", "-c", f"source {root}/scripts/environment.sh; use_looptool"],
                          check=True, text=True, stdout=subprocess.PIPE,
                          env={**os.environ, "PYTHON": str(root / "python"), "LOOPTOOL_VENV": ""})
    return [line for line in said.stdout.splitlines() if line.startswith("pip")]


@pytest.mark.parametrize("file", ["requirements.txt", "pyproject.toml"])
def test_an_environment_is_made_once_and_again_when_packages_change(root: Path, file: str) -> None:
    assert use(root) == ["pip requirements.txt"] and use(root) == []
    with (root / file).open("a") as changed:
        changed.write("another\n")
    assert use(root) == ["pip requirements.txt"] and use(root) == []


TORCH = """#!/bin/bash
case "$*" in
  *venv*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
  *pip*torch==2.13.0+cpu)
    echo "pip ${@: -1}" >> FOLDER/asked
    case "WORLD $*" in own*|"index "*--extra-index-url*) ;; *) exit 1 ;; esac ;;
  *pip*) echo "pip ${@: -1}" >> FOLDER/asked ;;
esac
"""
"""A pip that has the CPU build itself ("own"), from PyTorch's index ("index"), or not at all."""
CPU = "pip torch==2.13.0+cpu"


@pytest.mark.parametrize("world, has_gpu, asked, said", [
    ("own", False, [CPU], "the CPU build, from pip's own index, as nvidia-smi finds no GPU"),
    ("index", False, [CPU, CPU], "the CPU build, from https://download.pytorch.org/whl/cpu, as"),
    ("none", False, [CPU, CPU], "pip's default build, several GB with CUDA, as https://"),
    ("own", True, [], "pip's default build with CUDA, as nvidia-smi finds a GPU")])
def test_without_a_gpu_torch_is_the_cpu_build(root: Path, world: str, has_gpu: bool,
                                              asked: list[str], said: str) -> None:
    (root / "python").write_text(TORCH.replace("WORLD", world).replace("FOLDER", str(root)))
    (root / "requirements.txt").write_text("-e .\ntorch==2.13.0\n")
    smi = program(root / "bin" / "nvidia-smi", f"#!/bin/bash\nexit {0 if has_gpu else 9}\n")
    done = subprocess.run(
        ["bash", "-c", f"source {root}/scripts/environment.sh; use_looptool"], check=True,
        text=True, capture_output=True,
        env={**os.environ, "PATH": f"{smi.parent}:{os.environ['PATH']}",
                                  "PYTHON": str(root / "python"), "LOOPTOOL_VENV": ""})
    lines = [line for line in done.stdout.splitlines() if line.startswith("torch: ")]
    assert len(lines) == 1 and lines[0].startswith(f"torch: {said}"), done.stdout + done.stderr
    assert (root / "asked").read_text().splitlines() == [*asked, "pip requirements.txt"]
