"""Verification of one labelled step, second tier (section 3.2): a model says whether the label is
right.

In: a sample that keeps to the rules (sample_rules.py, the first tier), and `ask`. Out: right,
wrong, or why no reply could be read, which is no verdict. Used on dialogs, on expanded samples and,
a file at a time, by both filter steps.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from looptool.calling.json_in_text import read_object
from looptool.calling.sample_rules import keep_valid
from looptool.config import Config
from looptool.errors import InputError
from looptool.json_lines import read_jsonl
from looptool.judging.question import Ask, Unread, ask_until_read, chat_about, make_ask, one_line
from looptool.models.client import Client
from looptool.models.sampling import Sampling
from looptool.models.structured_outputs import TEXT, Form, closed
from looptool.records import Record, Sample
from looptool.run_files import RunFiles
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.workers import Outcome

CHECKER_PROMPT = Path(__file__).resolve().parent / "prompts" / "checker.md"


class Accepts(msgspec.Struct):
    """The JSON object that the checker replies with."""

    correct: bool
    analysis: str = ""


ACCEPTS = Form("check", closed(analysis=TEXT, correct={"type": "boolean"}))


async def is_correct(sample: Sample, ask: Ask, checker: str) -> bool | Unread:
    """Whether the model `checker` finds the label correct, or why that is not known.

    Raises:
        CallFailed: a call got no answer.
    """
    chat = chat_about(CHECKER_PROMPT, sample, answer=one_line(sample.label))
    read = await ask_until_read(ask, "checker", chat, checker,
                                lambda text: read_object(text, Accepts))
    return read if isinstance(read, str) else read[0].correct


def checker_of(config: Config) -> str:
    """The model of the second tier: the first judge."""
    return (config.teacher.judges or config.teacher.models)[0]


def checker_sampling(config: Config) -> Sampling:
    """How its answers are drawn."""
    return Sampling(temperature=config.verify.temperature, form=ACCEPTS)


def reason_against(answer: Literal[False] | Unread) -> str:
    """The reason to leave out a sample that was not found correct."""
    return {False: "refused_by_judge", "unreadable": "unjudged", "cut": "judge_cut"}[answer]


class Refusal(Record):
    """A sample that the checker does not accept."""

    id: str
    reason: str
    """"refused_by_judge"; or "unjudged" where no reply could be read, "judge_cut" where the last
    one was cut."""


async def refusals(config: Config, samples: Path, output: Path,
                   fresh: bool = False) -> dict[str, str]:
    """The reason for each sample of a file that keeps to the rules and is not accepted by the
    checker.

    They are written to `output` by a stage, so that a run that was killed goes on; see
    looptool.stages.llm_stage.run_stage.

    Raises:
        InputError: a call got no answer, so that the file cannot be filtered yet.
    """
    def inputs() -> Iterator[tuple[str, Sample]]:
        return ((sample.id, sample)
                for sample in keep_valid(read_jsonl(samples, Sample), Counter(), []))

    async with Client.from_config(config, RunFiles(config).answers) as client:
        ask = make_ask(client, {"checker": checker_sampling(config)})

        async def work(sample: Sample) -> Outcome:
            answer = await is_correct(sample, ask, checker_of(config))
            reason = "accepted" if answer is True else reason_against(answer)
            return Outcome([] if reason == "accepted" else [Refusal(id=sample.id, reason=reason)],
                           reason)

        settings = {**client.settings("checker"), "checker": checker_of(config),
                    "temperature": config.verify.temperature}
        meta = await run_stage("judge", Inputs(inputs), work, output, settings=settings,
                               sources=[samples, CHECKER_PROMPT],
                               in_flight=config.teacher.in_flight, usage=client.usage, fresh=fresh)
    if meta.failed:
        raise InputError(f"{samples}: {meta.failed:,} samples got no answer, so nothing is "
                         "filtered yet; run it again")
    return {refusal.id: refusal.reason
            for refusal in read_jsonl(output, Refusal)} if meta.records else {}
