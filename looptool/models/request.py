"""One question to a model: the requests that may put it, and the keys under which their answers are
kept.

The limit of tokens and the schema are not part of the question: a server may refuse either. An
answer that ended by itself is the same under any limit that it keeps to, so its key holds no limit,
and answers from before there were limits stay valid. An answer that was cut says something about
its limit only, and its key holds it.
"""
from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from looptool.models.answer_cache import AnswerCache
from looptool.models.completion import Reply, is_too_long
from looptool.models.endpoint import REFUSED, Endpoint, detail
from looptool.models.structured_outputs import Form


class Question:
    """What is asked, of which model.

    Args:
        body: the request without limit and schema.
        limit: the most tokens of an answer; 0 leaves it to the server.
        form: what the answer has to look like; None where it is free text.
        world: what answers depend on beside the request.
    """

    def __init__(self, body: dict[str, Any], limit: int, form: Form | None, world: str):
        self.model: str = body["model"]
        self.limit, self.form = limit, form
        self._body = body
        plain = hashlib.sha256(msgspec.json.encode(body, order="sorted") + world.encode()).digest()
        self._keys = {False: plain}
        if form is not None:
            self._keys[True] = _key(plain, form.response_format())

    @property
    def identity(self) -> bytes:
        """Equal for equal questions."""
        return self._keys[self.form is not None]

    def request(self, formed: bool, limited: bool = True) -> bytes:
        """The body of a request."""
        body = self._body
        if limited and self.limit:
            body = body | {"max_tokens": self.limit}
        if formed and self.form is not None:
            # not sorted: a server has the properties written in the order of the schema
            field = msgspec.Raw(msgspec.json.encode(self.form.response_format()))
            body = body | {"response_format": field}
        return msgspec.json.encode(body, order="sorted")

    def known(self, cache: AnswerCache, either: bool) -> tuple[Reply, bool] | None:
        """The answer that was paid before, and whether it was asked for with the schema.

        Args:
            either: where the question has a form, whether an answer to it without the schema is one
            too.
        """
        # True first: an answer by the schema is the better one
        for formed in sorted(self._keys, reverse=True):
            if formed or either or self.form is None:
                reply = self._known(cache, self._keys[formed])
                if reply is not None:
                    return reply, formed
        return None

    def _known(self, cache: AnswerCache, key: bytes) -> Reply | None:
        reply = cache.get(key)
        if not self.limit or reply is not None and reply.completion_tokens <= self.limit:
            return reply
        return cache.get(_key(key, self.limit))

    def keep(self, cache: AnswerCache, reply: Reply, formed: bool) -> None:
        """Keep an answer that was paid."""
        key = self._keys[formed]
        cache.put(_key(key, self.limit) if reply.finish == "length" and self.limit else key, reply)


def _key(key: bytes, more: Any) -> bytes:
    return hashlib.sha256(key + msgspec.json.encode(more)).digest()


async def put(question: Question, needed: bool, endpoint: Endpoint) -> tuple[Reply, bool]:
    """One answer of this server, and whether it was asked for with the schema.

    Args:
        needed: whether it has to be, where the question has one; see teacher.structured.

    Raises:
        Transient: worth another try.
        InputError: the server keeps to no schema, and that is needed.
        openai.APIStatusError: any other refusal.
    """
    model, form = question.model, question.form
    if form is None or not await endpoint.support.keeps(model, form, endpoint.post, needed):
        return await _put(question, endpoint, formed=False), False
    try:
        reply = await _put(question, endpoint, formed=True)
    except REFUSED as error:
        if needed:
            raise
        # refused again where it was not for the schema, which is only then to blame
        reply = await _put(question, endpoint, formed=False)
        endpoint.support.refuse(model, form, detail(error))
        return reply, False
    if reply.finish != "length" and not form.fits(reply.text):
        endpoint.support.miss(model, form)
    return reply, True


async def _put(question: Question, endpoint: Endpoint, formed: bool) -> Reply:
    """Where prompt and limit exceed the server's context, what is left of it is the limit."""
    try:
        return await endpoint.post(question.request(formed))
    except REFUSED as error:
        if not (question.limit and is_too_long(detail(error))):
            raise
        return await endpoint.post(question.request(formed, limited=False))
