"""How an answer is drawn: the fields of a request beside what is asked."""
from __future__ import annotations

from typing import Any

import msgspec

from looptool.models.structured_outputs import Form


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an answer is drawn; what is None is left to the server."""

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    max_tokens: int | None = None
    thinking: bool | None = None
    """Switch a Qwen3-style template's thinking on or off; None leaves the template's default."""
    form: Form | None = None
    """What the answer has to look like, where the server can be made to keep to it."""
    extra: dict[str, Any] = {}
    """Further fields of the request, which not every server knows."""

    def body(self) -> dict[str, Any]:
        """The fields of the request, but for the form."""
        body = msgspec.to_builtins(self)
        body.pop("form", None)
        extra = body.pop("extra", {})
        if self.thinking is not None:
            body["chat_template_kwargs"] = {"enable_thinking": body.pop("thinking")}
        return body | extra


class Continuation(msgspec.Struct, frozen=True, kw_only=True):
    """How the prompts of one stage are continued: greedily, whatever the model's own generation
    config says."""

    model: str
    max_tokens: int
    stop_token_ids: list[int]
    """Tokens that end an answer."""
    temperature: float = 0
    repetition_penalty: float = 1
    logprobs: int = 1
    skip_special_tokens: bool = False
    spaces_between_special_tokens: bool = False
