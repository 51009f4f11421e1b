"""ACEBench's own eval_main.py over the files in the working folder; a process of its own, started
by `scoring`.

    python -m bfcl.acebench.scorer_process CHECKOUT en official|corrected CATEGORY ...

In (below the working folder, where eval_main.py looks): data_all/, result_all/. Out: score_all/,
and below its parent result_excel/, which stays empty; and the eval_main.py that was run, for
"corrected" with one statement replaced.
"""
from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from bfcl.acebench.containment import arithmetic, stand_in

MODEL = "model"
"""The name under which answers are scored; one with "FC" in it would be read in another way."""
STRIPS = 'model_result_item_raw = "".join(model_result_item_raw.split())'
KEEPS = "model_result_item_raw = model_result_item_raw.strip()"
"""What the statement that takes all whitespace out of an answer, that of its strings too, is
replaced with."""
CRASH = "scorer_crash"


class Spreadsheet:
    """Stands for the tables that the scorer writes as .xlsx: their cells, as JSON lines beside
    where they would lie."""

    def __init__(self, *_: Any):
        self.active, self._rows = self, {}

    def cell(self, row: int, column: int, value: Any) -> Spreadsheet:
        self._rows.setdefault(row, []).append(value)
        return self

    def save(self, path: str) -> None:
        Path(path).with_suffix(".json").write_text(
            "".join(f"{json.dumps(row)}\n" for row in self._rows.values()))

    def to_excel(self, path: str, index: bool) -> None:
        """The answers beside their prompts: they are here already."""


def corrected(source: str) -> str:
    """eval_main.py with whitespace left in the strings of an answer."""
    count = source.count(STRIPS)
    if count == 0:
        sys.exit(f"eval_main.py holds no {STRIPS!r}, so there is nothing to correct; use the "
                 "pinned commit")
    return source.replace(STRIPS, KEEPS)


def guard(checker: ModuleType, name: str) -> None:
    """An answer on which the checker itself fails is wrong; without this, one such answer ends the
    scoring of all."""
    check: Callable[..., dict] = getattr(checker, name)

    def guarded(*arguments: Any) -> dict:
        try:
            return check(*arguments)
        except Exception as error:  # noqa: BLE001
            # whatever the benchmark's code raises on a model's answer
            return {"valid": False, "error": [f"{type(error).__name__}: {error}"],
                    "error_type": CRASH}

    setattr(checker, name, guarded)


def main() -> None:
    folder, language, way, *categories = sys.argv[1:]
    sys.path.insert(0, folder)
    stand_in("pandas", DataFrame=Spreadsheet)
    stand_in("openpyxl", Workbook=Spreadsheet)
    stand_in("openpyxl.styles", Alignment=dict)
    importlib.import_module("model_inference.utils").eval = arithmetic
    checker = importlib.import_module("model_eval.checker")
    guard(checker, "normal_checker")
    guard(checker, "agent_checker")
    source = Path(folder, "eval_main.py").read_text(encoding="utf-8")
    script = Path("eval_main.py")
    script.write_text(corrected(source) if way == "corrected" else source, encoding="utf-8")
    sys.argv = [str(script), "--language", language, "--model", MODEL, "--category", *categories]
    os.makedirs(f"score_all/score_{language}/{MODEL}")
    runpy.run_path(str(script), run_name="__main__")


if __name__ == "__main__":
    main()
