"""Scenario constraints (section 4.4): the editable list, and which of them a seed's new samples get."""
from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import yaml

from looptool.records import InputError

SCENARIOS = Path(__file__).resolve().parent / "scenarios.yaml"


class Scenario(NamedTuple):
    """What has to be different in a new sample."""

    id: str
    kind: str
    text: str


def read_scenarios(path: Path, least: int) -> list[Scenario]:
    """The scenarios of a YAML file {kind: {id: text}}.

    Raises:
        InputError: the file cannot be read, has another form, names an id twice, or has fewer than `least` scenarios.
    """
    try:
        kinds = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise InputError(f"{path}: cannot be read ({error}); mend it, or name another file with --scenarios") from None
    if not isinstance(kinds, dict) or not all(isinstance(entries, dict) for entries in kinds.values()):
        raise InputError(f"{path}: write it as {{kind: {{id: text}}}}, as dataloop/scenarios.yaml does")
    scenarios = [Scenario(str(id), kind, str(text)) for kind, entries in kinds.items() for id, text in entries.items()]
    twice = {scenario.id for scenario in scenarios if sum(other.id == scenario.id for other in scenarios) > 1}
    if twice:
        raise InputError(f"{path}: the id {min(twice)!r} is there twice; rename one")
    if len(scenarios) < least:
        raise InputError(f"{path}: has {len(scenarios)} scenarios, but expand.per_seed wants {least} different ones; add "
                         "some, or lower expand.per_seed")
    return scenarios


def draw_scenarios(scenarios: list[Scenario], count: int, seed: int, sample_id: str) -> list[Scenario]:
    """`count` different scenarios for one error seed, of as many kinds as there are; the same draw every time."""
    rng = random.Random(f"{seed}:{sample_id}:scenarios")
    by_kind: dict[str, list[Scenario]] = {}
    for scenario in rng.sample(scenarios, len(scenarios)):
        by_kind.setdefault(scenario.kind, []).append(scenario)
    drawn: list[Scenario] = []
    while len(drawn) < count:
        drawn += [entries.pop() for entries in by_kind.values() if entries]
    return drawn[:count]
