"""Packages that only some machines need, and so may be missing."""
from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

RAY_ENGINE = ("ray", "pyarrow", "vllm")
"""Of probe.engine "ray"."""


def missing_packages(names: Iterable[str]) -> list[str]:
    """Those that are not installed."""
    return [name for name in names if find_spec(name) is None]
