"""One request as the simulated roles see it: its blocks, its tools, its history, its randomness."""
from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from looptool.calling.reply import parse_reply
from looptool.config import Simulation
from looptool.records import Call, Message, Tool
from looptool.simulation.world.language import Wording
from looptool.simulation.world.noise import corrupt
from looptool.simulation.world.rules import rule_error, step_rng
from looptool.simulation.world.truth import Truth

Chat = list[dict[str, Any]]


class NotUnderstood(ValueError):
    """The request is no prompt of this project: no role, or a block is absent. Servers answer
    400."""


@dataclass(frozen=True)
class Prompt:
    """One request as the roles see it."""

    role: str
    chat: Chat
    draw: int
    rates: Simulation
    seed: int
    model: str

    def block(self, name: str) -> str:
        """The text inside <name> of the last message that has it.

        Raises:
            NotUnderstood: no message has it.
        """
        for message in reversed(self.chat):
            inner = block_of(message["content"], name)
            if inner is not None:
                return inner
        raise NotUnderstood(f"the prompt of role {self.role} has no <{name}> block")

    @property
    def tools(self) -> list[Tool]:
        return list(_read_tools(self.block("tools")))

    @property
    def conversation(self) -> list[Message]:
        return list(_read_messages(self.block("conversation")))

    @property
    def wording(self) -> Wording:
        """How the simulated people speak: in the language in which the prompt begins."""
        return "chinese" if re.search("[\u4e00-\u9fff]", self.chat[0]["content"][:100]) else "train"

    def teachers_error(self, history: Sequence[Message], now: Truth | None) -> list[Call] | None:
        """The wrong calls that the teacher holds to be right at the end of `history`, [] being
        plain text; mostly None.

        With judge_shares_blind_spots they are the same for whoever is asked about this history.
        """
        rates, tools = self.rates, self.tools
        if rates.noise == "systematic":
            kept = None if now is None else rule_error(rates, self.seed, tools, history, now)
            return None if kept is None else kept[1]
        # what the judge has to draw again cannot depend on the assistant's own prompt
        rng = (step_rng(self.seed, "label_noise", history) if rates.judge_shares_blind_spots
               else self.rng("label_noise", json.dumps(self.chat, sort_keys=True)))
        is_done = now is not None and now.kind == "done"
        if rng.random() >= rates.label_noise or is_done:
            return None
        return corrupt(rng, [] if now is None else now.calls, tools)[1]

    def rng(self, purpose: str, *parts: str) -> random.Random:
        """Randomness that depends on the seed, `purpose` and `parts`; by default on the whole
        prompt and its draw."""
        parts = parts or (json.dumps(self.chat, sort_keys=True), str(self.draw))
        digest = hashlib.sha256(
            "\x00".join((str(self.seed), self.role, purpose, *parts)).encode()).digest()
        return random.Random(digest)


def block_of(text: str, name: str) -> str | None:
    """The text inside <name>; None where there is no such block."""
    start, end = text.rfind(f"<{name}>\n"), text.rfind(f"\n</{name}>")
    return text[start + len(name) + 3:end] if 0 <= start <= end else None


@lru_cache(maxsize=20_000)
def _read_tools(lines: str) -> tuple[Tool, ...]:
    return tuple(msgspec.json.decode(line, type=Tool) for line in lines.splitlines())


@lru_cache(maxsize=20_000)
def _read_messages(lines: str) -> tuple[Message, ...]:
    return tuple(msgspec.json.decode(line, type=Message) for line in lines.splitlines())


_RESULT = re.compile(r"<tool_response>\n(.*?)\n</tool_response>", re.DOTALL)


def read_chat(chat: Chat) -> list[Message]:
    """The history of a chat prompt as Messages: looptool.prompts.render.render_messages
    backwards."""
    messages = []
    for entry in chat:
        if entry["role"] == "assistant":
            messages.append(parse_reply(entry["content"]).message())
        elif entry["role"] == "user":
            results = _RESULT.findall(entry["content"])
            messages += ([Message(role="tool", content=result) for result in results]
                         or [Message(role="user", content=entry["content"])])
    return messages
