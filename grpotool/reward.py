"""The reward of GRPO (section 4.1): 1 if the reply makes the calls of its label, else 0.

In: the decoded reply, and the label with its tools' names as the JSON of a GroundTruth. Out:
{"score": 1.0 or 0.0, "reason": code}, the same two keys for every row, as verl collects them by the
first row's keys; it averages numbers over the validation set and only dumps strings. verl loads
this file by reward.custom_reward_function.path and .name.

A reward that raises does not stop verl: its row is padded away. So no reply and no label raises
here; a label that cannot be read scores 0 with the reason "bad_label". Only an unknown mode raises,
on every row, as all rewards would be wrong.
"""
from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec

from looptool.calling.match import paper_compat_match, tool_match
from looptool.calling.reply import parse_reply, render_calls
from looptool.records import Message


class GroundTruth(Message):
    """A label as a row holds it."""

    tools: list[str] = []
    """Names of the sample's tools: a reply that names one is more easily known for a call without
    its tags."""


_decode = msgspec.json.Decoder(GroundTruth).decode


@lru_cache(maxsize=8192)
def _read_label(ground_truth: str | bytes) -> GroundTruth | None:
    """The label, or None if this is none; cached, as all rollouts of a prompt share it."""
    try:
        label = _decode(ground_truth)
    # ValueError: text that UTF-8 cannot hold
    except (msgspec.DecodeError, RecursionError, ValueError):
        return None
    return label if label.role == "assistant" else None


# **_: verl hands over keywords of a reward model, where there is one
def compute_score(data_source: Any, solution_str: str, ground_truth: str, extra_info: Any = None, *,
                  mode: Literal["strict", "paper_compat"] = "strict", **_: Any) -> dict[str, Any]:
    """Score one reply.

    Args:
        solution_str: the reply, thinking included; <|im_end|> at its end is no part of it.
        ground_truth: JSON of the label; a message without calls asks for an answer in words.
        mode: "strict" is looptool.calling.match.tool_match, "paper_compat" the released code's
            comparison; set it by reward.custom_reward_function.reward_kwargs.mode.

    Returns:
        The reason of a 0 is the first fault of looptool.calling.reply.Reply ("bad_json",
        "unclosed", ...), else a code of tool_match ("no_call", "wrong_name", "untagged_call",
        "empty", ...), "bad_label" or "no_text"; "mismatch" where only paper_compat finds a
        difference.

    Raises:
        ValueError: the mode is unknown.
    """
    if mode not in ("strict", "paper_compat"):
        raise ValueError(f'reward mode {mode!r}: set train.reward to "strict" or "paper_compat"')
    # anything else may be no key of the cache
    label = _read_label(ground_truth) if isinstance(ground_truth, (str, bytes)) else None
    if label is None:
        reason = "bad_label"
    elif not isinstance(solution_str, str):
        reason = "no_text"
    elif mode == "strict":
        reason = _strict_reason(solution_str, label)
    elif paper_compat_match(solution_str, render_calls(label.calls)):
        reason = "match"
    else:
        reason = _strict_reason(solution_str, label)
        if reason == "match":
            reason = "mismatch"
    return {"score": 1.0 if reason == "match" else 0.0, "reason": reason}


def _strict_reason(text: str, label: GroundTruth) -> str:
    """"match", the reply's first fault, or the first difference of its calls."""
    reply = parse_reply(text)
    return reply.faults[0] if reply.faults else tool_match(reply.message(), label,
                                                           tools=label.tools)
