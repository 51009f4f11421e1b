"""Two-tier verification of dialogs: rules, then a judge, for every call step; planted faults and
label noise."""
from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from golden_files import check_golden
from scripted import TOOLS, Scripted, call, script

from dialog_generation import run, trans2conversation
from dialog_generation.scene import ToolPool
from dialog_generation.verification import (
    DialogCheck, Step, check_dialog, check_dialogs, write_verified)
from looptool.calling.schema_check import check_calls
from looptool.config import Config, Dialogs, Simulation, Student, Teacher
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Call, Dialog, Message, Refused
from looptool.run_files import RunFiles
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.truth import truth

USER, DONE = Message(role="user", content="Menu of A?"), Message(role="assistant", content="Here.")
RESULT = Message(role="tool", content="{}")


def dialog(*steps: list[Call] | Message) -> Dialog:
    """A user's turn, then each step with its results."""
    messages = [USER]
    for step in steps:
        turn = step if isinstance(step, Message) else Message(role="assistant", calls=step)
        messages += [turn, *[RESULT] * len(turn.calls)]
    return Dialog(id="d000000", tools=TOOLS, date="unknown", plan=[], messages=[*messages, DONE])


MENU_CALL = call("getMenu", restaurant="A")


async def scripted_ask(replies: Scripted, role: str, chat: list, draw: int, model: str):
    return await replies(role, chat, draw)


def checked(judged: Dialog, *replies: str, judge: str | None = "j") -> DialogCheck:
    script = Scripted(checker=list(replies))
    return asyncio.run(check_dialog(judged, lambda *asked: scripted_ask(script, *asked), judge))


@pytest.mark.parametrize("calls, reason", [
    ([MENU_CALL], "pass"), ([call("getMenu", restaurant=1)], "wrong_type"),
    ([call("cook")], "unknown_tool"), ([call("getMenu")], "missing_required"),
    ([MENU_CALL, call("getMenu", restaurant="A", day=1)], "unknown_argument")])
def test_rules_come_first(calls, reason):
    check = checked(dialog(calls), judge=None)
    assert check.steps == [Step(index=1, reason=reason)]
    assert check.reason == ("accepted" if reason == "pass" else reason)


def test_the_judge_sees_every_step_that_keeps_the_rules():
    yes, no = '{"correct": true}', '{"correct": false}'
    masked = Message(role="assistant", calls=[call("cook")], suspect=True)
    assert checked(dialog([MENU_CALL], masked, [MENU_CALL]), yes, yes).reason == "accepted"
    refused = checked(dialog([MENU_CALL], masked, [MENU_CALL]), yes, no)
    assert [step.reason for step in refused.steps] == ["pass", "suspect", "refused_by_judge"]
    assert refused.reason == "refused_by_judge"
    assert checked(dialog([MENU_CALL]), "what?", "", "{").reason == "unjudged"
    # no reply is asked for
    assert checked(dialog([MENU_CALL], [call("cook")])).reason == "unknown_tool"


def test_the_judge_sees_no_more_than_was_said_before():
    script = Scripted(checker=['{"correct": true}'] * 2)
    asyncio.run(check_dialog(dialog([MENU_CALL], [MENU_CALL]),
                             lambda *asked: scripted_ask(script, *asked), "j"))
    first, second = (chat[1]["content"] for chat, _ in script.asked["checker"])
    assert first.count('"role"') == 2 and second.count('"role"') == 4


def test_files_of_a_verification(tmp_path, monkeypatch):
    raw = [dialog([MENU_CALL]), dialog([call("cook")])]
    raw[1].id = "d000001"
    write_jsonl(tmp_path / "dialogs.jsonl", raw)
    rules = ("--set", "dialogs.verify=rules")
    script(monkeypatch, run, tmp_path, "--func", "data_post_process", *rules)
    assert list(read_jsonl(tmp_path / "verified_dialogs.jsonl", Dialog)) == raw[:1]
    refused = list(read_jsonl(tmp_path / "verified_dialogs_refused.jsonl", Refused))
    assert [(entry.place, entry.code, entry.reason) for entry in refused] == [
        ("d000001", "unknown_tool", "message 1 unknown_tool")]
    check_golden(tmp_path / "dialog_checks.jsonl", "dialog_checks.jsonl")
    script(monkeypatch, trans2conversation, tmp_path, *rules)
    assert len((tmp_path / "conversations.jsonl").read_bytes().splitlines()) == 1


def crawl_and_verify(folder: Path, count: int, **rates: float) -> tuple[list[Dialog], list[Dialog]]:
    """All dialogs of a simulated crawl, and those that pass both tiers."""
    config = Config(run_dir=str(folder), student=Student(model=""), simulation=Simulation(**rates),
                    dialogs=Dialogs(count=count, tools_per_dialog=(2, 4), messages=(4, 10)),
                    teacher=Teacher(base_urls=["simulated"], models=["m"]))
    files = RunFiles(config)
    write_jsonl(files.tools, catalogue("train"))
    asyncio.run(run.crawl(config, ToolPool(catalogue("train")), [files.tools], files.dialogs))
    asyncio.run(check_dialogs(config, files.dialogs, files.dialog_checks))
    write_verified(files.dialogs, files.dialog_checks, files.verified_dialogs)
    return list(read_jsonl(files.dialogs, Dialog)), list(read_jsonl(files.verified_dialogs, Dialog))


def noise(dialogs: list[Dialog]) -> float:
    """Share of wrong labels among the call steps that may become labels."""
    wrong = [not truth(dialog.tools, dialog.messages[:index]).accepts(message) for dialog in dialogs
             for index, message in enumerate(dialog.messages)
             if message.calls and not message.suspect and not dialog.messages[index + 1].failed]
    return sum(wrong) / len(wrong)


def test_verified_dialogs_hold_at_most_a_third_of_the_noise(tmp_path):
    every, verified = crawl_and_verify(tmp_path, 150, label_noise=0.15)
    assert 0.05 < noise(every) and noise(verified) < noise(every) / 3
    assert len(every) / 4 < len(verified) < len(every)
    assert not any(check_calls(message.calls, dialog.tools) for dialog in verified
                   for message in dialog.messages if not message.suspect)


def test_rules_find_every_planted_fault(tmp_path):
    """Each dialog of a clean crawl gets one call step with a fault of its schema."""
    rng = random.Random(0)
    every, _ = crawl_and_verify(tmp_path, 60, label_noise=0, draw_noise=0, malformed=0,
                                judge_error=0)
    found = []
    for original in every:
        steps = [index for index, message in enumerate(original.messages) if message.calls]
        if not steps:
            continue
        index = rng.choice(steps)
        made = original.messages[index].calls[0]
        fault = rng.choice([Call(name=made.name + "x", arguments=made.arguments),
                            Call(name=made.name,
                                 arguments={**made.arguments, "no_such_parameter": 1}),
                            Call(name=made.name,
                                 arguments={name: [{}] for name in made.arguments} or {"y": 1})])
        messages = list(original.messages)
        messages[index] = Message(role="assistant", calls=[fault, *messages[index].calls[1:]])
        planted = Dialog(id=original.id, tools=original.tools, date=original.date, plan=[],
                         messages=messages)
        found.append(checked(planted, judge=None).reason != "accepted")
    assert len(found) > 50 and all(found)
