"""THE renderer: training, probing, judging and evaluation show a task to a model through this
module only.

Messages go out, not tokens: the tokenizer's own chat template does the rest. Calls in the history
are shown as <tool_call> blocks and results as <tool_response> blocks in a user message (section 4.1
and Qwen3's template).
"""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from looptool.calling.reply import render_calls
from looptool.ids import OfTool
from looptool.records import Message, Sample, Tool

ChatMessage = dict[str, str]
"""{"role": "system" | "user" | "assistant", "content": text}: what every chat template
understands."""

Instructions = Literal["full", "short"]
Fits = Callable[[list[ChatMessage], int], bool]
"""Whether a rendered prompt, with the opening of the answer, has at most so many tokens; see
looptool.prompts.length."""


def fill(template: str, **values: str) -> str:
    """Put values into the {{name}} places of a prompt file, in one pass, so that values are never
    read again.

    Raises:
        KeyError: the template names a value that was not given.
    """
    parts = _parts(template)
    return "".join([values[part] if number % 2 else part for number, part in enumerate(parts)])


@lru_cache(maxsize=64)
def _parts(template: str) -> list[str]:
    """Its text and its names in turn."""
    return re.split(r"\{\{(\w+)\}\}", template)


@lru_cache(maxsize=64)
def read_prompt(path: Path) -> str:
    """The text of a prompt file, without its last newline; read once, however many questions ask
    for it."""
    return path.read_text(encoding="utf-8").rstrip("\n")


_SYSTEM = {name: read_prompt(Path(__file__).parent / f"system_prompt_{name}.md")
           for name in ("full", "short")}


def without_turn_markers(text: str) -> str:
    """Text that cannot open or close a turn in any common chat template: <|im_end|> becomes <
    |im_end| >."""
    return _MARKER.sub(r"< \1 >", text) if "<|" in text else text


_MARKER = re.compile(r"<(\|[^<>|\s]*\|)>")


def render_tools(tools: list[Tool]) -> str:
    """One JSON object a line: name, description and parameters of each tool."""
    return "\n".join(map(_render_tool, tools))


_render_tool = OfTool(lambda tool: json.dumps(
    {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
    ensure_ascii=False))


def render_system(tools: list[Tool], date: str, instructions: Instructions = "full") -> str:
    """The system text: task instruction, date, tools, call format."""
    return fill(_SYSTEM[instructions], date=date, tools=without_turn_markers(render_tools(tools)))


def render_answer(message: Message) -> str:
    """An assistant turn as text: its content, then its <tool_call> blocks; reasoning is left
    out."""
    calls = render_calls(message.calls) if message.calls else ""
    return f"{message.content}\n{calls}" if message.content and calls else message.content or calls


def render_messages(messages: list[Message]) -> list[ChatMessage]:
    """History as chat messages; consecutive tool results share one user message."""
    chat: list[ChatMessage] = []
    after_tool = False
    for message in messages:
        if message.role == "tool":
            block = f"<tool_response>\n{without_turn_markers(message.content)}\n</tool_response>"
            if after_tool:
                chat[-1]["content"] += "\n" + block
            else:
                chat.append({"role": "user", "content": block})
        elif message.role == "assistant":
            chat.append(
                {"role": "assistant", "content": without_turn_markers(render_answer(message))})
        else:
            chat.append({"role": "user", "content": without_turn_markers(message.content)})
        after_tool = message.role == "tool"
    return chat


def render_sample(sample: Sample, instructions: Instructions = "full") -> list[ChatMessage]:
    """The whole prompt of one sample: system text, then the context."""
    return [{"role": "system", "content": render_system(sample.tools, sample.date, instructions)},
            *render_messages(sample.messages)]


def render_conversation(messages: list[Message]) -> str:
    """Messages as JSON lines of role, content and calls: how judges and generators see and write a
    conversation.

    In JSON nothing that a user or a model wrote can end its own line, and so pose as another turn.
    """
    return "\n".join(json.dumps({"role": message.role, "content": message.content}
                                | ({"calls": [{"name": call.name, "arguments": call.arguments}
                                              for call in message.calls]}
                                   if message.calls else {}), ensure_ascii=False)
                     for message in messages)


def last_turns(messages: list[Message], count: int) -> list[Message]:
    """The last `count` user turns, each with all that follows it; the first message left is a
    user's."""
    starts = [i for i, message in enumerate(messages) if message.role == "user"]
    return messages[starts[-count]:] if len(starts) > count else messages


def fit(messages: list[Message], system: str, fits: Fits, max_tokens: int,
        max_turns: int) -> list[Message] | None:
    """The longest context of at most `max_turns` user turns whose prompt has at most `max_tokens`
    tokens.

    The oldest turns go first, tools never; None when not even the last turn fits.

    Args:
        system: the system text, by `render_system`.
    """
    turns = sum(message.role == "user" for message in messages)
    for keep in range(min(turns, max_turns), 0, -1):
        kept = last_turns(messages, keep)
        if fits([{"role": "system", "content": system}, *render_messages(kept)], max_tokens):
            return kept
    return None
