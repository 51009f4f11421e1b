"""The dual tree (section 3.1): what a new tool is for, and what it looks like.

In: trees/contexts.yaml and trees/constraints.yaml, which users edit. Out: one leaf path from each,
drawn independently, and the rules that a tool written for them has to keep.
"""
from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import msgspec
import yaml

from looptool.errors import InputError
from looptool.records import Record

TREES = Path(__file__).resolve().parent / "trees"
CONTEXTS, CONSTRAINTS = TREES / "contexts.yaml", TREES / "constraints.yaml"


class Branch(Record, omit_defaults=True):
    """One branch of a level of the constraint tree; see the head of constraints.yaml."""

    text: str
    name: str | None = None
    count: tuple[int, int] | None = None
    has: list[str] = []
    only: list[str] = []
    returns: str | None = None
    words: tuple[int, int] | None = None


Contexts = dict[str, dict[str, list[str]]]
"""Domain -> topic -> leaves."""
Constraints = dict[str, dict[str, Branch]]
"""Level -> name of a branch -> the branch."""


class Paths(Record):
    """One leaf path of each tree."""

    context: tuple[str, str, str]
    """Domain, topic, leaf."""
    constraints: dict[str, str]
    """Level -> name of the branch that was drawn."""


class Trees(msgspec.Struct):
    """Both trees."""

    contexts: Contexts
    constraints: Constraints

    def draw(self, rng: random.Random) -> Paths:
        """A leaf path from each tree: at every level one branch, all alike."""
        domain = rng.choice(list(self.contexts))
        topic = rng.choice(list(self.contexts[domain]))
        drawn = {level: rng.choice(list(branches)) for level, branches in self.constraints.items()}
        # a tool without parameters cannot keep to what is said of their types
        if any(self.constraints[level][name].count == (0, 0) for level, name in drawn.items()):
            drawn = {level: name for level, name in drawn.items()
                     if not self._is_about_parameters(level)}
        return Paths(context=(domain, topic, rng.choice(self.contexts[domain][topic])),
                     constraints=drawn)

    def _is_about_parameters(self, level: str) -> bool:
        return any(branch.has or branch.only for branch in self.constraints[level].values())

    def branches(self, paths: Paths) -> list[Branch]:
        """The branches of a constraint path, from the top."""
        return [self.constraints[level][name] for level, name in paths.constraints.items()]


def read_trees(contexts: Path = CONTEXTS, constraints: Path = CONSTRAINTS) -> Trees:
    """Both trees from their files.

    Raises:
        InputError: a file cannot be read or has another form; names what is wrong.
    """
    trees = Trees(_read(contexts, Contexts), _read(constraints, Constraints))
    for path, tree in ((contexts, trees.contexts), (constraints, trees.constraints)):
        if not tree or not all(tree.values()):
            raise InputError(f"{path}: a level without a branch; remove it or give it one")
    for domain, topics in trees.contexts.items():
        if not all(topics.values()):
            raise InputError(
                f"{contexts}: a topic of {domain!r} has no leaf; remove it or give it one")
    for branches in trees.constraints.values():
        for name, branch in branches.items():
            _refuse_bad_pattern(branch.name, f"{constraints}: {name}")
    return trees


def _read(path: Path, form: Any) -> Any:
    try:
        return msgspec.convert(yaml.safe_load(path.read_text(encoding="utf-8")), form)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, msgspec.ValidationError) as error:
        raise InputError(
            f"{path}: {' '.join(str(error).split())}; see the comment at its head") from None


def _refuse_bad_pattern(pattern: str | None, where: str) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise InputError(f"{where}: {pattern!r} is no regular expression ({error})") from None


class Written(msgspec.Struct):
    """A tool as a model writes it."""

    name: str
    description: str
    parameters: dict[str, Any]
    returns: dict[str, Any]


def broken_rules(written: Written, branches: list[Branch]) -> list[str]:
    """The rules of the drawn constraints that a tool does not keep, by name: naming, count, types,
    output, words."""
    schemas = (written.parameters.get("properties") or {}).values()
    types = {_type(schema) for schema in schemas}
    broken = []
    for branch in branches:
        if branch.name is not None and not re.fullmatch(branch.name, written.name):
            broken.append("naming")
        if branch.count is not None and not branch.count[0] <= len(schemas) <= branch.count[1]:
            broken.append("count")
        if not types.issuperset(branch.has) or branch.only and not types.issubset(branch.only):
            broken.append("types")
        if branch.returns is not None and not _is_a(written.returns.get("type"), branch.returns):
            broken.append("output")
        if (branch.words is not None
                and not branch.words[0] <= len(written.description.split()) <= branch.words[1]):
            broken.append("words")
    return broken


def _type(schema: Any) -> str:
    """The JSON type of a parameter; "tuple" for an array of fixed items, "number" also for
    integers."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if kind == "array" and schema.get("prefixItems"):
        return "tuple"
    return "number" if kind == "integer" else str(kind)


def _is_a(kind: Any, wanted: str) -> bool:
    return kind == wanted or wanted == "number" and kind == "integer"
