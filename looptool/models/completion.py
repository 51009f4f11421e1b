"""What a model answered: read from an endpoint's JSON, and kept in SQLite so that no answer is paid
twice."""
from __future__ import annotations

import msgspec

from looptool.calling.reply import split_reasoning


class CallFailed(Exception):
    """One call got no answer: transient errors on every try, or a request that the server refuses.
    Never a verdict."""


class Transient(Exception):
    """A try that failed in a way that the next one may not; `retry_after` is in seconds."""

    def __init__(self, reason: str, retry_after: float = 0.0, timed_out: bool = False):
        super().__init__(reason)
        self.retry_after, self.timed_out = retry_after, timed_out


TOO_LONG = ("context length", "context size", "context_length", "max_model_len", "is too large")
"""How servers say that prompt and reply do not fit."""


def is_too_long(refusal: str) -> bool:
    """Whether a server's words mean that a shorter reply, or a shorter prompt, would do."""
    return any(sign in refusal for sign in TOO_LONG)


class Usage(msgspec.Struct):
    """What one role has cost so far."""

    calls: int = 0
    """Answers given, cached ones included."""
    cached: int = 0
    """Answers that were not paid: from the cache, or shared with an equal call in flight."""
    cut: int = 0
    """Answers that ended at their limit of tokens, cached ones included; no reader takes them."""
    unstructured: int = 0
    """Answers that a schema was wanted for and that keep to none, cached ones included; cut ones
    left out."""
    failed: int = 0
    """Calls without an answer after all tries."""
    failed_tries: int = 0
    prompt_tokens: int = 0
    """Of paid answers only, as all below."""
    completion_tokens: int = 0
    seconds: float = 0.0
    """Sum over calls from the first try to the answer; calls overlap."""
    dollars: float = 0.0


class ToolCall(msgspec.Struct, frozen=True):
    """A call in the API's own field, as the model wrote it; endpoints without a tool parser leave
    calls in the text."""

    name: str
    arguments: str
    """JSON text, not checked."""


class Reply(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One answer."""

    text: str = ""
    """Without reasoning; calls in <tool_call> blocks are part of it."""
    reasoning: str = ""
    """From <think>...</think> in the text, or from the API's own field."""
    finish: str = "stop"
    """Why the model stopped: "stop", "length" or "tool_calls"."""
    tool_calls: list[ToolCall] = []
    prompt_tokens: int = 0
    completion_tokens: int = 0
    logprobs: list[float] | None = None
    """Log-probability of each token of a prompt's continuation."""


class _Function(msgspec.Struct):
    name: str
    arguments: str = ""


class _ToolCall(msgspec.Struct):
    function: _Function


class _Message(msgspec.Struct):
    content: str | None | msgspec.UnsetType = msgspec.UNSET
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


class _TextLogprobs(msgspec.Struct):
    token_logprobs: list[float | None] | None = None


class _TextChoice(msgspec.Struct):
    text: str
    finish_reason: str | None = None
    logprobs: _TextLogprobs | None = None


class _TextCompletion(msgspec.Struct):
    choices: list[_TextChoice]
    usage: _Usage | None = None


_completion = msgspec.json.Decoder(_Completion)
_text_completion = msgspec.json.Decoder(_TextCompletion)


def read_completion(body: bytes) -> Reply:
    """The first choice of a chat completion.

    Raises:
        Transient: the body is cut, is no chat completion, or holds no answer.
    """
    try:
        completion = _completion.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Transient(f"unreadable response ({error})") from None
    if not completion.choices:
        raise Transient("response without choices")
    choice = completion.choices[0]
    message, tool_calls = choice.message, choice.message.tool_calls or []
    reasoning = message.reasoning_content or message.reasoning or ""
    # null content is an empty answer; a message without the field is none
    if choice.finish_reason in ("abort", "error") or (
            message.content is msgspec.UNSET and not reasoning and not tool_calls):
        raise Transient("response without an answer")
    text = message.content or ""
    # a server that takes the reasoning out has left none of it in the text
    if not reasoning:
        text, reasoning = split_reasoning(text)
    usage = completion.usage or _Usage()
    return Reply(text=text, reasoning=reasoning, finish=choice.finish_reason or "stop",
                 tool_calls=[ToolCall(call.function.name, call.function.arguments)
                             for call in tool_calls],
                 prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)


def read_text_completion(body: bytes) -> Reply:
    """The first choice of a completion of a prompt, its text as it stands, thinking included.

    Raises:
        Transient: the body is cut, is no completion, or holds no answer.
    """
    try:
        completion = _text_completion.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Transient(f"unreadable response ({error})") from None
    if not completion.choices or completion.choices[0].finish_reason in ("abort", "error"):
        raise Transient("response without an answer")
    choice, usage = completion.choices[0], completion.usage or _Usage()
    logprobs = choice.logprobs.token_logprobs if choice.logprobs else None
    return Reply(text=choice.text, finish=choice.finish_reason or "stop",
                 prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens,
                 # without one of them their mean would be that of another text
                 logprobs=logprobs if logprobs and None not in logprobs else None)
