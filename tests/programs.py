"""Programs that stand in for others, in a folder of the test's, and waiting for what they do."""
from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path


def program(path: Path, text: str) -> Path:
    """Write one that can be run; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, "has not come in time"
        time.sleep(0.01)
