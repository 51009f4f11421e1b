"""ToolMatch, the training's reward, beside the official AST checker, on all truths of one turn and
mutations of each.

A label is a truth with the first possible value of everything. Where one of the two accepts a
mutation and the other does not, that must be one of the DIFFERENCES below; the table in
docs/evaluation.md is made from this.
"""
from __future__ import annotations

import copy
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bfcl_oracle import NOTHING, Oracle

from bfcl.launch import NAME, Launch
from looptool.calling.match import tool_match
from looptool.records import Call, Message

Calls = list[tuple[str, dict[str, Any]]]

DIFFERENCES = {
    "optional": "an argument is left out, or its list empty, whose truth lists \"\"",
    "other value": "another value that the truth lists",
    "text form": "a string that differs in case, spaces, quotes or ,./-_*^ only",
    "whole number": "5.0 where the schema says integer, or 5 for 5.0 inside a list or an object",
    "code": "Java or JavaScript text that stands for the same value",
    "greedy pairing": "a call fits two truths, and the checker gives it to the first of them",
    "refused truth": "the truth itself is refused by the checker",
}


def mutations(calls: Calls, truth: list[dict]) -> Iterator[tuple[str, Calls]]:
    """(kind, mutated calls); one thing is changed at a time."""
    yield "same", calls
    yield "order of arguments", [(name, dict(reversed(arguments.items())))
                                 for name, arguments in calls]
    yield "call: extra", [*calls, ("no_such_function", {})]
    yield "call: twice", [*calls, calls[0]]
    yield "call: missing", calls[1:]
    if len(calls) > 1:
        yield "order of calls", calls[::-1]
    for at, (name, arguments) in enumerate(calls):
        def changed(new: dict[str, Any], name: str = name, at: int = at) -> Calls:
            return [*calls[:at], (name, new), *calls[at + 1:]]

        yield "name", changed(arguments, name=f"{name}_x")
        yield "argument: extra", changed(arguments | {"no_such_argument": 1})
        for key, value in arguments.items():
            yield ("argument: missing",
                   changed({other: kept for other, kept in arguments.items() if other != key}))
            for kind, new in changed_values(value) if value is not None else ():
                yield kind, changed(arguments | {key: new})
            for other in next(iter(truth[at].values()))[key][1:]:
                if other != NOTHING and not isinstance(other, (dict, list)):
                    yield "value: another of the truth", changed(arguments | {key: other})


def changed_values(value: Any) -> Iterator[tuple[str, Any]]:
    """(kind, another value)."""
    yield "type: null", None
    if isinstance(value, bool):
        yield from [("value: other", not value), ("type: number for boolean", int(value)),
                    ("type: text", str(value))]
    elif isinstance(value, (int, float)):
        yield from [("value: other", value + 1), ("type: text", str(value)),
                    ("type: boolean for number", bool(value))]
        if float(value).is_integer():
            yield "type: 5 and 5.0", float(value) if isinstance(value, int) else int(value)
    elif isinstance(value, str):
        yield from [("value: other", value + "zzz"), ("type: list for text", [value]),
                    ("type: number for text", 7)]
        yield "value: text form", value.upper() if value.upper() != value else f"{value} "
    elif isinstance(value, list):
        yield from [("value: other", [*value, "zzz"]), ("type: text", str(value))]
        if value != value[::-1]:
            yield "value: order of the list", value[::-1]
        if value:
            yield "value: item left out", value[1:]
        if value and type(value[0]) in (int, float) and float(value[0]).is_integer():
            yield "type: 5 and 5.0 in a list", [float(item) if isinstance(item, int) else int(item)
                                                for item in value]
    elif isinstance(value, dict):
        yield from [("value: other", value | {"zzz": 1}), ("type: text", str(value))]
        for key in value:
            yield "value: key left out", {other: kept for other, kept in value.items()
                                          if other != key}


def compare(folder: Path, every: int = 1) -> dict[str, Any]:
    """Counts of verdicts by kind of mutation, of differences by reason, and the differences without
    one.

    Args:
        every: only each so manyth truth.
    """
    Launch(folder)  # which bfcl-eval has to be told before it is imported
    import bfcl_eval
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker

    oracle = Oracle(Path(bfcl_eval.__file__).parent / "data")
    table: dict[str, Counter[str]] = {}
    reasons: Counter[str] = Counter()
    unexplained = []
    truths = [(task, truth) for task, truth in oracle.truths.items()
              if not task.startswith(("multi_turn", "memory", "web_search"))][::every]
    for task, truth in truths:
        category = task.rsplit("_", 1)[0]
        language = ("JavaScript" if "javascript" in category else "Java" if "java" in category
                    else "Python")
        label = list(oracle.calls(task))
        accepts_truth = None
        for kind, calls in mutations(label, truth):
            official = ast_checker(copy.deepcopy(oracle.tasks[task]["function"]),
                                   [{name: copy.deepcopy(arguments)} for name, arguments in calls],
                                   copy.deepcopy(truth), language, category, NAME)["valid"]
            ours = tool_match(_message(calls), _message(label)) == "match"
            accepts_truth = official if kind == "same" else accepts_truth
            verdict = ("both" if ours
                       else "official") if official else "ours" if ours else "neither"
            table.setdefault(kind, Counter())[verdict] += 1
            if official != ours:
                reason = ("refused truth" if not accepts_truth
                          else explain(kind, calls, label, truth, language))
                reasons[f"{verdict}: {reason}"] += 1
                if reason not in DIFFERENCES:
                    unexplained.append([task, kind, calls, label, truth])
    return {"truths": len(truths), "table": table, "reasons": reasons, "unexplained": unexplained}


def explain(kind: str, calls: Calls, label: Calls, truth: list[dict], language: str) -> str:
    """Why the two may differ on this mutation, or ""."""
    if kind == "order of calls":
        return "greedy pairing"
    at = next((at for at, pair in enumerate(zip(calls, label)) if repr(pair[0]) != repr(pair[1])),
              None)
    if at is None or len(calls) != len(label):
        return ""
    (_, new), (_, old) = calls[at], label[at]
    possible = next(iter(truth[at].values()))
    key = next((key for key in old if key not in new or repr(new[key]) != repr(old[key])), None)
    if key is None:
        return ""
    if key not in new:
        return "optional" if NOTHING in possible[key] else ""
    if new[key] == old[key] and kind.startswith("type: 5"):
        return "whole number"
    if isinstance(new[key], str) and isinstance(old[key],
                                                str) and plain(new[key]) == plain(old[key]):
        return "text form"
    if any(plain(new[key]) == plain(value) and value != NOTHING for value in possible[key]):
        return "other value"
    if kind == "value: key left out" or new[key] == [] and NOTHING in possible[key]:
        return "optional"
    return "code" if language != "Python" and isinstance(new[key], str) else ""


def plain(value: Any) -> Any:
    """A value as the checker compares it."""
    if isinstance(value, str):
        return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"')
    return [plain(item) for item in value] if isinstance(value, list) else value


def _message(calls: Calls) -> Message:
    return Message(role="assistant", calls=[Call(name, arguments) for name, arguments in calls])
