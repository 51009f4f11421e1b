"""The released command line of run.py: what each flag changes, groups of tools, both languages,
native tool calls."""
from __future__ import annotations

import asyncio
import json
import re
import random
import sys
from pathlib import Path

import pytest
from scripted import BOOK, MENU, TOOLS, Scripted, call, plan, script

from dialog_generation import run
from dialog_generation.agents import PROMPTS, Cast, prompt_file, read_turn
from dialog_generation.flags import parse_arguments, with_flags
from dialog_generation.replies import Unusable, read_plan
from dialog_generation.scene import GroupPool, draw_scene
from dialog_generation.tool_making.groups import ToolGroup, read_groups
from looptool.config import Config, Dialogs, Simulation, Student, Teacher
from looptool.errors import InputError
from looptool.foreign.conversations import write_tools
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.models.completion import Reply, ToolCall
from looptool.records import Dialog, Message, Need
from looptool.simulation.teacher import Teacher as SimulatedTeacher
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.tasks import draw_task

CHAT = Need(kind="chat", tools=[], text="says hello")
BOTH_NEED = Need(kind="parallel", tools=["getMenu", "getMenu"], text="wants two menus")


def crawl_by_flags(monkeypatch, folder: Path, *flags: object) -> tuple[list[Dialog], dict]:
    """The dialogs of run.py with these flags over a small run, and its settings."""
    if not (folder / "tools.jsonl").exists():
        write_jsonl(folder / "tools.jsonl", catalogue("train")[:30])
    script(monkeypatch, run, folder, "--crawl_num", "4", *flags)
    settings = json.loads((folder / "dialogs.jsonl.meta.json").read_text())["settings"]
    return list(read_jsonl(folder / "dialogs.jsonl", Dialog)), settings["dialogs"] | {
        name: settings[name] for name in ("models", "thinking")}


def test_every_flag_reaches_the_crawl(tmp_path, monkeypatch):
    dialogs, settings = crawl_by_flags(
        monkeypatch, tmp_path, "--tgt_turn_num_a", 6, "--tgt_turn_num_b", 7, "--tool_num_a", 5,
        "--tool_num_b", 6, "--use_time_or_day", "time", "--need_chat", "--use_plan", "--use_cot",
        "--is_en", "--used_models", "a", "b", "--try_num", 3, "--thread_num", 2)
    assert settings == {"count": 4, "tools_per_dialog": [5, 6], "messages": [6, 7], "plan": True,
                        "chat": True, "language": "en", "clock": "time", "native_calls": False,
                        "max_bad_turns": 10, "temperature": 0.6, "models": ["a", "b"],
                        "thinking": True}
    assert all(5 <= len(dialog.tools) <= 6 for dialog in dialogs)
    assert all(len(dialog.date) == len("2024-05-01 10:30") for dialog in dialogs)


@pytest.mark.parametrize("flags, message", [
    (["--group_tool"], "--group_tool: name the file or folder of groups"),
    (["--tool_num_a", "9", "--tool_num_b", "3"], "--tool_num_a is 9 and --tool_num_b is 3"),
    (["--tgt_turn_num_a", "0"], "Expected `int` >= 1"),
    (["--crawl_num", "0"], "Expected `int` >= 1")])
def test_flags_out_of_range_are_refused(tmp_path, monkeypatch, flags, message):
    with pytest.raises(InputError) as error:
        crawl_by_flags(monkeypatch, tmp_path, *flags)
    assert message in str(error.value) and not (tmp_path / "dialogs.jsonl").exists()


def test_dialogs_without_chat(tmp_path, monkeypatch):
    ask = Scripted(planner=[plan(BOTH_NEED, CHAT), plan(BOTH_NEED)])
    cast = Cast(TOOLS, "unknown", ask, Dialogs(chat=False))
    assert asyncio.run(cast.plan(2)) == [BOTH_NEED] and ask.draws("planner") == [0, 1]
    assert "<chat>\nnone\n</chat>" in ask.asked["planner"][0][0][1]["content"]
    with pytest.raises(Unusable, match="chat_need"):
        read_plan(plan(BOTH_NEED, CHAT), TOOLS, chat=False)
    dialogs, _ = crawl_by_flags(monkeypatch, tmp_path, "--set", "dialogs.chat=false")
    assert dialogs and all(need.kind != "chat" for dialog in dialogs for need in dialog.plan)


def test_a_group_gives_its_tools_and_its_plans(tmp_path, monkeypatch):
    groups = [ToolGroup(tools=TOOLS, plans=["first the menu, then a table"]),
              ToolGroup(tools=list(catalogue("train")[:3]), plans=[])]
    scenes = [draw_scene(f"d{i}", GroupPool(groups), Dialogs(), 0) for i in range(40)]
    assert {tuple(sorted(tool.name for tool in scene.tools)) for scene in scenes} == {
        tuple(sorted(tool.name for tool in group.tools)) for group in groups}
    assert all(bool(scene.plans) == (scene.tools[0] in TOOLS) for scene in scenes)
    ask = Scripted(planner=[plan(BOTH_NEED)])
    asyncio.run(Cast(TOOLS, "unknown", ask, Dialogs()).plan(1, groups[0].plans))
    assert "<examples>\nfirst the menu, then a table\n</examples>" in ask.asked["planner"][0][0][1][
        "content"]
    (tmp_path / "groups.jsonl").write_text("".join(json.dumps(
        {"apis": [{"name": tool.name, "description": tool.description,
                   "parameters": tool.parameters}
                  for tool in group.tools] + [{"name": ""}], "plans": [*group.plans, ["a", "b"]]})
                                                   + "\n" for group in groups))
    read, refused = read_groups(tmp_path / "groups.jsonl")
    assert [[tool.name for tool in group.tools]
            for group in read] == [[tool.name for tool in group.tools] for group in groups]
    assert read[0].plans == [groups[0].plans[0], '["a","b"]'] and len(refused) == 2
    dialogs, _ = crawl_by_flags(monkeypatch, tmp_path, "--tools_path", tmp_path / "groups.jsonl",
                                "--group_tool")
    assert all(len(dialog.tools) in (2, 3) for dialog in dialogs)


@pytest.mark.parametrize("text, message", [
    ('{"tools": []}', "Object missing required field `apis`"), ('{"apis": 1}', "Expected `array`"),
    ("[]", "Expected `object`"), ('{"apis": [{"name": ""}]}', "no group has a tool that can be "
                                                              "read")])
def test_bad_groups_are_refused(tmp_path, text, message):
    (tmp_path / "groups.jsonl").write_text(text + "\n")
    with pytest.raises(InputError, match=message):
        read_groups(tmp_path / "groups.jsonl")


def test_post_processing_splits_by_length(tmp_path, monkeypatch):
    dialogs = [Dialog(id=f"d{length}", tools=TOOLS, date="unknown", plan=[],
                      messages=[Message(role="user", content="x")] * length)
               for length in (1, 8, 9, 20, 21, 60)]
    write_jsonl(tmp_path / "dialogs.jsonl", dialogs)
    script(monkeypatch, run, tmp_path / "run", "--func", "data_post_process", "--raw_data_path",
           tmp_path, "--processed_data_path", tmp_path / "out", "--processed_data_extreme_split",
           "--set", "dialogs.verify=rules")
    lengths = {path.name: [len(dialog.messages) for dialog in read_jsonl(path, Dialog)]
               for path in (tmp_path / "out").glob("verified*.jsonl")}
    assert lengths == {"verified_dialogs.jsonl": [1, 8, 9, 20, 21, 60],
                       "verified_dialogs_short.jsonl": [1, 8],
                       "verified_dialogs_medium.jsonl": [9, 20],
                       "verified_dialogs_long.jsonl": [21, 60]}


# Languages


def places(text: str) -> set[str]:
    return {part.partition("}}")[0] for part in text.split("{{")[1:]}


@pytest.mark.parametrize("english", sorted((PROMPTS / "en").glob("*.md")),
                         ids=lambda path: path.stem)
def test_both_languages_have_the_same_prompts(english):
    texts = [prompt_file(english.stem, language).read_text(encoding="utf-8")
             for language in ("en", "zh")]
    assert texts[0].startswith("# Role: ") == texts[1].startswith("# Role: ")
    assert texts[0].splitlines()[0] == texts[1].splitlines()[0] or english.stem == "world"
    assert places(texts[0]) == places(texts[1])
    for tag in ("<need>", "<conversation>", "<call>", "<turns>", "<plan>", "<tool_call>", '"chat"',
                "<chat>", "<examples>"):
        assert (tag in texts[0]) == (tag in texts[1]), tag
    assert any("\u4e00" <= letter <= "\u9fff" for letter in texts[1])


def test_a_chinese_run_asks_in_chinese(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(SimulatedTeacher, "complete",
                        lambda self, payload, old=SimulatedTeacher.complete:
                        (asked.append(payload["messages"][0]["content"]), old(self, payload))[1])
    dialogs, settings = crawl_by_flags(monkeypatch, tmp_path, "--set", "dialogs.language=zh")
    assert len(dialogs) == 4 and settings["language"] == "zh"
    asked = [
        text for text in asked if not text.startswith("# Role: probe")
    ]  # one, in whatever language
    assert {text.splitlines()[0] for text in asked} == {f"# Role: {role}"
                                                        for role
                                                        in ("planner", "user", "assistant", "tool")}
    assert all("\u7684" in text for text in asked)
    for dialog in dialogs:
        said = [need.text for need in dialog.plan] + [message.content for message in dialog.messages
                                                      if message.role != "tool"]
        assert [text for text in said
                if text and not re.search("[\u3000-\u303f\u4e00-\u9fff]", text)] == []


# Native tool calls


def test_native_calls_are_read():
    read = read_turn(Reply(tool_calls=[ToolCall("getMenu", '{"restaurant": "A"}'),
                                       ToolCall("now", "")], finish="tool_calls"))
    assert read.calls == [call("getMenu", restaurant="A"), call("now")]
    for arguments in ("[1]", "{", '"x"'):
        with pytest.raises(Unusable, match="bad_json"):
            read_turn(Reply(tool_calls=[ToolCall("getMenu", arguments)]))


def test_the_native_assistant_sees_tools_and_history_in_the_form_of_the_api():
    ask = Scripted(assistant=["Sure.", "Sure."])
    history = [Message(role="user", content="Menu?"),
               Message(role="assistant", calls=[call("getMenu", restaurant="A")], suspect=True),
               Message(role="tool", content='{"dishes": []}'),
               Message(role="assistant", content="None."), Message(role="user", content="Thanks")]

    async def native(role, chat, draw, tools=None):
        assert [tool["function"]["name"] for tool in tools] == [BOOK.name, MENU.name]
        return await ask(role, chat, draw)

    asyncio.run(Cast(TOOLS, "2024-05-01", native, Dialogs(native_calls=True)).assist(history))
    system, user, called, result, told, thanks = ask.asked["assistant"][0][0]
    assert "<tools>" not in system["content"] and "2024-05-01" in system["content"]
    assert called["tool_calls"][0]["function"] == {"name": "getMenu",
                                                   "arguments": '{"restaurant": "A"}'}
    assert result == {"role": "tool", "content": '{"dishes": []}',
                      "tool_call_id": called["tool_calls"][0]["id"]}
    assert "weight" not in called and (user["role"], told["content"],
                                       thanks["content"]) == ("user", "None.", "Thanks")


def test_native_calls_give_the_dialogs_that_text_gives(tmp_path, monkeypatch):
    """The simulated assistant makes no mistakes here, so both ways of asking must come to the same
    words."""
    quiet = ["--set", "simulation.label_noise=0", "--set", "simulation.draw_noise=0", "--set",
             "simulation.malformed=0"]
    in_text, _ = crawl_by_flags(monkeypatch, tmp_path / "text", *quiet)
    native, settings = crawl_by_flags(monkeypatch, tmp_path / "native", "--use_func_call", *quiet)
    assert settings["native_calls"] and native == in_text
    assert any(message.calls and message.reasoning for dialog in native
               for message in dialog.messages)


def test_the_simulated_server_answers_native_calls_in_the_field_of_the_api():
    tools = [catalogue("train")[0]]
    payload = {"model": "m", "tools": write_tools(tools), "messages": [
        {"role": "system", "content": "# Role: assistant"},
        {"role": "user",
         "content": draw_task(random.Random(0), tools, "train", "single").messages[0].content}]}
    rates = Simulation(label_noise=0, draw_noise=0, malformed=0)
    choice = SimulatedTeacher(rates).complete(payload)["choices"][0]
    assert choice["finish_reason"] == "tool_calls" and not choice["message"]["content"]
    assert [made["function"]["name"] for made in choice["message"]["tool_calls"]] == [tools[0].name]


def test_flags_of_the_client_reach_the_config(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run.py", "--try_num", "3", "--thread_num", "2"])
    config = with_flags(Config(run_dir="x", student=Student(model=""),
                               teacher=Teacher(models=["m"])), parse_arguments(""))
    assert (config.teacher.tries, config.teacher.in_flight, config.teacher.models) == (3, 2, ["m"])
