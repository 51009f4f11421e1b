"""Where a dialog takes place: its tools, its date and its length, drawn from the dialog's own
seed."""
from __future__ import annotations

import math
import random
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import accumulate

from dialog_generation.tool_making.groups import ToolGroup
from looptool.config import Dialogs
from looptool.records import Need, Record, Tool

FIRST_DAY, LAST_DAY = date(2020, 1, 1), date(2026, 12, 31)
MESSAGES_A_NEED = 4
"""A user's turn, a call, its result, an answer: by this the length of a dialog becomes a number of
needs."""


class Scene(Record):
    """What is drawn before anybody speaks."""

    id: str
    tools: list[Tool]
    date: str
    messages: int
    """The dialog ends with the first served need that brings it to this length."""
    plans: list[str] = []
    """Outlines of other dialogs over these tools, for the planner to learn from."""

    @property
    def turns(self) -> int:
        """Needs to plan."""
        return max(1, round(self.messages / MESSAGES_A_NEED))


class ToolPool:
    """All tools by domain; a domain of n tools weighs log(n + 1)."""

    def __init__(self, tools: Sequence[Tool]):
        self.tools = list(tools)
        self._domains: dict[str, list[Tool]] = {}
        for tool in tools:
            self._domains.setdefault(tool.domain, []).append(tool)
        self._names = list(self._domains)
        self._weights = list(
            accumulate(math.log(len(alike) + 1) for alike in self._domains.values()))

    def draw(self, rng: random.Random, count: int) -> tuple[list[Tool], list[str]]:
        """Distinct tools and no example plans; at most `count`; half of them of one domain, so that
        there are alike ones to choose from."""
        count = min(count, len(self.tools))
        home = self._draw_domain(rng)
        left = {home: rng.sample(self._domains[home], min(count, len(self._domains[home])))}
        drawn = [left[home].pop() for _ in range(min((count + 1) // 2, len(left[home])))]
        while len(drawn) < count:
            domain = self._draw_domain(rng)
            if domain not in left:
                # no more than can be needed: a domain may have thousands of tools
                left[domain] = rng.sample(self._domains[domain],
                                          min(count, len(self._domains[domain])))
            if left[domain]:
                drawn.append(left[domain].pop())
        # else the tools of one domain would always stand first
        rng.shuffle(drawn)
        return drawn, []

    def _draw_domain(self, rng: random.Random) -> str:
        return rng.choices(self._names, cum_weights=self._weights)[0]


class GroupPool:
    """Tools in groups that somebody put together; a dialog has the tools of one group."""

    def __init__(self, groups: Sequence[ToolGroup]):
        self.tools = [tool for group in groups for tool in group.tools]
        self._groups = groups

    def draw(self, rng: random.Random, count: int) -> tuple[list[Tool], list[str]]:
        """All tools of a group, and its example plans; `count` is left aside, as the group has its
        size."""
        group = rng.choice(self._groups)
        return rng.sample(group.tools, len(group.tools)), group.plans


def draw_scene(id: str, pool: ToolPool | GroupPool, dialogs: Dialogs, seed: int) -> Scene:
    """The scene of one dialog; the same id and seed give the same scene."""
    rng = random.Random(f"{seed}:{id}:scene")
    day = FIRST_DAY + timedelta(days=rng.randint(0, (LAST_DAY - FIRST_DAY).days))
    tools, plans = pool.draw(rng, rng.randint(*dialogs.tools_per_dialog))
    messages = rng.randint(*dialogs.messages)
    clock = f" {rng.randrange(24):02d}:{rng.randrange(60):02d}" if dialogs.clock == "time" else ""
    return Scene(id=id, tools=tools, plans=plans, date=day.isoformat() + clock, messages=messages)


def improvised_needs(scene: Scene, seed: int) -> list[Need]:
    """Needs without a planner: one tool a turn."""
    rng = random.Random(f"{seed}:{scene.id}:needs")
    tools = [rng.choice(scene.tools) for _ in range(scene.turns)]
    return [Need(kind="single-step", tools=[tool.name], text=tool.description or tool.name)
            for tool in tools]
