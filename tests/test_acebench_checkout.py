"""With a checkout of ACEBench: its ground truth as a model's replies, through our prompts,
conversion and environments.

    git clone https://github.com/chenchen0103/ACEBench FOLDER && git -C FOLDER checkout 9f340f9
    ACEBENCH=FOLDER python -m pytest tests/test_acebench_checkout.py
"""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from acebench_oracle import Oracle
from local_server import LocalServer

from bfcl.acebench.checkout import AGENT, CATEGORIES, COMMIT, NORMAL, SPECIAL, open_checkout
from bfcl.acebench.prompting import read_conversation, read_date
from bfcl.card import Scored, read_card
from looptool.config_file import ROOT

FOLDER = os.environ.get("ACEBENCH")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(
    not FOLDER, reason=f"needs a checkout of ACEBench: clone it, check out {COMMIT[:7]}, set "
                       "ACEBENCH to its folder")]

OFFICIAL = {
    "en": {"normal_atom_object_deep": 33, "normal_single_turn_single_function": 92,
           "normal_single_turn_parallel_function": 86, "normal_multi_turn_user_switch": 37,
           "normal_multi_turn_user_adjust": 38, "normal_similar_api": 48,
           "normal_preference": 49, "agent_multi_step": 9},
    "zh": {"normal_atom_list": 49, "normal_atom_object_short": 49,
           "normal_single_turn_single_function": 99, "normal_single_turn_parallel_function": 97,
           "normal_multi_turn_user_switch": 49, "normal_multi_turn_user_adjust": 49,
           "normal_similar_api": 48, "agent_multi_step": 11}}
"""Right answers where the ground truth does not get all, by the scorer as it is."""
CORRECTED = {
    "en": {"normal_single_turn_parallel_function": 99, "normal_preference": 49,
           "agent_multi_step": 9},
    "zh": {"normal_atom_list": 49, "normal_atom_object_short": 49,
           "normal_single_turn_parallel_function": 98, "normal_similar_api": 48,
           "agent_multi_step": 11}}
"""The same with whitespace left in strings."""
REFUSED = {
    # of two calls of one API it compares with the last
    "en": {"normal_single_turn_parallel_function_42": "real: [Spain]",
           "normal_preference_40": "real: [None]"},  # the truth holds a null
    # an empty list has no item of the right type
    "zh": {"normal_atom_list_28": "Parameter value: []",
           # the truth lacks a required parameter
           "normal_atom_object_short_1": "lack required_params",
           "normal_single_turn_parallel_function_45": "Parameter value: {}",
           "normal_single_turn_parallel_function_80": "Net004",  # two calls of one API again
           "normal_similar_api_2": "personalized_learning",
           "normal_similar_api_22": "perception_check"}}
"""What is still wrong then, with words of the scorer's reason: faults of the data and of the
comparison. In the last two it takes the end off a name, "_2", that is not the number of a repeated
call."""


@pytest.fixture(scope="module")
def checkout():
    return open_checkout(Path(FOLDER))


def run(oracle: Oracle, language: str, out: Path) -> tuple[Scored, Scored, str]:
    """Official and corrected scores, and the table, by the whole command."""
    status = ["git", "-C", FOLDER, "status", "--porcelain", "--ignored"]
    before = subprocess.run(status, capture_output=True, check=True).stdout
    with LocalServer(oracle) as server:
        done = subprocess.run(
            [sys.executable, str(ROOT / "bfcl" / "acebench" / "evaluate.py"), "--acebench", FOLDER,
             "--language", language, "--prompt", "short", "--model",
             str(ROOT / "grpotool" / "tiny_student" / "checkpoint"), "--endpoint", server.url,
             "--served-name", "m", "--user-model", "user", "--user-endpoint", server.url, "--out",
             str(out)],
            capture_output=True, text=True, env=os.environ | {"CI": "1"})
    assert done.returncode == 0, done.stderr
    after = subprocess.run(status, capture_output=True, check=True).stdout
    assert after == before, "something was written into the checkout"
    return read_card(out), read_card(out / "corrected"), done.stdout


def check_summary(scored: Scored, folder: Path) -> None:
    """Our figures are those of the scorer's own summary, which rounds on the way."""
    names, values = map(msgspec.json.decode, (folder / "result.json").read_bytes().splitlines())
    theirs = dict(zip(names, values, strict=True))
    for ours, name in (("atom", "atom"), ("single", "single_turn"), ("multi", "multiple_turn"),
                       ("similar", "similar_api"), ("preference", "profile"),
                       ("summary", "normal_summary"), ("special", "special_summary"),
                       ("agent", "agent_summary"), ("overall", "Summary")):
        assert scored.scores[ours] == pytest.approx(100 * theirs[name], abs=0.11), name
    for category in AGENT:
        assert scored.scores[f"{category}, process"] == pytest.approx(
            100 * theirs[f"{category}_process"])


def wrong(folder: Path, category: str) -> dict[str, str]:
    """Ids that a score file calls wrong, with its reason; one with several truths is named although
    a later one fits."""
    lines = (folder / f"data_{category}_score.json").read_bytes().splitlines()[1:]
    return {entry["id"]: str(entry["error"]) for entry in map(msgspec.json.decode, lines)}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_ground_truth_by_both_ways_of_scoring(checkout, tmp_path, language):
    official, corrected, printed = run(Oracle(checkout, language), language, tmp_path / "out")
    counts = official.card.counts
    assert (counts.keys() == set(CATEGORIES) and official.card.scope == "full"
            and official.card.commit == COMMIT)
    assert official.correct == counts | OFFICIAL[language]
    assert corrected.correct == counts | CORRECTED[language]
    assert official.card.errors.counts == corrected.card.errors.counts == {}
    check_summary(official, tmp_path / "out" / "official")
    check_summary(corrected, tmp_path / "out" / "corrected")
    assert ("paper: LoopTool-8B" in printed) == (language == "en")
    refused = {id: reason for category in NORMAL
               for id, reason in wrong(tmp_path / "out" / "corrected", category).items()}
    assert refused.keys() == REFUSED[language].keys()
    assert all(REFUSED[language][id] in reason for id, reason in refused.items())


@pytest.mark.parametrize("language", ["en", "zh"])
def test_wrong_replies_score_nothing(checkout, tmp_path, language):
    official, corrected, _ = run(Oracle(checkout, language, wrong=True), language, tmp_path / "out")
    assert set(official.correct.values()) == set(corrected.correct.values()) == {0}
    columns = {name: value for name, value in official.scores.items() if "process" not in name}
    assert set(columns.values()) == {0}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_conversation_is_read_turn_by_turn(checkout, language):
    calls = 0
    for category in [*NORMAL, *SPECIAL]:
        for row in checkout.rows(language, category):
            messages = read_conversation(row.question)
            assert (messages[-1].role == "user" and len(messages) % 2
                    or any(message.calls for message in messages)), row.id
            assert not any(message.content.startswith("[")
                           for message in messages if message.role == "assistant"), row.id
            assert "is " not in read_date(row.time) and "今天" not in read_date(row.time), row.id
            calls += sum(bool(message.calls) for message in messages)
    assert calls > 100
