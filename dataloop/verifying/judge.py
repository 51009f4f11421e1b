"""Judgement of one mismatch (section 4.3): both candidates before the judges, in both orders, whose
votes have to agree.

In: a probe that does not match its label, and `ask`, which reaches a model. Out: a Verdict, or why
some vote could not be had; that is no verdict.
"""
from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from looptool.calling.json_in_text import read_object
from looptool.config import Config, Verify
from looptool.errors import InputError
from looptool.judging.question import Ask, Unread, ask_until_read, chat_about, one_line
from looptool.models.structured_outputs import TEXT, Form, closed, one_of
from looptool.records import Message, Probe, Verdict, VerdictName, Vote

JUDGE_PROMPT = Path(__file__).resolve().parent / "prompts" / "judge.md"


class Judgement(msgspec.Struct):
    """The JSON object that a judge replies with."""

    # 1 and 2 as numbers, too: not every server keeps a reply to the schema below
    better: Literal["1", "2", "both", "neither", 1, 2]
    analysis: str = ""
    approach: str = ""


# the verdict behind its reasons, as a reply by a schema is written in the schema's order
JUDGEMENT = Form("judgement", closed(
    analysis=TEXT, approach=TEXT, better=one_of("1", "2", "both", "neither")))


def shown_prediction(probe: Probe) -> Message:
    """The prediction as a judge sees it: without thinking, and where it could not be read as the
    raw text."""
    if not probe.faults:
        return Message(role="assistant", content=probe.prediction.content,
                       calls=probe.prediction.calls)
    return Message(role="assistant", content=probe.text.rpartition("</think>")[2].strip())


def verdict_of(better: str | int, label_first: bool) -> VerdictName:
    """What "better" means when the label stands first, or second."""
    if better == "both":
        return "BOTH_CORRECT"
    if better == "neither":
        return "BOTH_WRONG"
    return "PRED_WRONG" if (str(better) == "1") == label_first else "LABEL_WRONG"


async def vote(probe: Probe, ask: Ask, judge: str, label_first: bool, draw: int,
               draws: int) -> Vote | Unread:
    """One judge's vote; a reply that cannot be read is asked for again under `draw` + a multiple of
    `draws`."""
    label, prediction = one_line(probe.sample.label), one_line(shown_prediction(probe))
    first, second = (label, prediction) if label_first else (prediction, label)
    chat = chat_about(JUDGE_PROMPT, probe.sample, candidate_1=first, candidate_2=second)
    read = await ask_until_read(ask, "judge", chat, judge,
                                lambda text: read_object(text, Judgement), draw, draws)
    if isinstance(read, str):
        return read
    judgement, at = read
    return Vote(verdict=verdict_of(judgement.better, label_first), label_first=label_first,
                judge=judge, draw=at, analysis=judgement.analysis, approach=judgement.approach)


def voting(config: Config) -> list[str]:
    """The models that vote on labels: all judges, or by the paper's preset the first.

    Raises:
        InputError: one is named twice.
    """
    judges = config.teacher.judges or config.teacher.models[:1]
    judges = judges[:1] if config.verify.preset == "paper" else judges
    if twice := [judge for judge in judges if judges.count(judge) > 1]:
        raise InputError(f"teacher.judges: names {twice[0]!r} twice, whose votes would count "
                         "twice; name each model once, or raise verify.votes_per_order")
    return judges


async def verify_one(probe: Probe, ask: Ask, judges: Sequence[str],
                     options: Verify) -> Verdict | Unread:
    """The verdict on one mismatch: `votes_per_order` votes of every judge in each order.

    A wrong label is rare, so of the verdicts that would replace one a large part is the judges' own
    error: where the votes say so, `confirming_votes` more are asked for in each order, and all of
    them count.

    Where a vote is missing there is no verdict, but the reason why no draw of it could be read.

    Raises:
        CallFailed: a call got no answer.
    """
    first, all_draws = options.votes_per_order, options.votes_per_order + options.confirming_votes

    async def votes_of(draws: range) -> list[Vote] | Unread:
        wanted = [vote(probe, ask, judge, label_first, draw, all_draws)
                  for label_first in ((True, False) if options.both_orders else (True,))
                  for judge in judges for draw in draws]
        # all are heard, so that none is paid in vain
        answers = await asyncio.gather(*wanted, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return next((answer for answer in answers if isinstance(answer, str)), answers)

    votes = await votes_of(range(first))
    if not isinstance(votes, str) and options.confirming_votes and agreed(votes) == "LABEL_WRONG":
        more = await votes_of(range(first, all_draws))
        votes = more if isinstance(more, str) else votes + more
    if isinstance(votes, str):
        return votes
    return Verdict(probe=probe, verdict=agreed(votes), votes=votes)


def assume_mispredicted(probe: Probe) -> Verdict:
    """Every mismatch as an error of the model, without a judge: the ablation "w/o JGLV" of Table
    4."""
    vote = Vote(verdict="PRED_WRONG", label_first=True, judge="none", draw=0, analysis="",
                approach="")
    return Verdict(probe=probe, verdict="PRED_WRONG", votes=[vote])


def agreed(votes: Sequence[Vote]) -> VerdictName:
    """The verdict that more than half of the votes give in each order, the same in all of them;
    else UNDECIDED.

    The votes of several judges count alike: two judges have to agree, of three one may differ, in
    each order another one.
    """
    winners = {_majority([vote.verdict for vote in votes if vote.label_first == order])
               for order in {vote.label_first for vote in votes}}
    return winners.pop() if len(winners) == 1 else "UNDECIDED"


def _majority(verdicts: list[VerdictName]) -> VerdictName:
    verdict, count = Counter(verdicts).most_common(1)[0]
    return verdict if 2 * count > len(verdicts) else "UNDECIDED"
