"""Every pin of every requirements file is there for each Python that we say, by pip itself."""
from __future__ import annotations

import subprocess
import sys

import pytest
from packaging.requirements import Requirement

from looptool.config_file import ROOT

PYTHONS = ("3.10", "3.11", "3.12")
FILES = sorted(path.name for path in ROOT.glob("requirements*.txt"))


def pins(name: str, python: str) -> list[str]:
    """What a file asks for on a Python. pip evaluates markers by the Python that runs it."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("${BFCL_EVAL}", "2025.6.14")
    lines = (line.partition("#")[0].strip() for line in text.splitlines())
    found = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return [f"{one.name}{one.specifier}" for one in found
            if one.marker is None or one.marker.evaluate({"python_version": python})]


def test_there_is_a_pin_for_each_python():
    assert len(FILES) == 4
    for name in FILES:
        names = [[Requirement(pin).name for pin in pins(name, python)] for python in PYTHONS]
        for some in names:
            assert len(some) == len(set(some)) > 10
        optional = {"exceptiongroup"}  # which Python 3.11 has in itself
        assert {*names[0]} - optional == {*names[1]} == {*names[2]}


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("name", FILES)
def test_pip_finds_all_pins(tmp_path, name, python):
    """Needs a package index; dependencies are left out, as some are only there as sources."""
    (tmp_path / "pins.txt").write_text("\n".join(pins(name, python)))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--ignore-installed",
         "--no-deps", "--only-binary=:all:", "--python-version", python, "--target",
         str(tmp_path / "none"), "--requirement", str(tmp_path / "pins.txt")],
        capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
