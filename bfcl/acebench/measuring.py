"""One model measured: its answers, their scores by both ways, the cards."""
from __future__ import annotations

import asyncio
import contextlib
import shutil
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import get_args

import msgspec

from bfcl import flags
from bfcl.acebench.answers import FAULTY, Answer, no_answer
from bfcl.acebench.checkout import CATEGORIES, REPOSITORY, USER, Checkout, Language, Row
from bfcl.acebench.figures import figures
from bfcl.acebench.inference import USER_SAMPLING, Inference, User, asker
from bfcl.acebench.prompting import PROMPTS, prompt_id
from bfcl.acebench.scorer_process import KEEPS
from bfcl.acebench.scoring import CategoryScore, Way, score
from bfcl.card import (
    Card, Errors, Scored, draw_folder, environment, hash_files, read_card, today,
    write_card)
from bfcl.official.scores import Tally, mean_tallies
from bfcl.resume import BETWEEN, LEARNED, Settings, go_on, model_settings, once_served
from bfcl.serving.ask import drawing
from bfcl.serving.served_model import Served
from bfcl.serving.server import server
from bfcl.subset import chosen, scope
from looptool.config import Config
from looptool.config_file import ROOT
from looptool.errors import InputError, StageFailed
from looptool.models.client import Client
from looptool.models.sampling import Sampling

HANDLER = [*(ROOT / "bfcl" / "acebench" / f"{name}.py" for name in (
    "answers", "brackets", "checkout", "child", "containment", "episode_process", "episodes",
    "inference", "prompting", "scorer_process", "scoring")),
    *sorted(PROMPTS.rglob("*.md")), *BETWEEN, *(ROOT / "looptool" / name for name in (
        "models/client.py", "models/request.py", "models/sampling.py", "calling/match.py",
        "calling/json_in_text.py", "calling/untagged.py"))]
"""Our files between the benchmark and the model, and around its scorer."""
WHERE = ("all in the denominator: no_answer and scorer_crash as wrong, replies of the other kinds "
         "as the scorer judges them; those inside of agent tasks are counted apart")


class Job(flags.Job, kw_only=True):
    checkout: Checkout
    language: Language
    user_model: str
    user_endpoint: str
    failed_as_wrong: bool

    def rows(self) -> dict[str, list[Row]]:
        """The tasks by category; of a conversation all turns or none."""
        rows = {}
        for category in self.categories or CATEGORIES:
            if category == USER and not self.user_model:
                continue
            tasks = self.checkout.rows(self.language, category)
            kept = set(chosen(list(dict.fromkeys(row.conversation for row in tasks)),
                              self.per_category))
            rows[category] = [row for row in tasks if row.conversation in kept]
        return rows

    def scope(self) -> str:
        """What the card says was measured."""
        asked = scope(self.categories, self.per_category)
        silent = USER in (self.categories or CATEGORIES) and not self.user_model
        return f"{asked}; without {USER}, whose user nobody played" if silent else asked

    def settings(self) -> Settings:
        """What changes the answers."""
        return model_settings(self.model, self.server_flags) | {
            "benchmark": self.checkout.content, "language": self.language,
            "prompt": prompt_id(self.language, self.prompt), "handler": hash_files(HANDLER),
            "sampling": msgspec.to_builtins(self.sampling)}


def measure(job: Job, config: Config) -> dict[Way, Scored]:
    """Ask, score, and write the cards; what is done already is not done again.

    Raises:
        InputError: other settings than before, no server, or tasks that got no answer.
    """
    rows = job.rows()
    if not rows:
        raise InputError(
            f"{USER} needs somebody who plays its user; name a model with --user-model")
    if job.fresh:
        forget(job)
    settings = go_on(job.begun, "acebench", job.settings())
    if is_done(job):
        return {way: read_card(card_folder(job, way)) for way in get_args(Way)}
    with server(job.model, job.endpoint, job.served_name, job.server_flags,
                job.out / "server.log") as served:
        settings = once_served(job.begun, "acebench", settings, served.context)
        try:
            drawn = [asyncio.run(infer(job, config, rows, settings, served, draw))
                     for draw in range(1, job.repeats + 1)]
        except StageFailed as error:
            raise InputError(str(error)) from None
    failed = sum(failed for _, failed in drawn)
    if failed and not job.failed_as_wrong:
        raise InputError(f"{failed:,} tasks got no answer, so nothing is scored; run this again, "
                         "and only they are asked again, or score them as wrong with "
                         "--failed-as-wrong")
    tasks = [row for tasks in rows.values() for row in tasks]
    errors = sum((count_errors(answers) for answers, _ in drawn), Counter(no_answer=failed))
    whole = [{row.id: answers.get(row.id) or no_answer(row.id) for row in tasks}
             for answers, _ in drawn]
    return {way: write_score(job, settings, served, errors, way, [
        score(job.checkout, job.language, rows, answers, way, draw_folder(job.out, draw) / way)
        for draw, answers in enumerate(whole, 1)]) for way in get_args(Way)}


def forget(job: Job) -> None:
    """Take away what was answered and scored."""
    for file in [*job.out.glob("*answers*"), *job.out.glob("**/card.*"), job.begun]:
        file.unlink(missing_ok=True)
    for folder in job.out.glob("draw_*"):
        shutil.rmtree(folder)


def is_done(job: Job) -> bool:
    """Whether the scores that are asked for are there."""
    if not all((card_folder(job, way) / "card.json").exists() for way in get_args(Way)):
        return False
    card = read_card(job.out).card
    return (card.draws >= job.repeats and card.scope == job.scope() and user_note(job) in card.notes
            # tasks without an answer, though scored as wrong, are asked again by the next run
            and "no_answer" not in card.errors.counts)


def card_folder(job: Job, way: Way) -> Path:
    """Where the card of a way of scoring lies; the official one is the benchmark's."""
    return job.out if way == "official" else job.out / way


async def infer(job: Job, config: Config, rows: Mapping[str, list[Row]], settings: Settings,
                served: Served, draw: int) -> tuple[dict[str, Answer], int]:
    """Ask for all answers of a draw; see inference.Inference.run."""
    sampling = Sampling(max_tokens=job.sampling.max_tokens, extra=drawing(job.sampling))
    async with contextlib.AsyncExitStack() as stack:
        policy = await stack.enter_async_context(
            Client.from_config(config, job.out / "answers.sqlite", [served.url], job.in_flight))
        user = None
        if USER in rows:
            client = await stack.enter_async_context(
                Client.from_config(config, job.out / "user_answers.sqlite", [job.user_endpoint],
                                       job.in_flight))
            ask_user = asker(client, "user", job.user_model, USER_SAMPLING, draw)
            user = User(job.user_model, ask_user, client.usage["user"])
        # which job.begun guards
        stays = {name: value for name, value in settings.items() if name not in LEARNED}
        inference = Inference(job.checkout, job.language, job.prompt, draw_folder(job.out, draw),
                              stays, job.in_flight)
        return await inference.run(
            rows, policy, lambda role: asker(policy, role, served.name, sampling, draw), user)


def count_errors(answers: Mapping[str, Answer]) -> Counter[str]:
    """Answers and replies that are no proper ones, by kind."""
    errors = Counter(answer.kind for answer in answers.values() if answer.kind in FAULTY)
    for answer in answers.values():
        errors.update({f"{kind} in agent tasks": count for kind, count in answer.faults.items()})
    return errors


def write_score(job: Job, settings: Settings, served: Served, errors: Counter[str], way: Way,
                draws: Sequence[Mapping[str, CategoryScore]]) -> Scored:
    """The card of one way of scoring, with its figures."""
    tallies = mean_tallies([
        {category: Tally(one.right, one.total) for category, one in draw.items()}
        for draw in draws])
    crashes = sum(one.crashes for draw in draws for one in draw.values())
    notes = [user_note(job), "scored by the checkout's eval_main.py" + (
        "" if way == "official" else ", its two statements that take out whitespace replaced by "
                                     f"{KEEPS!r}")]
    card = Card(benchmark=f"ACEBench {job.language}", version=REPOSITORY,
                commit=job.checkout.commit, content=job.checkout.content,
                handler=settings["handler"], model=job.model, prompt=settings["prompt"],
                revision=settings["revision"], server=served.server,
                served_as=served.shown_as(job.model), sampling=job.sampling,
                context_length=served.context, scope=job.scope(),
                errors=Errors(counts=dict(errors + Counter(scorer_crash=crashes)), where=WHERE),
                counts={category: tally.total for category, tally in tallies.items()},
                environment=environment("looptool"), date=today(), draws=len(draws), notes=notes)
    process = {
        f"{category}, process": 100 * statistics.fmean(draw[category].process for draw in draws)
        for category, one in draws[0].items() if one.process is not None}
    values = {name: round(value, 4) for name, (value, _) in figures(tallies).items()}
    correct = [{category: one.right for category, one in draw.items()} for draw in draws]
    scored = Scored(card=card, scores=values | process, correct=correct[0],
                    draws=correct if len(draws) > 1 else [])
    write_card(card_folder(job, way), scored)
    return scored


def user_note(job: Job) -> str:
    """Who played the user."""
    if not job.user_model:
        return f"no {USER}"
    return (f"the user of {USER} is played by {job.user_model}, temperature "
            f"{USER_SAMPLING.temperature}, at most {USER_SAMPLING.max_tokens:,} tokens a reply")
