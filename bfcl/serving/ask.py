"""One model behind an OpenAI-compatible server, asked from many threads: what both benchmarks put
their prompts to.

In: chat messages. Out: a looptool.models.completion.Reply. A server that is gone ends the run in
two minutes, for all threads.
"""
from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from typing import Any

import httpx2
import msgspec

from bfcl.card import Sampling
from bfcl.serving.fetch import fetch
from looptool.errors import InputError
from looptool.models.completion import Reply, Transient, is_too_long, read_completion
from looptool.prompts.render import ChatMessage

PAUSES = (1, 2, 4, 8, 16)
"""Seconds between the tries of one request: a server that is down is given half a minute."""
LONGEST_ANSWER = 1800
"""Seconds; a server that is silent for longer counts as gone."""


def drawing(sampling: Sampling) -> dict[str, Any]:
    """The fields of a request that say how its reply is drawn and shown, for whichever benchmark
    asks.

    Special tokens are shown, without spaces between them: some models write <tool_call> as one.
    """
    return {"temperature": sampling.temperature, "top_p": sampling.top_p, **sampling.others,
            "skip_special_tokens": False, "spaces_between_special_tokens": False,
            "chat_template_kwargs": {"enable_thinking": sampling.thinking}}


def seed_of(task: str, draw: int) -> int:
    """The seed of a further draw of a task; the first has none, as in the package's own handlers.

    Without it a server that was started again, with its own seed, would repeat draws.
    """
    return int.from_bytes(hashlib.sha256(f"{task}:{draw}".encode()).digest()[:4], "big") >> 1


class ContextFull(Exception):
    """The prompt leaves no room for a reply in the server's context."""


class ServerGone(BaseException):
    """The run cannot go on. No Exception: benchmarks turn those into answers, and score them."""


class Asker:
    """A model at `url` (".../v1") under the name `model`; call it from any thread."""

    def __init__(self, url: str, model: str, sampling: Sampling,
                 pauses: tuple[float, ...] = PAUSES):
        self.url, self.model, self.sampling = url, model, sampling
        self.draw = 1
        """Which draw is asked for; see `seed_of`."""
        self._pauses = pauses
        self._answered = 0
        self._gone = ""

    def stop(self, reason: str) -> None:
        """Every call from now on, and every one that is being tried again, raises ServerGone."""
        self._gone = self._gone or reason

    def refuse_hidden_tools(self) -> None:
        """Ask twice, with a tool and without: a server whose template shows tools then counts other
        tokens.

        Raises:
            InputError: it shows none, or refuses tools.
            ServerGone: no answer.
        """
        tool = {"type": "function",
                "function": {"name": "find_city",
                             "parameters": {"type": "object", "properties": {}}}}
        chat: list[ChatMessage] = [{"role": "user", "content": "Hello"}]
        try:
            bare, shown = (self(chat, tools, "are tools shown").prompt_tokens
                           for tools in (None, [tool]))
        except RuntimeError as error:
            raise InputError(f"--prompt native: {self.url} does not take tools ({error}); use "
                             "--prompt full") from None
        if shown and shown == bare:
            raise InputError(f"--prompt native: the template of {self.url} shows no tools where no "
                             "call may be parsed; start vLLM 0.10 or newer without "
                             "--exclude-tools-when-tool-choice-none, or use --prompt full")

    def __call__(self, chat: list[ChatMessage], tools: list[dict[str, Any]] | None = None,
                 task: str = "") -> Reply:
        """The reply to a rendered prompt.

        Args:
            tools: in OpenAI's form, for the server's chat template to show; the reply is text even
                so.
            task: stands in the request as "user", so that a server's log can be read beside the
                results.

        Raises:
            ContextFull: the prompt does not fit.
            ServerGone: no answer after all tries to any request, or the key is refused.
            RuntimeError: the server refuses this request, or fails it while it answers others.
        """
        request: dict[str, Any] = {"model": self.model, "messages": chat, **drawing(self.sampling)}
        if task:
            request["user"] = task
        if self.draw > 1:
            request["seed"] = seed_of(task, self.draw)
        if tools is not None:
            request |= {"tools": tools, "tool_choice": "none"}
        for limit in reply_limits(self.sampling.max_tokens):
            try:
                return self._post(request | {"max_tokens": limit})
            except ContextFull:
                continue
        raise ContextFull("context full: the server's context does not hold the prompt; start it "
                          "with a larger one")

    def _post(self, request: dict[str, Any]) -> Reply:
        body, answered = msgspec.json.encode(request), self._answered
        # None is the last try, which no pause follows
        for pause in (*self._pauses, None):
            if self._gone:
                raise ServerGone(self._gone)
            try:
                reply = read_completion(fetch(f"{self.url}/chat/completions", body, LONGEST_ANSWER))
                self._answered += 1
                return reply
            except httpx2.ReadTimeout:
                self.stop(f"{self.url}: silent for {LONGEST_ANSWER} s; look at the server's log, "
                          "then run this again")
            except httpx2.HTTPStatusError as error:
                self._judge(error.response, last=pause is None, alone=self._answered == answered)
            except (Transient, httpx2.HTTPError) as error:
                if pause is None:
                    self._give_up(str(error))
            time.sleep(0 if self._gone else pause or 0)
        raise ServerGone(self._gone)

    def _give_up(self, reason: str) -> None:
        self.stop(f"{self.url}: no answer ({reason}); start the server again, then run this again: "
                  "it goes on where it was")

    def _judge(self, refusal: httpx2.Response, last: bool, alone: bool) -> None:
        """Raise what a refusal means; return where another try may help, or where nothing is left
        to try.

        Args:
            alone: nothing else was answered since the first try. A gateway's 502 is then a server
                that is down.
        """
        words, code = " ".join(refusal.text.split())[:300], refusal.status_code
        if code == 429:  # in its own words bfcl-eval would see a reason to ask half an entry again
            words = "the server is too busy; ask fewer at a time with --in-flight"
        if code in (401, 403):
            self.stop(f"{self.url}: {code}, the server refuses the key; set OPENAI_API_KEY")
        elif code == 400 and is_too_long(words):
            raise ContextFull(words)
        elif code not in (408, 425, 429) and code < 500 or last and not alone:
            raise RuntimeError(f"status {code}: {words}")
        elif last:
            self._give_up(f"status {code}: {words}")


SHORTEST_REPLY = 128
"""Tokens; a prompt that leaves less room than this in the context is not asked."""


def reply_limits(max_tokens: int) -> Iterator[int]:
    """Tokens to ask for: all of them, then a quarter of it again and again, down to
    SHORTEST_REPLY."""
    room = max_tokens
    while room >= min(SHORTEST_REPLY, max_tokens):
        yield room
        room //= 4
