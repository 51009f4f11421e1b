"""Structured replies: a JSON schema goes out with a request, and the server keeps the reply to it
(`response_format`).

Whether a server does is found out by asking, for each of its models once, with a schema that no
model keeps to unless it is made to. A server may refuse the field, take it and leave it aside, or
refuse some schemas only: each is said once in the log, and every reply that a schema was wanted for
and that does not keep to one is counted as unstructured.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import jsonschema
import msgspec
import openai

from looptool.errors import InputError
from looptool.models.completion import Reply

_log = logging.getLogger(__name__)

Post = Callable[[bytes], Awaitable[Reply]]
"""Sends one chat completion request to the server."""


class Form(msgspec.Struct, frozen=True):
    """What a reply has to look like."""

    name: str
    schema: dict[str, Any]
    strict: bool = True
    """OpenAI's strict mode, which wants every object closed and every property required; False
    where any JSON may stand, which OpenAI then keeps to as well as it can. vLLM and SGLang do not
    look at it."""

    def response_format(self) -> dict[str, Any]:
        """The field of the request."""
        return {"type": "json_schema",
                "json_schema": {"name": self.name, "schema": self.schema, "strict": self.strict}}

    def fits(self, text: str) -> bool:
        """Whether a reply is a JSON value of this form and nothing else."""
        try:
            value = msgspec.json.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return False
        return jsonschema.Draft202012Validator(self.schema).is_valid(value)


def closed(**properties: dict[str, Any]) -> dict[str, Any]:
    """The schema of an object with these properties, in this order, all of them and no others."""
    return {"type": "object", "properties": properties, "required": list(properties),
            "additionalProperties": False}


def one_of(*words: str) -> dict[str, Any]:
    """The schema of a text that is one of these words."""
    return {"type": "string", "enum": list(words)}


TEXT = {"type": "string"}
ANY_OBJECT = {"type": "object", "additionalProperties": True}
"""Said in full: without the second word some grammars allow {} only."""

PROBE = Form("probe", closed(word=one_of("heron-47")))
"""The one reply that keeps to it is in no prompt, so that it comes by the schema alone."""
_PROBE_CHAT = [{"role": "system", "content": "# Role: probe\n\nYou greet people."},
               {"role": "user", "content": "Say hello."}]
_PROBE_TOKENS = 2048
"""Room for a model that thinks first."""


class Shown(msgspec.Struct, frozen=True):
    """What a server has shown of itself, asked for one model."""

    keeps: bool
    """Whether a reply keeps to its schema."""
    fault: str = ""
    """What it does instead, or what is lost by it."""


async def ask_for_support(model: str, post: Post) -> Shown:
    """Ask for a reply by a schema; where that comes without thinking, for one without a schema too.

    Raises:
        Transient: no answer.
        openai.APIStatusError: a refusal that has nothing to do with schemas, as of the key.
    """
    plain = {"model": model, "messages": _PROBE_CHAT, "max_tokens": _PROBE_TOKENS, "seed": 0}
    formed = plain | {"response_format": PROBE.response_format()}
    try:
        reply = await post(msgspec.json.encode(formed))
    except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
        words = " ".join(error.response.text.split())[:200]
        return Shown(False, f"refuses response_format ({words})")
    if not PROBE.fits(reply.text):
        return Shown(False, "takes response_format and does not keep to it")
    if not reply.reasoning and (await post(msgspec.json.encode(plain))).reasoning:
        return Shown(True, "lets no reply by a schema begin with thinking, as vLLM without its "
                           "--reasoning-parser")
    return Shown(True)


class Support:
    """What one server does with schemas."""

    def __init__(self, url: str):
        self._url = url
        self._asked: dict[str, asyncio.Task[Shown]] = {}
        self._refused: set[tuple[str, str]] = set()
        self._said: set[tuple[str, ...]] = set()

    async def keeps(self, model: str, form: Form, post: Post, needed: bool) -> bool:
        """Whether the model's replies keep to this form here.

        Args:
            needed: by teacher.structured "on".

        Raises:
            InputError: it is needed, and the server does no such thing.
            Transient: no answer; the next call asks again.
        """
        if (model, form.name) in self._refused:
            return False
        task = self._asked.get(model)
        # a task that failed is no answer of the server's
        if task is None or task.done() and (task.cancelled() or task.exception()):
            task = self._asked[model] = asyncio.create_task(ask_for_support(model, post))
        # shielded, as many calls wait for this one answer and any of them may be cancelled
        shown = await asyncio.shield(task)
        if needed and not shown.keeps:
            raise InputError(f"teacher.structured is on, but {self._url} {shown.fault}, asked for "
                             f"{model!r}; set it to auto, or start a server that knows json_schema")
        if shown.fault:
            self._say((model,), f"{shown.fault}; {model} is asked with schemas, as they are on"
                      if needed else f"{shown.fault}; {model} is asked without schemas, and its "
                      "replies are read as they come")
        return needed or not shown.fault

    def refuse(self, model: str, form: Form, words: str) -> None:
        """Remember a schema that the server refuses, though it knows others."""
        self._refused.add((model, form.name))
        self._say((model, form.name), f"refuses the schema of {form.name} ({words}); {model} is "
                                      "asked for it without")

    def miss(self, model: str, form: Form) -> None:
        """A reply does not keep to the schema that was sent with its request."""
        self._say((model, form.name, "missed"),
                  f"does not keep to the schema of {form.name}; such replies of {model} are read "
                  "as they come, and counted as unstructured")

    def close(self) -> None:
        for task in self._asked.values():
            task.cancel()

    def _say(self, key: tuple[str, ...], words: str) -> None:
        if key not in self._said:
            self._said.add(key)
            _log.warning("%s: %s", self._url, words)
