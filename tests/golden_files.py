"""Golden files: what a stage writes, byte by byte. `REGENERATE_GOLDENS=1 pytest` writes them anew;
read the diff then."""
from __future__ import annotations

import os
from pathlib import Path

FOLDER = Path(__file__).resolve().parent / "golden"


def check_golden(written: Path, name: str) -> None:
    """Compare a file that was just written with tests/golden/<name>."""
    golden = FOLDER / name
    if os.environ.get("REGENERATE_GOLDENS"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_bytes(written.read_bytes())
    assert written.read_text(encoding="utf-8") == golden.read_text(encoding="utf-8")
