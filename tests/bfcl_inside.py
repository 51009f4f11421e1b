"""What must run where bfcl-eval is: tests/test_bfcl.py calls it with the Python of .venv-bfcl; the
last line is JSON.

    prompts FOLDER    what reaches the model, of the tasks where something could be lost
    table FOLDER      the official tables of the score files in FOLDER
    code FOLDER       calls that only Python would understand
    match FOLDER N    ToolMatch beside the official checker, see bfcl_differential.py
"""
from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bfcl.launch import NAME, Launch
from looptool.models.completion import Reply


def entries(category: str) -> Iterator[dict[str, Any]]:
    """The tasks of a category as a run would give them to the handler."""
    from bfcl_eval import _llm_response_generation as generation
    from bfcl_eval.constants.category_mapping import VERSION_PREFIX

    if VERSION_PREFIX == "BFCL_v4":
        yield from generation.get_involved_test_entries([category], False)[1]
    else:
        yield from generation.process_multi_turn_test_case(
            generation.get_involved_test_entries([category], False)[2])


def prompts(folder: Path) -> dict[str, Any]:
    """System messages and held-back functions of the dataset that did not reach the model, and how
    many did."""
    launch = Launch(folder)
    seen: list[str] = []

    def ask(chat: list[dict[str, str]], tools: Any, task: str) -> Reply:
        seen.append("\n".join(f"{message['role']}: {message['content']}" for message in chat))
        return Reply(text="no")

    handler = launch.handler.handler_class(ask, "full")(
        *((NAME, 0.0) if launch.version == "v3" else (NAME, 0.0, NAME, False)))
    kept, lost, tools = {"system": 0, "held_back": 0}, [], 0
    for category in launch.categories():
        for entry in entries(category):
            first = entry["question"][0]
            held = [function["name"] for group in entry.get("missed_function", {}).values()
                    for function in group]
            tools += len(entry["function"])
            if first and first[0]["role"] == "system" or held or category == "multi_turn_base":
                seen.clear()
                system = first[0]["content"] if first[0]["role"] == "system" else ""
                texts = [message["content"] for turn in entry["question"] for message in turn]
                handler.inference(entry, False, True)
                kept["system"] += bool(system)
                kept["held_back"] += bool(held)
                opening = seen[0].split("\nuser: ")[0]
                whole = system in opening and opening.count("system: ") == 1
                if not whole or any(text not in seen[-1] for text in texts):
                    lost.append(entry["id"])
                if any(name not in seen[-1] or f'"{name}"' in opening for name in held):
                    lost.append(entry["id"])
            else:
                launch.handler.read_tools(entry["function"], category)
    return {"kept": kept, "lost": lost, "tools": tools}


def table(folder: Path) -> dict[str, str]:
    """The first line of the official data_overall.csv for FOLDER/score/LoopTool/*_score.json."""
    launch = Launch(folder)
    from bfcl_eval.eval_checker import eval_runner_helper

    rows: dict[str, Any] = {}
    eval_runner_helper.update_leaderboard_table_with_local_score_file(rows, launch.folder / "score")
    eval_runner_helper.generate_leaderboard_csv(rows, launch.folder / "score")
    with (launch.folder / "score" / "data_overall.csv").open() as file:
        return next(csv.DictReader(file))


def code(folder: Path) -> list[str]:
    """Calls as bfcl-eval would evaluate them: two that it may, and five that would reach beyond its
    tools."""
    handler = Launch(folder).handler
    return [handler.as_python(handler.Call(*call)) for call in (
        ("cd", {"folder": "a'b"}), ("no_such_tool", {"a": [1, None, True]}),
        ("open", {"file": "x", "mode": "w"}), ("importlib", {}), ("x);import os", {}),
        ("cd", {"folder='x');y(z": 1}), ("execute_multi_turn_func_call", {}))]


if __name__ == "__main__":
    what, *words = sys.argv[1:]
    if what == "match":
        from bfcl_differential import compare

        found = compare(Path(words[0]), every=int(words[1]))
    else:
        found = {"prompts": prompts, "table": table, "code": code}[what](Path(words[0]))
    print(json.dumps(found))
