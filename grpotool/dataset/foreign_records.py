"""One record of others -> a conversation, or a sample where the record is one. docs/formats.md
lists the forms.

In: a JSON object, and counts of what is passed over. Which form it has is told by its keys:
- "messages" of the OpenAI API and its relatives (TRL, ms-swift, Anthropic), with "tools" or the
  older "functions";
- "conversations" in from/value form (ShareGPT: LLaMA-Factory, Hermes, Glaive, ToolACE; the released
  code's own);
- "query" and "answers" (xLAM, see grpotool/dataset/xlam_samples.py);
- "instruction", "input" and "output" (LoopTool-23k): system text, history and label as the released
  code prints them.
"""
from __future__ import annotations

import re
from collections import Counter
from typing import Any

from grpotool.dataset.foreign_turns import ROLES, Turns, read_json
from grpotool.dataset.text_calls import read_value
from grpotool.dataset.xlam_samples import read_task
from looptool.calling.json_in_text import find_objects, read_only_objects
from looptool.foreign.conversations import Conversation, read_messages, read_tools
from looptool.foreign.tool_objects import read_tool
from looptool.foreign.unread_keys import count_unread
from looptool.ids import sample_id
from looptool.records import Sample

_KNOWN = {"metadata", "plan", "initial_config", "extra_info"}
"""Keys that say nothing of a conversation's tools and messages."""
# the innermost pair, as a text may name the tag before it opens it
_TOOLS = re.compile(r"<tools>([^<]*(?:<(?!/?tools>)[^<]*)*)</tools>")
_OF_A_TOOL = re.compile(r"""["'](?:parameters|input_?[sS]chema|toolSpec)["']\s*:""")
_DATE = re.compile(r"The current (?:time|date) is (.+?)\.?(?:\n|$)")
_CHATML = re.compile(r"<\|im_start\|>(\w+)\n(.*?)<\|im_end\|>\s*", re.DOTALL)


def read_record(raw: Any, passed_over: Counter[str]) -> Conversation | Sample:
    """A conversation, whose steps become samples, or a sample.

    Raises:
        ValueError: the record has no certain meaning; says where.
    """
    if isinstance(raw, dict):
        # Parquet has a null for each key that another record has
        raw = {key: value for key, value in raw.items() if value is not None}
        for key in ("messages", "conversations", "conversation"):
            if key in raw:
                return _read_conversation(raw, key, passed_over)
        if "query" in raw:
            count_unread(raw, {"id", "query", "answers", "tools"}, _KNOWN, passed_over)
            return read_task(raw, passed_over)
        if "instruction" in raw and "output" in raw:
            return _read_instruction(raw, passed_over)
    raise ValueError('a record is a JSON object with "messages", with "conversations" (ShareGPT), '
                     'with "query" and "answers", '
                     'or with "instruction" and "output"')


def _read_conversation(raw: dict[str, Any], key: str, passed_over: Counter[str]) -> Conversation:
    count_unread(raw, {key, "id", "date", "tools", "functions", "system"}, _KNOWN, passed_over)
    messages = read_json(raw[key]) if isinstance(raw[key], str) else raw[key]
    if not isinstance(messages, list):
        raise ValueError(f'"{key}" must be a list')
    system = [raw["system"]] if isinstance(raw.get("system"), str) else []
    system += [text for message in messages if isinstance(message, dict)
               and ROLES.get(str(message.get("role", message.get("from")))) == "system"
               and isinstance(text := message.get("content", message.get("value")), str)]
    if "system" in raw:
        passed_over["system text"] += 1
    tools = _tools_of(raw, "\n".join(system))
    return _conversation(str(raw.get("id", "")), str(raw.get("date", "unknown")), tools, messages,
                         passed_over)


def _conversation(id: str, date: str, tools: list[Any], messages: list[Any],
                  passed_over: Counter[str]) -> Conversation:
    conversation = Conversation(id=id, date=date, tools=tools, messages=[])
    turns = Turns({read_tool(tool, passed_over).name for tool in tools}, passed_over)
    for index, message in enumerate(messages):
        turns.add(index, message)
    conversation.messages = turns.turns
    return conversation


def _tools_of(raw: dict[str, Any], system: str) -> list[Any]:
    """The tools of a record's own field, or those of its system text."""
    fields = [_read_tool_list(raw[key]) for key in ("tools", "functions") if key in raw]
    filled = [tools for tools in fields if tools]
    if len(filled) > 1 and filled[0] != filled[1]:
        raise ValueError('"tools" and "functions" differ')
    if filled:
        return filled[0]
    # an empty field, and no tools in the text either: a task without tools
    return [] if fields and not _tagged(system) else _tools_in(system)


def _read_tool_list(value: Any) -> list[Any]:
    """Tools as a list, as JSON text, or as a list of JSON texts."""
    value = read_json(value) if isinstance(value, str) else value
    if not isinstance(value, list):
        raise ValueError(f"the tools are no list but {str(value)[:80]}")
    return [read_json(tool) if isinstance(tool, str) else tool for tool in value]


def _tagged(system: str) -> str:
    """What stands inside the last <tools> that holds an object; "" without any."""
    return next((text for text in reversed(_TOOLS.findall(system)) if "{" in text), "")


def _tools_in(system: str) -> list[Any]:
    """The tools that a system text lists: inside <tools> (Hermes, Qwen), as a list (ToolACE), or
    one by one (Glaive)."""
    if text := _tagged(system):
        return _read_listed(text)
    tools, beside, position = [], [], 0
    for start, end, value in find_objects(system):
        if (isinstance(value.get("name"), str) or isinstance(value.get("function"), dict)
                or _OF_A_TOOL.search(system, start, end)):
            tools.append(value)
        beside.append(system[position:start])
        position = end
    # a tool that is described, and cannot be read, is not to be missing without a word
    if broken := _OF_A_TOOL.search("".join([*beside, system[position:]])):
        raise ValueError(f"the system text holds a tool that cannot be read ({broken[0]})")
    if not tools:
        raise ValueError('no "tools" beside the messages, and none in the system text')
    return tools


def _read_listed(text: str) -> list[Any]:
    """The tools of a text that holds nothing else: a list, or one after the other, as JSON or with
    Python's quotes, as in Hermes' older files."""
    try:
        return _as_list(read_value(text))
    except ValueError:
        if (found := read_only_objects(text, dict)) is not None:
            return found
    lines = filter(None, map(str.strip, text.splitlines()))
    return [tool for line in lines for tool in _as_list(read_value(line))]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _read_instruction(raw: dict[str, Any], passed_over: Counter[str]) -> Sample:
    count_unread(raw, {"instruction", "input", "output", "id"}, _KNOWN, passed_over)
    instruction, history, output = (raw.get(key, "") for key in ("instruction", "input", "output"))
    if not all(isinstance(text, str) for text in (instruction, history,
                                                  output)) or not _tagged(instruction):
        raise ValueError('a record with "instruction" and "output" needs its tools inside <tools> '
                         "in the instruction")
    if not history.startswith("<|im_start|>"):  # the released code cuts off the outermost marks
        history = f"<|im_start|>user\n{history}"
    history = history if history.rstrip().endswith("<|im_end|>") else f"{history}<|im_end|>"
    if _CHATML.sub("", history).strip():
        raise ValueError(f'the history in "input" is no chat: {history[:80]!r}')
    messages = [{"role": role, "content": content} for role, content in _CHATML.findall(history)]
    date = _DATE.search(instruction)
    conversation = _conversation(str(raw.get("id", "")), date[1] if date
                                 and date[1].lower() != "unknown" else "unknown",
                                 _tools_in(instruction),
                                 [*messages, {"role": "assistant", "content": output}], passed_over)
    tools, (*context, label) = read_tools(conversation), read_messages(conversation)
    return Sample(id=sample_id(tools, conversation.date, context, label), tools=tools,
                  date=conversation.date,
                  messages=context, label=label, source=conversation.id)
