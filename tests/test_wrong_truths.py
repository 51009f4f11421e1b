"""Wrong ground truths of BFCL v3: the list against the package's data, the score without them."""
from __future__ import annotations

import json
from collections import Counter

from test_bfcl import NEVER_RIGHT, data_folder, v3

from bfcl.official.scores import Tally
from bfcl.official.wrong_truths import sound_tallies, wrong_truths

PULL = "https://github.com/ShishirPatil/gorilla/pull/"
LISTED = [id for truth in wrong_truths() for id in truth.ids]


def test_each_entry_stands_once_with_reason_and_source() -> None:
    assert len(LISTED) == len(set(LISTED)) == 34
    assert NEVER_RIGHT.keys() <= set(LISTED)
    for truth in wrong_truths():
        assert truth.why and truth.source.startswith((PULL, "BFCL_FULL=1"))


@v3
def test_the_data_shows_each_fault() -> None:
    lines: dict[str, str] = {}
    folder = data_folder("v3")
    truths = folder / "possible_answer"
    for path in (*folder.glob("BFCL_v3_*.json"), *truths.glob("BFCL_v3_*.json")):
        for line in path.read_text().splitlines():
            id = json.loads(line)["id"]
            lines[id] = lines.get(id, "") + line
    for truth in wrong_truths():
        for id in truth.ids:
            assert truth.shows in lines[id], id


def test_without_them_both_counts_are_smaller_and_draws_are_averaged() -> None:
    ids = {"parallel": ["parallel_1", "parallel_2", "parallel_158"],
           "irrelevance": ["irrelevance_7"]}
    draws = [{"parallel_158"}, {"parallel_158", "parallel_2", "irrelevance_7"}]
    assert sound_tallies(draws, ids) == {"parallel": Tally(1.5, 2), "irrelevance": Tally(0, 0)}
    assert Counter(id.rsplit("_", 1)[0] for id in LISTED)["parallel"] == 3
