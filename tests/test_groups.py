"""Whether a training's first step has anything to learn from, by verl's dump of its rollouts."""
from __future__ import annotations

import json
import os
from pathlib import Path

import msgspec
import pytest

from grpotool.groups import Groups, groups, is_whole
from grpotool.verl_run.process import Metrics
from looptool.records import Call, Message
from looptool.run_files import RoundFiles

LABEL = msgspec.json.encode(
    Message(role="assistant", calls=[Call(name="f", arguments={"a": 1})])).decode()
RIGHT = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
WORDS = "I cannot do that."
OTHER = RIGHT.replace('"f"', '"g"')
NO_REWARD = [["p", WORDS], ["p", WORDS], ["q", OTHER], ["q", WORDS]]


def write(dump: Path, rollouts: list[list[str]], age: float = 10) -> Path:
    dump.parent.mkdir(parents=True, exist_ok=True)
    dump.write_text("".join(json.dumps({
        "input": prompt, "output": text, "gts": LABEL, "score": float(text == RIGHT)}) + "\n"
        for prompt, text in rollouts))
    then = dump.stat().st_mtime - age
    os.utime(dump, (then, then))
    return dump


@pytest.mark.parametrize("rollouts, count, rewarded, mixed, reasons", [
    (NO_REWARD, 2, 0, 0, {"no_call": 3, "wrong_name": 1}),
    ([["p", RIGHT], ["p", OTHER], ["q", RIGHT], ["q", RIGHT], ["r", OTHER]], 3, 2, 1,
     {"match": 3, "wrong_name": 2})])
def test_rewards_by_group(tmp_path, rollouts, count, rewarded, mixed, reasons):
    found = groups(write(tmp_path / "1.jsonl", rollouts), "strict")
    assert found == Groups(count, rewarded, mixed, found.reasons) and found.reasons == reasons
    assert found.record() == {"reasons": reasons,
                              "groups": {"count": count, "rewarded": rewarded, "mixed": mixed}}


def test_groups_are_of_one_prompt_and_label_with_the_rewards_of_the_training(tmp_path):
    other = msgspec.json.encode(Message(role="assistant", content=WORDS)).decode()
    dump = tmp_path / "1.jsonl"
    dump.write_text("".join(
        json.dumps({"input": "p", "output": RIGHT, "gts": label, "score": score}) + "\n"
        for label, score in ((LABEL, 1.0), (LABEL, 0.0), (other, 0.0))))
    assert groups(dump, "strict")[:3] == (2, 1, 1)


def test_a_dump_is_whole_when_it_does_not_grow(tmp_path):
    assert not is_whole(tmp_path / "1.jsonl")
    assert not is_whole(write(tmp_path / "1.jsonl", NO_REWARD, age=0))
    assert is_whole(write(tmp_path / "1.jsonl", NO_REWARD, age=3))


@pytest.mark.parametrize("rollouts, said", [
    (NO_REWARD, "warning: first step: none of 2 groups has any reward, so GRPO learns nothing; the "
                "commonest reason is no_call (75%). Better stop, and let the student learn the "
                "format of calls first: set train.cold_start.steps, to 24 for example, and run "
                "scripts/cold_start.sh"),
    ([["p", RIGHT], ["p", OTHER], ["q", OTHER]], "first step: 1 of 2 groups have a reward (50%), 1 "
                                                 "of them different ones, from which GRPO learns")])
def test_it_is_said_once_and_before_the_step_is_logged(tmp_path, caplog, rollouts, said):
    files = RoundFiles(tmp_path, 1)
    write(files.rollouts / "1.jsonl", [["of", "a run that was killed"]])
    metrics = Metrics(files, 0, "strict")
    with caplog.at_level("DEBUG"):
        metrics.update()
        assert not caplog.messages
        write(files.rollouts / "1.jsonl", rollouts)
        assert not metrics.update() and caplog.messages == [said]
        files.verl_metrics.write_text('{"step":1,"data":{}}\n{"step":2,"data":{}}\n')
        assert metrics.update() and metrics.update(ended=True) is False
    assert caplog.messages == [said]
    assert (caplog.records[0].levelname == "WARNING") == said.startswith("warning")
    first = json.loads(metrics.path.read_text().splitlines()[0])
    assert first["groups"]["count"] == 2 and sum(first["reasons"].values()) == len(rollouts)


def test_a_training_that_goes_on_says_nothing_of_its_first_step(tmp_path, caplog):
    files = RoundFiles(tmp_path, 1)
    write(files.rollouts / "1.jsonl", NO_REWARD)
    with caplog.at_level("INFO"):
        Metrics(files, 4, "strict").update()
    assert not caplog.messages


def test_a_torn_dump_that_seems_whole_ends_no_training(tmp_path, caplog):
    files = RoundFiles(tmp_path, 1)
    metrics = Metrics(files, 0, "strict")
    dump = write(files.rollouts / "1.jsonl", NO_REWARD)
    dump.write_bytes(dump.read_bytes()[:-9])
    os.utime(dump, (0, 0))
    with caplog.at_level("INFO"):
        assert not metrics.update() and not caplog.messages
        write(dump, NO_REWARD)
        metrics.update()
    assert "none of 2 groups" in caplog.text
