"""scripts/environment.sh: an environment is made when it is not there, and made current when what it holds has changed."""
from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from looptool.config import ROOT

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
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    (tmp_path / "requirements.txt").write_text("-e .\n")
    (tmp_path / "pyproject.toml").write_text('include = ["looptool*"]\n')
    return tmp_path


def use(root: Path) -> list[str]:
    said = subprocess.run(["bash", "-c", f"source {root}/scripts/environment.sh; use_looptool"], check=True, text=True,
                          stdout=subprocess.PIPE, env={**os.environ, "PYTHON": str(root / "python"), "LOOPTOOL_VENV": ""})
    return [line for line in said.stdout.splitlines() if line.startswith("pip")]


@pytest.mark.parametrize("file", ["requirements.txt", "pyproject.toml"])
def test_an_environment_is_made_once_and_again_when_packages_change(root: Path, file: str) -> None:
    assert use(root) == ["pip requirements.txt"] and use(root) == []
    with (root / file).open("a") as changed:
        changed.write("another\n")
    assert use(root) == ["pip requirements.txt"] and use(root) == []
