"""Answers -> scores, by the checkout's own eval_main.py as it is ("official"), and with one
statement corrected.

At the pinned commit eval_main.py takes all whitespace out of an answer before it reads it, that of
its strings too. Most strings are then compared without their spaces, but those in a list inside of
an object are not, so that "New York" there is wrong however it is answered. "corrected" is a copy
of the source with that statement (it stands there once for single turns and once for conversations)
replaced by one that strips the ends only. The repository did away with it for single turns in its
commit 5b6e4de of 2025-10-23.
"""
from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import msgspec

from bfcl.acebench.answers import Answer
from bfcl.acebench.checkout import AGENT, MULTI, Checkout, Language, Row
from bfcl.acebench.child import command, environment
from bfcl.acebench.scorer_process import CRASH, MODEL
from looptool.errors import InputError
from looptool.json_lines import encode_line, write_atomic
from looptool.records import Record

Way = Literal["official", "corrected"]


class CategoryScore(Record):
    right: int
    total: int
    """Tasks, or of a multi-turn category conversations, which are right only as a whole."""
    process: float | None
    """Of an agent category: mean share of the milestones that were reached, in order."""
    crashes: int
    """Answers on which the scorer itself fails, so that they count as wrong."""


def score(checkout: Checkout, language: Language, rows: dict[str, list[Row]],
          answers: dict[str, Answer], way: Way, out: Path) -> dict[str, CategoryScore]:
    """The scores of the categories in `rows`; the scorer's own files go to `out`.

    Raises:
        InputError: the scorer does not run; its output is in `out`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch) / "work"  # the scorer also writes to ../result_excel
        for category, tasks in rows.items():
            _lay_out(checkout, language, category, tasks, answers, work)
        done = subprocess.run(command("scorer_process", str(checkout.folder), language, way, *rows),
                              cwd=work, env=environment(), stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        write_atomic(out / "eval_main.log", [done.stdout])
        if done.returncode:
            raise InputError(
                f"ACEBench's eval_main.py failed; its output is in {out / 'eval_main.log'}")
        scored = work / "score_all" / f"score_{language}"
        for file in [*(scored / MODEL).iterdir(), scored / "result.json"]:
            write_atomic(out / file.name, [file.read_bytes()])
    return {category: read_score(out / f"data_{category}_score.json", category, tasks)
            for category, tasks in rows.items()}


def _lay_out(checkout: Checkout, language: Language, category: str, tasks: list[Row],
             answers: dict[str, Answer], work: Path) -> None:
    """The files that the scorer reads: these tasks with their truth, as the checkout has them, and
    the answers."""
    wanted = {row.id for row in tasks}
    data, truth = (path(language, category).read_bytes().splitlines(keepends=True)
                   for path in (checkout.data, checkout.truth))
    # the scorer pairs data, truth and answers line by line
    keep = [index for index, line in enumerate(data)
            if msgspec.json.decode(line, type=Row).id in wanted]
    folder = work / "data_all" / f"data_{language}"
    write_atomic(folder / f"data_{category}.json", [data[index] for index in keep])
    write_atomic(folder / "possible_answer" / f"data_{category}.json",
                 [truth[index] for index in keep])
    write_atomic(work / "result_all" / f"result_{language}" / MODEL
                 / f"data_{category}_result.json",
                 [encode_line(_result(answers[row.id])) for row in tasks])


def _result(answer: Answer) -> dict[str, Any]:
    result = {"id": answer.id, "result": answer.result}
    return result if answer.process is None else result | {"process": answer.process}


def read_score(path: Path, category: str, tasks: list[Row]) -> CategoryScore:
    """A score file of the benchmark: a line of figures, then a line for each answer that it found
    wrong.

    It counts the turns of a conversation; here whole ones are counted, which is what its accuracy
    is of.
    """
    first, *wrong = [msgspec.json.decode(line) for line in path.read_bytes().splitlines()]
    right, total = first["correct_count"], first["total_count"]
    if category in MULTI:
        total = len({row.conversation for row in tasks})
        right = total - len({entry["id"].rsplit("_", 1)[0] for entry in wrong})
    accuracy = first["end_to_end_accuracy"] if category in AGENT else first["accuracy"]
    # its figures have three digits
    assert abs(accuracy - right / total) < 0.0006, (category, accuracy, right, total)
    return CategoryScore(right=right, total=total,
                         process=first.get("process_accuracy") if category in AGENT else None,
                         crashes=Counter(entry["error_type"] for entry in wrong)[CRASH])
