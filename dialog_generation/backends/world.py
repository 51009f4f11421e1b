"""The backends of one dialog: their first state drawn from the run's seed and the dialog's id,
shared with no other."""
from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from typing import Any

from dialog_generation.backends.registry import Action, Backend, action_for
from looptool.records import Call, Tool


class World:
    """Runs the calls of those tools that have a backend, one after another."""

    def __init__(self, tools: Sequence[Tool], day: str, seed: str):
        """Tools of one backend share its state, drawn from `seed` and its domain alone; `day` is
        ISO or "unknown"."""
        self._actions: dict[str, Action] = {tool.name: action for tool in tools
                                            if (action := action_for(tool)) is not None}
        # a time of the day may stand behind it (dialogs.clock)
        today = date(2024, 1, 1) if day == "unknown" else date.fromisoformat(day[:10])
        domains = {action.backend: action.tool.domain for action in self._actions.values()}
        self._states: dict[type[Backend], Backend] = {
            kind: kind(random.Random(f"{seed}:{domain}"), today)
            for kind, domain in domains.items()}
        self.facts = {domain: self._states[kind].facts() for kind, domain in domains.items()}
        """What a user knows when the dialog begins, by domain."""

    def runs(self, name: str) -> bool:
        """Whether the tool of this name has a backend."""
        return name in self._actions

    def call(self, call: Call) -> dict[str, Any]:
        """What the code returns for one call of such a tool; {"error": ...} where it refuses."""
        action = self._actions[call.name]
        return action.run(self._states[action.backend], call.arguments)
