"""The four agents of dialog generation (section 3): planner, user, assistant, tool.

In: what the agent may see, and `ask`, which reaches a model. Out: needs or a message. A reply that
cannot be used is bad model output: it is counted against the dialog's patience and asked for again
under another draw number; when the patience is spent the dialog is abandoned. A call that got no
answer (CallFailed) passes through.
"""
from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection, Sequence
from itertools import count
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dialog_generation.backends import World
from dialog_generation.replies import RESULT, Unusable, plan_form, read_plan, read_result, read_text
from looptool.calling.match import tool_match
from looptool.calling.reply import parse_reply
from looptool.calling.schema_check import check_calls
from looptool.calling.untagged import text_fault
from looptool.config import Dialogs
from looptool.foreign.conversations import write_tools, write_turns
from looptool.foreign.error_results import reports_error
from looptool.models.completion import Reply, ToolCall
from looptool.models.structured_outputs import Form
from looptool.prompts.render import (
    fill, read_prompt, render_conversation, render_messages, render_tools, without_turn_markers)
from looptool.records import Call, Message, Need, Tool

PROMPTS = Path(__file__).resolve().parent / "prompts"
ROLES = ("planner", "user", "assistant", "tool")

Ask = Callable[..., Awaitable[Reply]]
"""(role, chat, draw, tools=None, form=None) -> one reply of a model; `tools` in the API's form for
native calls, `form` for a reply that is JSON."""
T = TypeVar("T")


def prompt_file(name: str, language: str) -> Path:
    return PROMPTS / language / f"{name}.md"


class Abandoned(Exception):
    """The dialog has had too many bad turns; its text names the role and the last reason."""


class Cast:
    """The agents of one dialog: its tools and date, a way to ask, what is left of its patience, and
    its world.

    Tools that have a backend act on the world, whose first state is drawn from `seed`; planner and
    user know of it.
    """

    def __init__(self, tools: list[Tool], date: str, ask: Ask, options: Dialogs, seed: str = ""):
        self.tools, self._ask, self._options = tools, ask, options
        self._patience = options.max_bad_turns
        self._world = World(tools, date, seed)
        self._known = {
            "world": self._prompt("world", facts=json.dumps(self._world.facts, ensure_ascii=False))
            } if self._world.facts else {}
        lines = without_turn_markers(render_tools(tools))
        # the same in each turn and before the history, so that a prefix cache computes it once
        self._system = {role: self._prompt(role, date=date, tools=lines) for role in ROLES}
        if options.native_calls:
            self._system["assistant"] = self._prompt("assistant_native", date=date)

    def _prompt(self, name: str, **values: str) -> str:
        return fill(read_prompt(prompt_file(name, self._options.language)), **values)

    async def plan(self, turns: int, examples: Sequence[str] = ()) -> list[Need]:
        """The outline of the dialog: at most `turns` needs; of COMPLEX_FROM or more at least one is
        complex.

        Args:
            examples: outlines of other dialogs over these tools, to learn from.
        """
        blocks = {**self._known, **({"examples": "\n\n".join(examples)} if examples else {}),
                  **({} if self._options.chat else {"chat": "none"}), "turns": str(turns)}
        chat = self._options.chat
        return await self._read(
            "planner", blocks, lambda text: read_plan(text, self.tools, chat)[:turns],
            plan_form(turns, self.tools, chat))

    async def speak(self, history: list[Message], need: Need) -> Message:
        """The user's next message: an answer to a question, or the opening of the need."""
        blocks = {**self._known, "conversation": render_conversation(history), "need": _json(need)}
        return Message(role="user", content=await self._read("user", blocks, read_text))

    async def assist(self, history: list[Message]) -> Message:
        """The assistant's next turn, on which two of two or three draws agree; else the first draw,
        marked suspect.

        Two draws agree if their calls match, or if both are plain text.
        """
        ask = self._ask_native if self._options.native_calls else self._ask_in_text
        names = [tool.name for tool in self.tools]
        usable: list[Message] = []
        asked = 0
        while True:
            # two draws at once, then one at a time: mostly two agree
            wanted = max(2 - len(usable), 1)
            for reply in await asyncio.gather(*(ask(history, asked + i) for i in range(wanted))):
                try:
                    usable.append(read_turn(reply, names))
                except Unusable as fault:
                    self._count_bad("assistant", fault)
            asked += wanted
            agreed = majority(usable)
            if agreed is not None:
                return agreed
            if len(usable) >= 3:
                return msgspec.structs.replace(usable[0], suspect=True)

    async def _ask_in_text(self, history: list[Message], draw: int) -> Reply:
        system = {"role": "system", "content": self._system["assistant"]}
        return await self._ask("assistant", [system, *render_messages(history)], draw)

    async def _ask_native(self, history: list[Message], draw: int) -> Reply:
        chat = [{"role": "system", "content": self._system["assistant"]}]
        for turn in write_turns(
                # a suspect turn would get a weight, which is no field of the API
                [msgspec.structs.replace(message, suspect=False) for message in history]):
            chat.append(msgspec.to_builtins(turn))
        return await self._ask("assistant", chat, draw, tools=write_tools(self.tools))

    async def run(self, history: list[Message], call: Call) -> Message:
        """The result of one call; `history` ends before the assistant's turn.

        A call that breaks its tool's schema gets the error that any service would give, without a
        model. A backend answers before anything is awaited, so that the calls of one turn act on
        its state in their order.
        """
        faults = check_calls([call], self.tools)
        if faults:
            return _result({"error": "invalid call", "details": faults})
        if self._world.runs(call.name):
            return _result(self._world.call(call))
        blocks = {"conversation": render_conversation(history), "call": _json(call)}
        return _result(await self._read(
            "tool", blocks, lambda text: read_result(text, call), RESULT))

    async def _read(self, role: str, blocks: dict[str, str], read: Callable[[str], T],
                    form: Form | None = None) -> T:
        """Ask until a reply can be read."""
        content = "\n\n".join(f"<{name}>\n{without_turn_markers(text)}\n</{name}>"
                              for name, text in blocks.items())
        chat = [{"role": "system", "content": self._system[role]},
                {"role": "user", "content": content}]
        for draw in count():
            reply = await self._ask(role, chat, draw, form=form)
            try:
                if reply.finish == "length":
                    raise Unusable("cut")
                return read(reply.text)
            except Unusable as fault:
                self._count_bad(role, fault)
        # for type checkers: count() has no end
        raise AssertionError("patience ends")

    def _count_bad(self, role: str, fault: Unusable) -> None:
        self._patience -= 1
        if self._patience < 0:
            raise Abandoned(f"{role}_{fault}")


def majority(turns: list[Message]) -> Message | None:
    """The first of two turns that agree."""
    return next((turn for index, turn in enumerate(turns) for other in turns[index + 1:]
                 if tool_match(turn, other) == "match"), None)


def read_turn(reply: Reply, tools: Collection[str] = ()) -> Message:
    """An assistant's turn: calls, in blocks of the text or in the API's own field, or text.

    Args:
        tools: names of the listed tools, by which calls without their tags are known.

    Raises:
        Unusable: a call cannot be read, the reply was cut, or it neither calls nor says anything.
    """
    read = parse_reply(reply.text)
    if reply.finish == "length":
        raise Unusable("cut")
    if read.faults:
        raise Unusable(read.faults[0])
    calls = [*read.calls, *map(read_tool_call, reply.tool_calls)]
    if not calls and (fault := text_fault(read.content, tools)):
        raise Unusable(fault)
    return msgspec.structs.replace(read.message(), calls=calls,
                                   reasoning=reply.reasoning or read.reasoning)


def read_tool_call(written: ToolCall) -> Call:
    """A call from the API's own field.

    Raises:
        Unusable: its arguments are no JSON object.
    """
    try:
        return Call(name=written.name,
                    arguments=msgspec.json.decode(written.arguments or "{}", type=dict[str, Any]))
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise Unusable("bad_json") from None


def _result(content: dict[str, Any]) -> Message:
    text = json.dumps(content, ensure_ascii=False)
    return Message(role="tool", content=text, failed=reports_error(text))


def _json(record: Need | Call) -> str:
    return msgspec.json.encode(record).decode()
