"""Two-tier verification of dialogs (section 3.2): rules, then a judge, for every call step.

In: run_dir/dialogs.jsonl. Out, in run_dir:
- dialog_checks.jsonl     a DialogCheck for each dialog: what each of its call steps came to
- verified_dialogs.jsonl  the dialogs whose steps pass both tiers; only these become seed samples
- verified_dialogs_refused.jsonl  the others, with the reason

Tier 1: the call can be read, its tool is there, required parameters are present, none is unknown,
types fit. Tier 2 (dialogs.verify: both): a judge finds that the call fits the conversation. A turn
without a majority is masked from labels already, so it is not checked and refuses no dialog.
"""
from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from looptool.calling.sample_rules import fault_kind
from looptool.calling.schema_check import check_calls
from looptool.config import Config
from looptool.json_lines import read_jsonl
from looptool.judging.checker import (
    CHECKER_PROMPT, checker_of, checker_sampling, is_correct, reason_against)
from looptool.judging.question import Ask, make_ask
from looptool.models.client import Client
from looptool.records import Dialog, Message, Record, Refused, Sample
from looptool.run_files import RunFiles
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta
from looptool.stages.transform import run_transform
from looptool.stages.workers import Outcome

_log = logging.getLogger(__name__)


class Step(Record):
    """What one call step came to."""

    index: int
    """Of the assistant's turn among the messages."""
    reason: str
    """ "pass", "suspect", the kind of the first broken rule, "refused_by_judge", "unjudged" or
    "judge_cut"."""


class DialogCheck(Record):
    """What the call steps of one dialog came to."""

    id: str
    steps: list[Step]

    @property
    def reason(self) -> str:
        """ "accepted", or the first reason why the dialog is refused."""
        return next((step.reason for step in self.steps if step.reason not in ("pass", "suspect")),
                    "accepted")


async def check_dialog(dialog: Dialog, ask: Ask, judge: str | None) -> DialogCheck:
    """Both tiers on every call step; `judge` None leaves the second one out. A dialog that breaks a
    rule is not judged.

    Raises:
        CallFailed: a call got no answer.
    """
    steps = [Step(index=index, reason=_rules(message, dialog))
             for index, message in enumerate(dialog.messages) if message.calls]
    check = DialogCheck(id=dialog.id, steps=steps)
    # one bad step refuses the dialog: no judge has to be paid for the others
    if judge is None or check.reason != "accepted":
        return check
    passed = [step for step in steps if step.reason == "pass"]
    answers = await asyncio.gather(
        *(is_correct(_sample(dialog, step.index), ask, judge) for step in passed))
    for step, answer in zip(passed, answers, strict=True):
        step.reason = "pass" if answer is True else reason_against(answer)
    return check


def _rules(message: Message, dialog: Dialog) -> str:
    faults = check_calls(message.calls, dialog.tools)
    return "suspect" if message.suspect else fault_kind(faults[0]) if faults else "pass"


def _sample(dialog: Dialog, index: int) -> Sample:
    """One step as the judge sees it."""
    return Sample(id=f"{dialog.id}#{index}", tools=dialog.tools, date=dialog.date,
                  messages=dialog.messages[:index], label=dialog.messages[index])


async def check_dialogs(config: Config, dialogs: Path, checks: Path,
                        fresh: bool = False) -> StageMeta:
    """Check every dialog; see looptool.stages.llm_stage.run_stage."""
    judge = checker_of(config) if config.dialogs.verify == "both" else None

    def inputs() -> Iterator[tuple[str, Dialog]]:
        return ((dialog.id, dialog) for dialog in read_jsonl(dialogs, Dialog))

    async with Client.from_config(config, RunFiles(config).answers) as client:
        ask = make_ask(client, {"checker": checker_sampling(config)})

        async def work(dialog: Dialog) -> Outcome:
            check = await check_dialog(dialog, ask, judge)
            return Outcome([check], check.reason)

        settings = {**client.settings("checker"), "judge": judge,
                    "temperature": config.verify.temperature}
        return await run_stage("check dialogs", Inputs(inputs), work, checks, settings=settings,
                               sources=[dialogs, CHECKER_PROMPT],
                               in_flight=config.teacher.in_flight, usage=client.usage, fresh=fresh,
                               later=RunFiles(config).made_from(checks))


def write_verified(dialogs: Path, checks: Path, output: Path) -> None:
    """Write the dialogs that passed, and aside those refused."""
    counts: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    refused: list[Refused] = []
    found = {check.id: check for check in read_jsonl(checks, DialogCheck)}

    def accepted() -> Iterator[Dialog]:
        for dialog in read_jsonl(dialogs, Dialog):
            check = found.get(dialog.id)
            reason = "no_answer" if check is None else check.reason
            counts[reason] += 1
            steps.update(step.reason for step in (check.steps if check else ()))
            if reason == "accepted":
                yield dialog
            else:
                where = ", ".join(f"message {step.index} {step.reason}"
                                  for step in (check.steps if check else ())
                                  if step.reason not in ("pass", "suspect"))
                refused.append(
                    Refused(place=dialog.id, code=reason, reason=where or reason, record=dialog))

    run_transform("verified dialogs", accepted(), output, counts, settings={},
                  sources=[dialogs, checks], refused=refused)
    _log.info("%s call steps: %s", f"{steps.total():,}",
              ", ".join(f"{count:,} {name}" for name, count in steps.most_common()))
