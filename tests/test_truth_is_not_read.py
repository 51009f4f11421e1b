"""Nothing of the loop knows that its world is simulated: who may ask the simulation, and for
what."""
from __future__ import annotations

import ast
from pathlib import Path

from looptool.config_file import ROOT

ALLOWED = {
    "dataloop/report.py": {"kinds", "rules", "truth"},  # figures for readers, made after the loop
    "dialog_generation/synthesize_tools.py": {"catalogue"},  # tools to import
    "looptool/models/endpoint.py": {"server"}}  # what the base URL "simulated" stands for
OF_THE_WORLD = ("looptool/simulation", "grpotool/tiny_student")


def asked(path: Path) -> set[str]:
    """Modules of the simulation that a file imports."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    names = [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module]
    names += [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    return {name.split(".")[-1] if name.count(".") > 1 else "all" for name in names
            if name.startswith("looptool.simulation")}


def test_only_report_and_held_out_evaluation_read_the_truth():
    found = {}
    for folder in ("looptool", "dataloop", "dialog_generation", "grpotool", "bfcl"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(OF_THE_WORLD) and (modules := asked(path)):
                found[name] = modules
    assert found == ALLOWED
