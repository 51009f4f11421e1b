"""The simulated teacher: every role of the paper played by rules, over the prompts that a model would get.

It is reached like a model: an OpenAI chat-completion request goes in, a response body comes out. The role is read from
the first line of the system text, "# Role: <name>"; what the role works on stands in <blocks> of the prompt. Errors are
planted at the rates of config.Simulation, drawn from the prompt's content: the same prompt with the same "seed" (the
draw number) gets the same answer, today and after a restart.
"""
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

from looptool.calls import parse_reply
from looptool.config import Simulation
from looptool.records import Call, Message, Tool
from looptool.simulation.language import Wording
from looptool.simulation.noise import corrupt
from looptool.simulation.rules import rule_error, step_rng
from looptool.simulation.truth import Truth

Chat = list[dict[str, Any]]


class NotUnderstood(ValueError):
    """The request is no prompt of this project: no role, or a block is absent. Servers answer 400."""


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
        if rates.noise != "random" and now is not None:
            kept = rule_error(rates, self.seed, tools, history, now)
            if kept is not None:
                return kept[1]
        # what the judge has to draw again cannot depend on the assistant's own prompt
        rng = (step_rng(self.seed, "label_noise", history) if rates.judge_shares_blind_spots
               else self.rng("label_noise", json.dumps(self.chat, sort_keys=True)))
        is_done = now is not None and now.kind == "done"
        if rates.noise == "systematic" or rng.random() >= rates.label_noise or is_done:
            return None
        return corrupt(rng, [] if now is None else now.calls, tools)[1]

    def rng(self, purpose: str, *parts: str) -> random.Random:
        """Randomness that depends on the seed, `purpose` and `parts`; by default on the whole prompt and its draw."""
        parts = parts or (json.dumps(self.chat, sort_keys=True), str(self.draw))
        digest = hashlib.sha256("\x00".join((str(self.seed), self.role, purpose, *parts)).encode()).digest()
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
    """The history of a chat prompt as Messages: looptool.prompt.render_messages backwards."""
    messages = []
    for entry in chat:
        if entry["role"] == "assistant":
            messages.append(parse_reply(entry["content"]).message())
        elif entry["role"] == "user":
            results = _RESULT.findall(entry["content"])
            messages += ([Message(role="tool", content=result) for result in results]
                         or [Message(role="user", content=entry["content"])])
    return messages


class Teacher:
    """All roles behind one chat-completion function."""

    def __init__(self, rates: Simulation, seed: int = 0):
        self.rates, self.seed = rates, seed

    def complete(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The response body to a chat-completion request.

        Raises:
            NotUnderstood: the request is no prompt of this project.
        """
        from looptool.simulation.designer import DESIGN_ROLES
        from looptool.simulation.dialog_roles import DIALOG_ROLES
        from looptool.simulation.loop_roles import LOOP_ROLES
        from looptool.simulation.native import in_text, with_native_calls
        from looptool.simulation.structured import FORM_ROLES, in_form

        chat = in_text(payload) if payload.get("tools") else payload["messages"]
        first_line = chat[0]["content"].partition("\n")[0] if chat else ""
        role = first_line.removeprefix("# Role: ").strip()
        play = {**DESIGN_ROLES, **DIALOG_ROLES, **LOOP_ROLES, **FORM_ROLES}.get(role)
        if play is None:
            raise NotUnderstood(f"no '# Role: <name>' in the first line of the system text, but {first_line[:60]!r}")
        text = play(Prompt(role, chat, payload.get("seed") or 0, self.rates, self.seed,
                           str(payload.get("model"))))
        response = _response(payload.get("model", "simulated-teacher"), chat, text)
        if payload.get("response_format"):
            return in_form(response, payload["response_format"])
        return with_native_calls(response) if payload.get("tools") else response


def _response(model: str, chat: Chat, text: str) -> dict[str, Any]:
    prompt_tokens = sum(len(message["content"]) for message in chat) // 4
    completion_tokens = len(text) // 4 + 1
    return {"id": "simulated", "object": "chat.completion", "created": 0, "model": model,
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
                      "total_tokens": prompt_tokens + completion_tokens}}
