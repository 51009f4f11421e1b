"""Verification of one labelled step, second tier (section 3.2): a model says whether the label is right.

In: a sample that keeps to the rules (sample_rules.py, the first tier), and `ask`. Out: right, wrong, or None where no reply
could be read, which is no verdict. Used on dialogs, on expanded samples and by the filter steps.
"""
from __future__ import annotations

from pathlib import Path

import msgspec

from looptool.asking import Ask, ask_until_read, chat_about, one_line, read_object
from looptool.records import Sample

CHECKER_PROMPT = Path(__file__).resolve().parent / "checker.md"


class Accepts(msgspec.Struct):
    """The JSON object that the checker replies with."""

    correct: bool
    analysis: str = ""


async def is_correct(sample: Sample, ask: Ask, checker: str) -> bool | None:
    """Whether the model `checker` finds the label correct.

    Raises:
        CallFailed: a call got no answer.
    """
    chat = chat_about(CHECKER_PROMPT, sample, answer=one_line(sample.label))
    read = await ask_until_read(ask, "checker", chat, checker, lambda text: read_object(text, Accepts))
    return None if read is None else read[0].correct
