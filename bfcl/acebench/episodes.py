"""Agent tasks: ACEBench's environment and loop in a process for each; policy and simulated user are
asked from here.

What the model is shown is the episode's dialogue, rendered as any conversation: its own earlier
calls as <tool_call> blocks, what the environment returned as <tool_response> blocks.
"""
from __future__ import annotations

import asyncio
import json
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from bfcl.acebench.answers import CONTEXT_FULL, Answer, Kind, read_reply
from bfcl.acebench.checkout import Checkout, Language, Row
from bfcl.acebench.child import command, environment
from bfcl.acebench.prompting import kind_of, render_task
from looptool.errors import InputError
from looptool.models.completion import CallFailed, Reply
from looptool.prompts.render import ChatMessage
from looptool.records import Message

Ask = Callable[[list[ChatMessage]], Awaitable[Reply]]
AT_ONCE = 16
"""Processes of environments; each takes about 20 MB."""
# bytes; asyncio's own limit is 2 ** 16, which an episode's dialogue may exceed
_LONGEST_LINE = 2 ** 26


class Episode:
    """One task being played."""

    def __init__(self, row: Row, language: Language, prompt: str, ask_policy: Ask,
                 ask_user: Ask | None):
        self._row, self._language, self._prompt = row, language, prompt
        self._ask_policy, self._ask_user = ask_policy, ask_user
        self._said: list[Message] = []
        self._chat: list[ChatMessage] = []
        self._faults: Counter[str] = Counter()

    async def play(self, checkout: Checkout) -> Answer:
        """Run it to its end.

        Raises:
            CallFailed: a call got no answer, or the user's is none; nothing is lost, as all answers
                so far are in the clients' caches.
            InputError: the environment does not start.
        """
        with tempfile.TemporaryDirectory() as scratch, tempfile.TemporaryFile() as log:
            process = await asyncio.create_subprocess_exec(
                *command("episode_process", str(checkout.folder)), cwd=scratch, env=environment(),
                limit=_LONGEST_LINE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
                stderr=log)
            try:
                heard = await self._talk(process)
            finally:
                if process.returncode is None:
                    process.kill()
                await process.communicate()
            if heard is None:
                log.seek(0)
                reason = (log.read().decode(errors="replace").strip().splitlines()[-1:]
                          or ["no reason given"])
                raise InputError(
                    f"{self._row.id}: ACEBench's environment does not run: {reason[0]}")
        return self._answer(heard)

    async def _talk(self, process: asyncio.subprocess.Process) -> dict[str, Any] | None:
        """Answer the environment until its last line; None where it ends without one."""
        said: Any = {"row": msgspec.to_builtins(self._row), "language": self._language,
                     "kind": kind_of(self._row)}
        while True:
            process.stdin.write(json.dumps(said).encode() + b"\n")
            line = await process.stdout.readline()
            heard = json.loads(line) if line else None
            if heard is None or "ask" not in heard:
                return heard
            said = await (self._turn(heard) if heard["ask"] == "policy"
                          else self._user(heard["messages"]))

    async def _turn(self, heard: dict[str, Any]) -> str:
        """What the policy says next, in the benchmark's form."""
        self._chat = render_task(self._row, self._language, self._messages(heard["dialogue"]),
                                 self._prompt, heard["rules"])
        read = read_reply(await self._ask_policy(self._chat))
        self._said.append(read.message)
        if read.kind not in ("calls", "text"):
            self._faults[read.kind] += 1
        return read.result

    async def _user(self, messages: list[ChatMessage]) -> str:
        """What the simulated user says.

        Raises:
            CallFailed: nothing, or no more than a part of it. The policy is not to blame, so the
                task has no answer.
        """
        reply = await self._ask_user(messages)
        if reply.finish == CONTEXT_FULL:
            raise CallFailed("the server of the simulated user has no room for a reply; start it "
                             "with a larger context, then run this again")
        if reply.finish == "length" or not reply.text.strip():
            how = "was cut at its limit of tokens" if reply.finish == "length" else "is empty"
            raise CallFailed(f"the reply of the simulated user {how}, and is kept, so that the "
                             "next run gets it again; begin anew with --fresh and another "
                             "--user-model, or this one served without thinking or with a larger "
                             "context; or count the task as wrong with --failed-as-wrong")
        return reply.text

    def _messages(self, dialogue: list[dict[str, Any]]) -> list[Message]:
        """The dialogue as the policy lived it: its own turns are what it wrote."""
        mine = iter(self._said)
        messages: list[Message] = []
        for turn in dialogue:
            if turn["sender"] == "agent":
                messages.append(next(mine))
            # what the environment says to a turn without calls is no result of one
            elif turn["sender"] == "execution" and messages[-1].calls:
                messages += _results(turn["message"], len(messages[-1].calls))
            else:
                messages.append(Message(role="user", content=_text(turn["message"])))
        return messages

    def _answer(self, heard: dict[str, Any]) -> Answer:
        dialogue = heard["dialogue"]
        states, process = heard.get("states", []), heard.get("process", [])
        kind: Kind = "ended" if dialogue and "finish conversation" in _text(
            dialogue[-1]["message"]) else "out_of_turns"
        return Answer(id=self._row.id, kind="environment_error" if "error" in heard else kind,
                      reply=heard.get("error", ""), result=states, process=process,
                      dialogue=dialogue, chat=self._chat, faults=dict(self._faults))


def _results(returned: Any, calls: int) -> list[Message]:
    """A result for each call, or one for all where their numbers differ: an error of the
    environment is one text."""
    if isinstance(returned, list) and len(returned) == calls:
        return [Message(role="tool", content=_text(result)) for result in returned]
    return [Message(role="tool", content=_text(returned))]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
