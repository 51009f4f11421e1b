"""bfcl-eval as it was installed, run with our handler: nothing in it is edited.

Its module `constants.model_config` imports the SDK of every vendor and names every model. Before
anything else is imported, a module with our one model stands in its place. bfcl-eval then keeps all
its files in one folder of ours: `result/` (replies, one JSON a line), `score/` (its scores and
tables), `log.txt` (what it prints).
"""
from __future__ import annotations

import contextlib
import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

from bfcl.card import draw_folder
from looptool.errors import InputError
from looptool.json_lines import write_atomic

if TYPE_CHECKING:
    from bfcl.qwentool import Ask, Prompt

NAME = "LoopTool"
"""Our model's name in bfcl-eval: an underscore would become a slash there, and "FC" another
handler."""
COMMITS = {"2025.6.14": "1bb65c95", "2026.3.23": "6ea57973"}
"""Commit of the benchmark's repository whose files are those of the package: v3, the board of
2025-06-14, and v4."""


def installed_version() -> str:
    """The version of bfcl-eval.

    Raises:
        InputError: there is none, or one that was never tried.
    """
    try:
        version = distribution("bfcl-eval").version
    except PackageNotFoundError:
        raise InputError("bfcl-eval is not installed here; start this by "
                         "scripts/09_evaluate_bfcl.sh, which makes .venv-bfcl") from None
    if version not in COMMITS:
        raise InputError(f"bfcl-eval {version} is neither v3 (2025.6.14) nor v4 (2026.3.23); "
                         "remove .venv-bfcl and run scripts/09_evaluate_bfcl.sh again")
    return version


def installed_files() -> list[Path]:
    """bfcl-eval's data and code."""
    package = distribution("bfcl-eval")
    return [Path(str(package.locate_file(file))) for file in package.files or ()
            if file.parts[0] == "bfcl_eval" and file.suffix in (".json", ".py")]


class Launch:
    """bfcl-eval over one folder, in this process; a second folder needs a second process."""

    def __init__(self, folder: Path):
        self.folder = folder.resolve()
        self.folder.mkdir(parents=True, exist_ok=True)
        os.environ["BFCL_PROJECT_ROOT"] = str(self.folder)
        self._model = SimpleNamespace(
            model_name=NAME, display_name=NAME, url="", org="", license="", model_handler=None,
            input_price=None, output_price=None, is_fc_model=False, underscore_to_dot=False)
        stand_in = ModuleType("bfcl_eval.constants.model_config")
        stand_in.MODEL_CONFIG_MAPPING = {NAME: self._model}
        sys.modules[stand_in.__name__] = stand_in
        # it looks for keys in a file, which we do not have
        logging.getLogger("dotenv").setLevel(logging.ERROR)
        from bfcl import qwentool

        self.handler, self.version = qwentool, qwentool.VERSION
        self._model.model_handler = qwentool.handler_class(_nobody, "full")  # scoring asks nothing

    def results(self, draw: int) -> Path:
        """Where the replies of a draw lie."""
        return draw_folder(self.folder, draw) / "result" / NAME

    def scores(self, draw: int) -> Path:
        """Where its score files lie."""
        return draw_folder(self.folder, draw) / "score" / NAME

    def categories(self) -> list[str]:
        """All that the version scores and a machine without a search engine can run: v3's 17, and
        the same of v4."""
        from bfcl_eval.constants import category_mapping

        return [category for group in ("non_live", "live", "multi_turn")
                for category in category_mapping.TEST_COLLECTION_MAPPING[group]]

    def entry_ids(self, category: str) -> list[str]:
        """The ids of a category, in its order.

        Raises:
            InputError: there is no such category.
        """
        from bfcl_eval.constants import category_mapping

        known = (category_mapping.ALL_SCORING_CATEGORIES if self.version == "v4"
                 else category_mapping.TEST_FILE_MAPPING)
        if category not in known:
            raise InputError(f"--categories {category}: {self.version} has {', '.join(known)}")
        if self.version == "v4":
            from bfcl_eval.utils import load_dataset_entry

            return [entry["id"] for entry in load_dataset_entry(category, include_prereq=False)]
        from bfcl_eval.constants.eval_config import PROMPT_PATH
        from bfcl_eval.utils import load_file

        return [entry["id"] for entry in load_file(PROMPT_PATH / known[category])]

    def generate(self, ask: Ask, prompt: Prompt, ids: Mapping[str, Sequence[str]], threads: int,
                 draw: int) -> None:
        """Ask for every entry that has no result yet; `ids` by category."""
        self._forget_worlds()
        self._model.model_handler = self.handler.handler_class(ask, prompt)
        whole = self._whole(ids)
        if not whole:
            # where --run-ids looks
            write_atomic(self.folder / "test_case_ids_to_generate.json", [json.dumps(ids).encode()])
        self._run("generate", "--test-category", ",".join(ids), "--num-threads", str(threads),
                  "--result-dir", str(self.results(draw).parent), *([] if whole else ["--run-ids"]))

    def evaluate(self, ids: Mapping[str, Sequence[str]], draw: int) -> None:
        self._forget_worlds()
        flags = ["--test-category", ",".join(ids), "--result-dir", str(self.results(draw).parent),
                 "--score-dir", str(self.scores(draw).parent)]
        if self.version == "v4":
            return self._run("evaluate", *flags, "--partial-eval")
        from bfcl_eval.eval_checker import eval_runner

        load = eval_runner.load_file
        # v3 scores whole categories only: let it take the chosen entries for the whole
        if not self._whole(ids):
            wanted = {id for category in ids.values() for id in category}
            eval_runner.load_file = lambda *args, **more: list(
                # by id: v3 has one twice, of which a subset takes one
                {entry["id"]: entry for entry in load(*args, **more)
                 if entry["id"] in wanted}.values())
        try:
            self._run("evaluate", *flags)
        finally:
            eval_runner.load_file = load

    def _whole(self, ids: Mapping[str, Sequence[str]]) -> bool:
        """Whether categories are asked for with all their entries."""
        return all(len(chosen) == len(self.entry_ids(category)) for category, chosen in ids.items())

    @staticmethod
    def _forget_worlds() -> None:
        """bfcl-eval keeps each task's simulated systems as long as the process lives; a draw begins
        with new ones."""
        from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils

        for name in [name for name in vars(multi_turn_utils) if name.endswith("_instance")]:
            delattr(multi_turn_utils, name)

    def _run(self, command: str, *flags: str) -> None:
        from bfcl_eval.__main__ import cli

        with (self.folder / "log.txt").open("a",
                                            encoding="utf-8") as log, contextlib.redirect_stdout(
                                                log):
            # standalone, the command line would end this process
            cli([command, "--model", NAME, *flags], standalone_mode=False)


def _nobody(*_: Any) -> NoReturn:
    raise AssertionError("no model is asked while results are scored")
