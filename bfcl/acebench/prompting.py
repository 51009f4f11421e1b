"""A task of ACEBench as our model sees it: the renderer's system text, what this kind of task adds,
the conversation.

The benchmark shows a conversation as one text and asks for `[Api(key='value')]`; here it is a chat,
and calls are <tool_call> blocks, as in training. What each kind of task adds is in
prompts/<language>/, with the sentences that its scorer looks for.
"""
from __future__ import annotations

import json
import re
from pathlib import Path

from bfcl.acebench.brackets import read_brackets
from bfcl.acebench.checkout import Language, Row
from bfcl.card import hash_text
from bfcl.system_text import system_text
from looptool.foreign.tool_objects import read_tool
from looptool.prompts.render import (
    ChatMessage, fill, read_prompt, render_messages, without_turn_markers)
from looptool.records import Message, Tool

PROMPTS = Path(__file__).parent / "prompts"
_TURN = re.compile(r"^(user|system|tool):", re.MULTILINE)
_DATE = re.compile(r"(?:The current time is|Today is|今天是)?\s*(.*?)[.。]?\s*", re.DOTALL)


def kind_of(row: Row) -> str:
    """The name of the prompt that adds to its system text."""
    words = row.id.split("_")
    if words[0] == "agent":
        return "_".join(words[1:3])
    if words[0] == "special":
        return "special"
    return "preference" if words[1] == "preference" else "normal"


def read_tools(row: Row) -> list[Tool]:
    """Its functions; some keep their parameters under "arguments", beside results and tags that the
    scorer ignores."""
    return [_read_function(function) for function in row.function]


def _read_function(function: dict) -> Tool:
    parameters = next(
        (function[key] for key in ("parameters", "arguments", "_arguments") if key in function), {})
    try:
        return read_tool({"name": function["name"], "description": function["description"],
                          "parameters": parameters})
    except ValueError:  # its "required" names a parameter that it does not have: shown as it stands
        return Tool(name=function["name"], description=function["description"],
                    parameters=parameters)


def read_conversation(question: str) -> list[Message]:
    """The turns of a conversation; a text that has no such turns is one turn of the user."""
    places = list(_TURN.finditer(question))
    if not places or question[:places[0].start()].strip():
        return [Message(role="user", content=question.strip())]
    ends = [*(place.start() for place in places[1:]), len(question)]
    return [_read_turn(place[1], question[place.end():end].strip())
            for place, end in zip(places, ends, strict=True)]


def _read_turn(speaker: str, text: str) -> Message:
    if speaker != "system":
        return Message(role=speaker, content=text)
    calls = read_brackets(text)
    return Message(role="assistant",
                   calls=calls) if calls else Message(role="assistant", content=text)


def read_date(time: str) -> str:
    """ "Today is 2025-03-20, Thursday." -> "2025-03-20, Thursday"; "unknown" where a task has no
    date."""
    return _DATE.fullmatch(time.strip())[1] or "unknown"


def render_task(row: Row, language: Language, messages: list[Message], prompt: str,
                rules: str = "") -> list[ChatMessage]:
    """The whole prompt of a task.

    Args:
        messages: its conversation so far.
        prompt: whose system text; see bfcl/system_text.py.
        rules: those of an agent's environment.
    """
    profile = row.profile if isinstance(row.profile,
                                        str) else json.dumps(row.profile, ensure_ascii=False)
    addition = fill(read_prompt(PROMPTS / language / f"{kind_of(row)}.md"),
                    profile=without_turn_markers(profile), rules=without_turn_markers(rules))
    system = system_text(read_tools(row), prompt, read_date(row.time))
    return [{"role": "system", "content": f"{system}\n\n{addition}"}, *render_messages(messages)]


def prompt_id(language: Language, prompt: str) -> str:
    """Name of the system text, and hash of how the same tasks, one of each kind, are shown."""
    city = {"name": "find_city", "description": "Find a city.", "parameters": {
        "type": "dict", "properties": {"name": {"type": "string"}}, "required": ["name"]}}
    history = "user: Find Oslo.\nsystem: [find_city(name='Oslo')]\nsystem: Found.\nuser: And Rome?"
    ids = ("normal_atom_0", "normal_preference_0", "special_incomplete_0", "agent_multi_step_0",
           "agent_multi_turn_0")
    rows = [Row(id=id, question=history, function=[city], time="Today is Monday.", profile="none")
            for id in ids]
    shown = [render_task(row, language, read_conversation(history), prompt, "none") for row in rows]
    return f"{Path(prompt).name} {hash_text(json.dumps(shown, ensure_ascii=False))}"
