"""Answers to ACEBench from its ground truth as a model would: <tool_call> blocks,
sentences, agents' steps."""
from __future__ import annotations

import re
from typing import Any

import msgspec
from local_server import completion

from bfcl.acebench.brackets import read_brackets
from bfcl.acebench.checkout import AGENT, CATEGORIES, Checkout, Language, Row
from bfcl.acebench.prompting import read_conversation, render_task
from looptool.calling.reply import render_calls
from looptool.records import Call

FINISH = "finish conversation"
_INNER_QUOTE = re.compile(r"(?<=\w)'(?=[st]\b)")
"""The benchmark writes its milestones with such quotes unescaped."""


def truths(checkout: Checkout, language: Language, category: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line)
            for line in checkout.truth(language, category).read_bytes().splitlines()]


def right_reply(row: Row, truth: Any) -> str:
    """What a model should write; of several right answers the first."""
    truth = truth[0] if isinstance(truth, list) else truth
    if row.id.startswith("special_irrelevant"):
        return truth
    if row.id.startswith("special_incomplete"):
        return " ".join(f"Missing necessary parameters ({', '.join(names)}) for the api ({api})"
                        for api, names in truth.items())
    if row.id.startswith("special"):
        return " ".join(f"There is incorrect value ({', '.join(values)}) for the parameters "
                        f"({name}) in the conversation history." for name, values in truth.items())
    known = {function["name"] for function in row.function}
    return render_calls(
        [Call(name=name if name in known else re.sub(r"_\d+$", "", name), arguments=arguments)
         for name, arguments in truth.items()])


def steps(milestones: list[Any]) -> list[str]:
    """An agent's replies until it is done, by the longest list of milestones."""
    stones = max(milestones, key=len) if isinstance(milestones[0], list) else milestones
    return [*(render_calls(read_brackets(_INNER_QUOTE.sub(r"\\'", stone))) for stone in stones),
            FINISH]


class Oracle:
    """Policy and user of one language; `wrong` makes every reply of the policy one that cannot be
    right."""

    def __init__(self, checkout: Checkout, language: Language, wrong: bool = False):
        self._wrong = wrong
        self._replies: dict[bytes, str] = {}
        self._steps: dict[str, list[str]] = {}
        for category in CATEGORIES:
            for row, truth in zip(checkout.rows(language, category),
                                  truths(checkout, language, category), strict=True):
                if category in AGENT:
                    # of the same words under other states the longest serves all
                    script = steps(truth["mile_stone"])
                    self._steps[row.question] = max(script, self._steps.get(row.question, []),
                                                    key=len)
                    continue
                chat = render_task(row, language, read_conversation(row.question), "short")
                self._replies[_key(chat)] = right_reply(row, truth["ground_truth"])

    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        chat = payload["messages"]
        if payload["model"] == "user":
            return completion(self._instruction(chat) if len(chat) == 2 else FINISH)
        if self._wrong:
            return completion('<tool_call>\n{"name": "no_such_api", "arguments": {}}\n</tool_call>')
        reply = self._replies.get(_key(chat))
        if reply is None:
            taken = sum(message["role"] == "assistant" for message in chat)
            script = self._steps[chat[1]["content"]]
            reply = script[min(taken, len(script) - 1)]
        return completion(f"<think>\nI know.\n</think>\n\n{reply}")

    def _instruction(self, chat: list[dict[str, str]]) -> str:
        """The task of a simulated user, which it tells in one go."""
        return next(question for question in self._steps if question in chat[0]["content"])


def _key(chat: list[dict[str, str]]) -> bytes:
    return msgspec.json.encode(chat, order="sorted")
