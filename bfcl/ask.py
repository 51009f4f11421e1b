"""One model behind an OpenAI-compatible server, asked from many threads: what both benchmarks put their prompts to.

In: chat messages. Out: a looptool.answers.Reply. A server that is gone ends the run in two minutes, for all threads.
"""
from __future__ import annotations

import http.client
import time
import urllib.error
from collections.abc import Callable
from typing import Any

import msgspec

from bfcl.card import Sampling
from bfcl.fetching import fetch
from bfcl.room import is_too_long, rooms
from looptool.answers import Reply, Transient, read_completion
from looptool.prompt import ChatMessage
from looptool.records import InputError

PAUSES = (1, 2, 4, 8, 16)
"""Seconds between the tries of one request: a server that is down is given half a minute."""
LONGEST_ANSWER = 1800
"""Seconds; a server that is silent for longer counts as gone."""


class ContextFull(Exception):
    """The prompt leaves no room for a reply in the server's context."""


class ServerGone(BaseException):
    """The run cannot go on. No Exception: benchmarks turn those into answers, and score them."""


class Asker:
    """A model at `url` (".../v1") under the name `model`; call it from any thread."""

    def __init__(self, url: str, model: str, sampling: Sampling, pauses: tuple[float, ...] = PAUSES):
        self.url, self.model, self.sampling = url, model, sampling
        self._pauses = pauses
        self._answered = 0
        self._gone = ""

    def stop(self, reason: str) -> None:
        """Every call from now on, and every one that is being tried again, raises ServerGone."""
        self._gone = self._gone or reason

    def __call__(self, chat: list[ChatMessage], tools: list[dict[str, Any]] | None = None, task: str = "") -> Reply:
        """The reply to a rendered prompt.

        Args:
            tools: in OpenAI's form, for the server's chat template to show; the reply is text even so.
            task: stands in the request as "user", so that a server's log can be read beside the results.

        Raises:
            ContextFull: the prompt does not fit.
            ServerGone: no answer after all tries to any request, or the key is refused.
            RuntimeError: the server refuses this request, or fails it while it answers others.
        """
        request: dict[str, Any] = {
            "model": self.model, "messages": chat,
            "temperature": self.sampling.temperature, "top_p": self.sampling.top_p,
            "skip_special_tokens": False, "spaces_between_special_tokens": False,
            "chat_template_kwargs": {"enable_thinking": self.sampling.thinking}}
        if task:
            request["user"] = task
        if tools is not None:
            request |= {"tools": tools, "tool_choice": "none"}
        for room in rooms(self.sampling.max_tokens):
            try:
                return self._post(request | {"max_tokens": room})
            except ContextFull:
                continue
        raise ContextFull("context full: the server's context does not hold the prompt; start it with a larger one")

    def _post(self, request: dict[str, Any]) -> Reply:
        body, answered = msgspec.json.encode(request), self._answered
        for pause in (*self._pauses, None):
            if self._gone:
                raise ServerGone(self._gone)
            try:
                reply = read_completion(fetch(f"{self.url}/chat/completions", body, LONGEST_ANSWER))
                self._answered += 1
                return reply
            except TimeoutError:
                self.stop(f"{self.url}: silent for {LONGEST_ANSWER} s; look at the server's log, then run this again")
            except urllib.error.HTTPError as error:
                self._judge(error, last=pause is None, alone=self._answered == answered)
            except (Transient, OSError, http.client.HTTPException) as error:
                if pause is None:
                    self._give_up(str(error))
            time.sleep(0 if self._gone else pause or 0)
        raise ServerGone(self._gone)

    def _give_up(self, reason: str) -> None:
        self.stop(f"{self.url}: no answer ({reason}); start the server again, then run this again: it goes on where it "
                  "was")

    def _judge(self, error: urllib.error.HTTPError, last: bool, alone: bool) -> None:
        """Raise what a refusal means; return where another try may help, or where nothing is left to try.

        Args:
            alone: nothing else was answered since the first try. A gateway's 502 is then a server that is down.
        """
        words = " ".join(error.read().decode(errors="replace").split())[:300]
        if error.code in (401, 403):
            self.stop(f"{self.url}: {error.code}, the server refuses the key; set OPENAI_API_KEY")
        elif error.code == 400 and is_too_long(words):
            raise ContextFull(words)
        elif error.code not in (408, 425, 429) and error.code < 500 or last and not alone:
            raise RuntimeError(f"status {error.code}: {words}")
        elif last:
            self._give_up(f"status {error.code}: {words}")


class Served(msgspec.Struct):
    """What a server says of itself."""

    url: str
    name: str
    """Under which the model is asked."""
    root: str = ""
    """The checkpoint that it has loaded, where it tells."""
    context: int = 0
    """Tokens; 0 where it does not tell."""
    server: str = "an OpenAI-compatible server"
    end: Callable[[], None] = lambda: None
    """Ends it at once, if it is ours."""


def find_server(url: str, wanted: str = "") -> Served:
    """The model at `url`: `wanted`, or the only one there.

    Raises:
        InputError: no server, another model, or several.
    """
    try:
        listed = msgspec.json.decode(fetch(f"{url}/models"))["data"]
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise InputError(f"{url}/models: no list of models ({error}); start a server, for instance with bash "
                         "scripts/serve.sh, or name its address with --endpoint http://HOST:PORT/v1") from None
    models = {model["id"]: model for model in listed}
    if not wanted and len(models) != 1 or wanted and wanted not in models:
        raise InputError(f"{url}: serves {', '.join(sorted(models)) or 'nothing'}; name one of them with --served-name")
    model = models[wanted or next(iter(models))]
    served = Served(url, model["id"], model.get("root") or "", model.get("max_model_len") or 0)
    try:
        served.server = "vllm " + msgspec.json.decode(fetch(f"{url.removesuffix('/v1')}/version"))["version"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        pass  # not vLLM
    return served
