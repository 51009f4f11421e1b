"""Programs that stand in for others, in a folder of the test's."""
from __future__ import annotations

from pathlib import Path


def program(path: Path, text: str) -> Path:
    """Write one that can be run; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path
