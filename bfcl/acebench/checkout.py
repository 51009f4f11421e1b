"""The user's checkout of ACEBench: that it is the pinned one, and what is read from it. Nothing is
written into it.

Its data is one JSON row a line, data_all/data_en/data_normal_atom_bool.json, and the same file in
possible_answer/:

    {"id": "normal_atom_bool_0", "question": "user: I need ...\\nsystem: Which ...?\\nuser: ...",
     "function": [...], "time": "Today is ..."}
    {"id": "normal_atom_bool_0",
     "ground_truth": {"PlanMeal": {"meal": "dinner", "vegetarian": true}}}
"""
from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, Literal

import msgspec

from bfcl.card import hash_files
from looptool.errors import InputError

REPOSITORY = "https://github.com/chenchen0103/ACEBench"
COMMIT = "9f340f9961cd6cb4f93f6868a514ea34813d0a43"
"""Of 2025-07-21, the date that the paper gives its ACEBench numbers."""
CONTENT = "48179e7f21fa3c70"
"""`hash_files` of what is used of it: an archive of the commit is as good as a clone, and an edited
clone is not."""

Language = Literal["en", "zh"]

ATOM = [f"normal_atom_{kind}"
        for kind in ("bool", "enum", "number", "list", "object_deep", "object_short")]
SINGLE = ["normal_single_turn_single_function", "normal_single_turn_parallel_function"]
MULTI = ["normal_multi_turn_user_switch", "normal_multi_turn_user_adjust"]
NORMAL = [*ATOM, *SINGLE, *MULTI, "normal_similar_api", "normal_preference"]
SPECIAL = ["special_incomplete", "special_error_param", "special_irrelevant"]
AGENT = ["agent_multi_step", "agent_multi_turn"]
USER = "agent_multi_turn"
"""The one category whose tasks have a user, played by a model."""
CATEGORIES = [*NORMAL, *SPECIAL, *AGENT]

_USED = ["eval_main.py", "category.py", "model_eval/*.py", "data_all/**/data_*.json", *(
    f"model_inference/{one}.py"
    for one in ("utils", "base_inference", "common_inference", "prompt_*", "multi_*/**/*"))]


class Row(msgspec.Struct, kw_only=True):
    """One task, as the benchmark writes it."""

    id: str
    question: str
    """The conversation, each turn behind "user:" or "system:"; for an agent task, what its user
    wants."""
    function: list[dict[str, Any]]
    time: str = ""
    profile: str | dict[str, Any] = ""
    initial_config: dict[str, Any] = {}
    """State of an agent task's environment at its start, by class."""
    involved_classes: list[str] = []

    @property
    def conversation(self) -> str:
        """Id of what is right or wrong as a whole: the turns of a multi-turn task share it."""
        return self.id.rsplit("_", 1)[0] if self.id.startswith("normal_multi_turn") else self.id


class Checkout:
    """A checked folder; `commit` and `content` go on the card."""

    def __init__(self, folder: Path, commit: str, content: str):
        self.folder, self.commit, self.content = folder, commit, content

    def data(self, language: Language, category: str) -> Path:
        return self.folder / "data_all" / f"data_{language}" / f"data_{category}.json"

    def truth(self, language: Language, category: str) -> Path:
        return self.data(language, category).parent / "possible_answer" / f"data_{category}.json"

    def rows(self, language: Language, category: str) -> list[Row]:
        """All tasks of a category, in the order of the file.

        Raises:
            InputError: the file cannot be read.
        """
        path = self.data(language, category)
        try:
            return [msgspec.json.decode(line, type=Row) for line in path.read_bytes().splitlines()]
        except (OSError, msgspec.DecodeError) as error:
            raise InputError(f"{path}: is not what ACEBench has there ({error}); "
                             f"{_advice(self.folder)}") from None


def open_checkout(folder: Path, any_commit: bool = False) -> Checkout:
    """The checkout, if its data and scorer are those of the pinned commit, or with `any_commit`
    any.

    Raises:
        InputError: it is none, or another one; says how to get it.
    """
    if not (folder / "eval_main.py").is_file() or not (folder / "data_all").is_dir():
        raise InputError(f"--acebench {folder}: holds no ACEBench; {_advice(folder)}")
    # sorted, as hash_files keeps files of one name in the order that they come in
    used = sorted({file for pattern in _USED for file in folder.glob(pattern) if file.is_file()})
    content = hash_files(used)
    if content == CONTENT:
        return Checkout(folder.resolve(), COMMIT, content)
    commit = _commit(folder)
    if not any_commit:
        raise InputError(f"--acebench {folder}: its data and scorer are not those of commit "
                         f"{COMMIT[:7]} (it is at {commit[:7]}, or was edited), so scores would "
                         f"not compare; git -C {folder} checkout {COMMIT}, or clone {REPOSITORY} "
                         "anew; or take this one with --any-commit, and the card says so")
    return Checkout(folder.resolve(), f"{commit}, NOT the pinned {COMMIT[:7]} or edited", content)


def _advice(folder: Path) -> str:
    return f"git clone {REPOSITORY} {folder} && git -C {folder} checkout {COMMIT}"


def _commit(folder: Path) -> str:
    """HEAD of a clone."""
    try:
        found = subprocess.run(["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True,
                               text=True)
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"
