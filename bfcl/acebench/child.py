"""How the benchmark's own code is run: in a process of its own, in a scratch folder, without our
keys and settings.

Its relative paths then lead into the scratch folder, and Python leaves no __pycache__ in the
checkout.
"""
from __future__ import annotations

import os
import sys

from looptool.config_file import ROOT

_PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "HOME", "TMPDIR")


def command(module: str, *arguments: str) -> list[str]:
    """The command line of a module of this package."""
    return [sys.executable, "-B", "-m", f"bfcl.acebench.{module}", *arguments]


def environment() -> dict[str, str]:
    """The variables it gets."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {
        "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "TQDM_DISABLE": "1"}
