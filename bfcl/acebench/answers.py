"""A model's reply -> what ACEBench's scorer gets: <tool_call> blocks in its bracket form, anything
else as it stands.

One answer is a line of <group>_answers.jsonl, for instance

    {"id":"normal_atom_bool_0","kind":"calls",
     "reply":"<tool_call>\\n{\\"name\\": ...","result":"[Plan(meal='dinner')]"}
"""
from __future__ import annotations

from typing import Any, Literal

from bfcl.acebench.brackets import write_brackets
from looptool.calling.reply import parse_reply
from looptool.calling.untagged import text_fault
from looptool.models.completion import Reply
from looptool.prompts.render import ChatMessage
from looptool.records import Message, Record

Kind = Literal["calls", "text", "untagged_call", "cut", "context_full", "unreadable",
               "inexpressible", "ended", "out_of_turns", "environment_error"]
"""calls, text: read. untagged_call: a text that is a call without its tags
(looptool.calling.untagged). cut: stopped by the limit of tokens. context_full: the prompt leaves
the server no room to reply. unreadable: with a block that is no call. inexpressible: with calls
that brackets cannot express. The last three are of agent tasks: how the episode ended."""

FAULTY: tuple[Kind, ...] = ("untagged_call", "cut", "context_full", "unreadable", "inexpressible",
                            "out_of_turns", "environment_error")
"""Kinds that the card counts as errors; all are scored as they are, which is mostly as wrong."""
CONTEXT_FULL = "context_full"
"""The `finish` of the empty reply that stands where the prompt leaves no room for one."""


class Answer(Record, kw_only=True, omit_defaults=True):
    """What a model answered to one task."""

    id: str
    kind: Kind
    reply: str = ""
    """As the model wrote it, without its reasoning."""
    result: Any
    """For the scorer: text, or the state in which an agent left its environment, a list of {class:
    attributes}."""
    process: list[str] | None = None
    """The calls that an agent made, as text, in order."""
    dialogue: list[dict[str, Any]] = []
    """An agent's episode as its environment keeps it: sender, recipient, message."""
    chat: list[ChatMessage] = []
    """What the model was last shown in it."""
    faults: dict[str, int] = {}
    """Replies of an episode that were neither calls nor text, by kind."""


class Read(Record):
    """One reply, read."""

    kind: Kind
    result: str
    message: Message
    """For the history that the model is shown later."""


def read_reply(reply: Reply, keep_text: bool = False) -> Read:
    """The reply in the benchmark's form.

    Args:
        keep_text: what stands beside calls is part of the result; the scorer of special tasks looks
            for sentences.
    """
    read = parse_reply(reply.text)
    as_it_stands = Message(role="assistant", content=reply.text.strip())
    # first, as a reply that was cut mostly has a fault by that alone
    if reply.finish in ("length", CONTEXT_FULL):
        return Read(kind="cut" if reply.finish == "length" else "context_full", result=reply.text,
                    message=as_it_stands)
    if read.faults:
        return Read(kind="unreadable", result=reply.text, message=as_it_stands)
    if not read.calls:
        untagged = text_fault(read.content) == "untagged_call"
        return Read(kind="untagged_call" if untagged else "text", result=read.content,
                    message=read.message())
    brackets = write_brackets(read.calls)
    if brackets is None:
        return Read(kind="inexpressible", result=reply.text, message=as_it_stands)
    result = f"{read.content}\n{brackets}" if keep_text and read.content else brackets
    return Read(kind="calls", result=result, message=read.message())


def make_answer(id: str, reply: Reply) -> Answer:
    """The answer to a task of one reply."""
    read = read_reply(reply, keep_text=id.startswith("special"))
    return Answer(id=id, kind=read.kind, reply=reply.text, result=read.result)


def no_answer(id: str) -> Answer:
    """What stands for a task without an answer where those are to count as wrong."""
    agent = id.startswith("agent")
    return Answer(id=id, kind="text", result=[] if agent else "", process=[] if agent else None)
