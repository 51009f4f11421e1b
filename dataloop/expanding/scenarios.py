"""Scenario constraints (section 4.4): the editable list, and which of them a seed's new samples
get."""
from __future__ import annotations

import random
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from looptool.errors import InputError
from looptool.records import Sample
from looptool.yaml_documents import load_yaml

SCENARIOS = Path(__file__).resolve().parent / "scenarios.yaml"
Turns = Literal["any", "one", "several"]


class Scenario(NamedTuple):
    """What has to be different in a new sample."""

    id: str
    kind: str
    text: str
    turns: Turns = "any"
    """How many turns of the person a seed must have: what shortens a conversation does not suit one
    message."""

    def suits(self, seed: Sample) -> bool:
        return self.turns in ("any", turns_of(seed))


def turns_of(sample: Sample) -> Turns:
    """Whether the person speaks once before the label, or more often."""
    return "one" if sum(message.role == "user" for message in sample.messages) == 1 else "several"


def read_scenarios(path: Path, least: int) -> list[Scenario]:
    """The scenarios of a YAML file {kind: {id: text}}, or {turns: one or several, text: text} in
    place of a text.

    Raises:
        InputError: the file cannot be read, has another form, names an id twice, or has fewer than
            `least` scenarios for some seed.
    """
    try:
        kinds = load_yaml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}); mend it, or name another file with "
                         "--scenarios") from None
    if not isinstance(kinds, dict) or not all(isinstance(entries, dict)
                                              for entries in kinds.values()):
        raise InputError(f"{path}: write it as {{kind: {{id: text}}}}, as "
                         "dataloop/expanding/scenarios.yaml does")
    scenarios = [_read(path, str(kind), str(id), entry) for kind, entries in kinds.items()
                 for id, entry in entries.items()]
    twice = {scenario.id for scenario in scenarios
             if sum(other.id == scenario.id for other in scenarios) > 1}
    if twice:
        raise InputError(f"{path}: the id {min(twice)!r} is there twice; rename one")
    for turns in ("one", "several"):
        there = sum(scenario.turns in ("any", turns) for scenario in scenarios)
        if there < least:
            raise InputError(f"{path}: has {there} scenarios for seeds of {turns} "
                             f"turn{'s' * (turns != 'one')}, but expand.per_seed wants {least} "
                             "different ones; add some, or lower expand.per_seed")
    return scenarios


def _read(path: Path, kind: str, id: str, entry: Any) -> Scenario:
    entry = {"text": entry} if isinstance(entry, str) else entry
    if (not isinstance(entry, dict) or not entry.keys() <= {"text", "turns"}
            or not isinstance(entry.get("text"), str) or not entry["text"].strip()
            or entry.get("turns", "any") not in get_args(Turns)):
        raise InputError(
            f"{path}: {kind}: {id}: write it as a text, or as {{turns: one or several, text: ...}}")
    return Scenario(id, kind, **entry)


def draw_scenarios(scenarios: list[Scenario], count: int, seed: int,
                   sample: Sample) -> list[Scenario]:
    """`count` different scenarios that suit one error seed, of as many kinds as there are; the same
    draw every time."""
    rng = random.Random(f"{seed}:{sample.id}:scenarios")
    by_kind: dict[str, list[Scenario]] = {}
    for scenario in rng.sample(scenarios, len(scenarios)):
        if scenario.suits(sample):
            by_kind.setdefault(scenario.kind, []).append(scenario)
    drawn: list[Scenario] = []
    # one of each kind in turn; it ends, as read_scenarios has refused fewer than `count`
    while len(drawn) < count:
        drawn += [entries.pop() for entries in by_kind.values() if entries]
    return drawn[:count]
