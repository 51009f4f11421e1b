"""All tasks put to a model, concurrently and resumable by task: <group>_answers.jsonl in the
results' folder.

The groups are the tasks of one reply and the two agent categories, so that these can be added
later. Every reply is kept in answers.sqlite beside them: an episode that was cut off is played
again from there. A task whose call failed has no answer, never a wrong one.
"""
from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bfcl.acebench.answers import CONTEXT_FULL, Answer, make_answer
from bfcl.acebench.checkout import AGENT, USER, Checkout, Language, Row
from bfcl.acebench.episodes import AT_ONCE, Ask, Episode
from bfcl.acebench.prompting import read_conversation, render_task
from bfcl.serving.ask import reply_limits
from looptool.json_lines import read_jsonl
from looptool.models.client import Client
from looptool.models.completion import CallFailed, Reply, Usage, is_too_long
from looptool.models.sampling import Sampling
from looptool.prompts.render import ChatMessage
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.workers import Outcome

USER_SAMPLING = Sampling(temperature=0.0, top_p=1.0, max_tokens=4096)
"""The benchmark has temperature 0.001, and 1,000 tokens, which a model that reasons needs for that
alone."""
CONVERSATIONS = "conversations"
"""The group of all tasks that are answered by one reply."""


def asker(client: Client, role: str, model: str, sampling: Sampling, draw: int) -> Ask:
    """Asks a model for one of its draws, counted from 1; for a shorter reply where the server's
    context is too short for prompt and reply.

    A prompt that does not fit at all gets an empty reply that says so.
    """
    async def ask(chat: list[ChatMessage]) -> Reply:
        for room in reply_limits(sampling.max_tokens):
            try:
                shorter = msgspec.structs.replace(sampling, max_tokens=room)
                return await client.ask(role, chat, shorter, draw - 1, model)
            except CallFailed as error:
                if not is_too_long(str(error)):
                    raise
        return Reply(finish=CONTEXT_FULL)

    return ask


class User(NamedTuple):
    """Who plays the user of agent_multi_turn."""

    model: str
    ask: Ask
    usage: Usage


class Inference:
    """One model on the tasks of a checkout."""

    def __init__(self, checkout: Checkout, language: Language, prompt: str, folder: Path,
                 settings: Mapping[str, Any], in_flight: int):
        self._checkout, self._language, self._prompt = checkout, language, prompt
        self._folder, self._settings, self._in_flight = folder, settings, in_flight
        self._processes = asyncio.Semaphore(AT_ONCE)

    async def run(self, rows: Mapping[str, list[Row]], policy: Client,
                  ask_policy: Callable[[str], Ask],
                  user: User | None) -> tuple[dict[str, Answer], int]:
        """The answers by task, and how many tasks have none because a call failed.

        Args:
            ask_policy: by role, which the usage is booked under, one for each group.

        Raises:
            InputError, StageFailed: as looptool.stages.llm_stage.run_stage.
        """
        groups: defaultdict[str, list[Row]] = defaultdict(list)
        for category, tasks in rows.items():
            groups[category if category in AGENT else CONVERSATIONS] += tasks
        jobs = []
        for group, tasks in groups.items():
            work = self._episode(ask_policy(group),
                                 user) if group in AGENT else self._reply(ask_policy(group))
            # bound here: the stages read it when the loop has ended
            inputs = Inputs(lambda tasks=tasks: ((row.id, row) for row in tasks))
            settings, usage = (self._settings | {"tasks": [row.id for row in tasks]},
                               {group: policy.usage[group]})
            if group == USER:
                settings, usage = settings | {"user": user.model}, usage | {"user": user.usage}
            jobs.append(run_stage(group, inputs, work, self._file(group), settings=settings,
                                  # the benchmark's files are among the settings, by their hash
                                  sources=[], in_flight=self._in_flight, usage=usage))
        metas = await asyncio.gather(*jobs)
        answers = {answer.id: answer for group in groups
                   for answer in read_jsonl(self._file(group), Answer)}
        return answers, sum(meta.failed for meta in metas)

    def _file(self, group: str) -> Path:
        return self._folder / f"{group}_answers.jsonl"

    def _reply(self, ask: Ask) -> Callable[[Row], Awaitable[Outcome]]:
        async def work(row: Row) -> Outcome:
            chat = render_task(row, self._language, read_conversation(row.question), self._prompt)
            answer = make_answer(row.id, await ask(chat))
            return Outcome([answer], answer.kind)

        return work

    def _episode(self, ask: Ask, user: User | None) -> Callable[[Row], Awaitable[Outcome]]:
        async def work(row: Row) -> Outcome:
            async with self._processes:
                episode = Episode(row, self._language, self._prompt, ask,
                                  user.ask if user else None)
                answer = await episode.play(self._checkout)
            return Outcome([answer], answer.kind)

        return work
