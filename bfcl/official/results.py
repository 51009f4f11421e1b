"""What bfcl-eval stored for each entry: a reply is kept, a failure removed, a poor reply counted.

bfcl-eval stores an exception as a reply that begins with "Error during inference:", and scores it:
as right where no call is asked for. So no failure is ever scored here. One kind of it is the
model's own: a conversation of several turns that has grown beyond the context; it stays, and
bfcl-eval counts it as wrong.
"""
from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from looptool.calling.reply import parse_reply
from looptool.calling.untagged import text_fault
from looptool.errors import InputError
from looptool.json_lines import write_atomic

ERROR = "Error during inference:"
CONTEXT_FULL = f"{ERROR} context full:"
WHERE = ("context_full is in the denominator, as wrong; of malformed, untagged and cut replies the "
         "calls count that can be read, none or not, so that they may be right where no call is "
         "asked for; any other failure would have ended the run")
"""What the card says of errors."""
FINISHES = "finish"
"""The key of a result under which our handler stores why each reply ended, step by step."""

Result = dict[str, Any]


def read_results(folder: Path) -> Iterator[tuple[Path, Result]]:
    """Each stored result with its file; a line that a killed run left half written is passed
    over."""
    for path in sorted(folder.rglob("*_result.json")):
        for line in path.read_bytes().splitlines():
            try:
                yield path, msgspec.json.decode(line)
            except msgspec.DecodeError:
                continue


def is_failure(result: Result) -> bool:
    """Whether this is no answer of the model's; see the module's docstring."""
    text = result["result"]
    if not isinstance(text, str) or not text.startswith(ERROR):
        return False
    return not (text.startswith(CONTEXT_FULL) and result["id"].startswith("multi_turn"))


def remove_failures(folder: Path, ids: Mapping[str, Sequence[str]]) -> int:
    """Take out what a next run must ask again, and what is torn; returns how many results are left.

    bfcl-eval asks for an id that has no result. v3 has one id twice, for two tasks: with one result
    of two, both go.
    """
    kept: dict[Path, list[Result]] = {path: [] for path in folder.rglob("*_result.json")}
    for path, result in read_results(folder):
        if not is_failure(result):
            kept[path].append(result)
    # counted, as v3 has one id for two tasks
    missing = _wanted(ids) - Counter(result["id"] for results in kept.values()
                                     for result in results)
    for path, results in kept.items():
        results[:] = [result for result in results if result["id"] not in missing]
        write_atomic(path, (json.dumps(result).encode() + b"\n" for result in results))
    return sum(map(len, kept.values()))


def check_results(folder: Path, ids: Mapping[str, Sequence[str]]) -> Counter[str]:
    """Poor replies by kind: context_full, malformed, untagged_call (a call without the tags that
    our prompt asks for), cut (at --max-tokens, or where the context ended); apart those of
    irrelevance, which may be right.

    Raises:
        InputError: an entry failed or has no result.
    """
    results = [result for _, result in read_results(folder)]
    failures = [result for result in results if is_failure(result)]
    if failures:
        first = failures[0]
        raise InputError(f"{len(failures):,} of {len(results):,} entries failed, so nothing is "
                         f"scored. The first, {first['id']}: {first['result'][:300]}. Mend it, "
                         "then run this again: only these are asked again")
    if missing := _wanted(ids) - Counter(result["id"] for result in results):
        raise InputError(f"{folder}: {missing.total():,} entries have no result, the first "
                         f"{next(iter(missing))}; run this again")
    counts: Counter[str] = Counter()
    for result in results:
        counts.update(f"{kind}{' where no call is asked for' * _is_irrelevance(result)}"
                      for kind in _poor(result))
    return counts


def _wanted(ids: Mapping[str, Sequence[str]]) -> Counter[str]:
    return Counter(id for category in ids.values() for id in category)


def _is_irrelevance(result: Result) -> bool:
    return result["id"].startswith(("irrelevance", "live_irrelevance"))


def _poor(result: Result) -> Iterator[str]:
    """The kinds of poor replies in one entry, each once."""
    if isinstance(result["result"], str) and result["result"].startswith(CONTEXT_FULL):
        yield "context_full"
        return
    replies = [parse_reply(text) for text in _flat(result["result"])]
    if any(reply.faults for reply in replies):
        yield "malformed"
    if any(not reply.calls and not reply.faults and text_fault(reply.content) == "untagged_call"
           for reply in replies):
        yield "untagged_call"
    if "length" in result[FINISHES]:
        yield "cut"


def _flat(value: Any) -> list[Any]:
    """The leaves of nested lists: a turn is a list of steps, an entry of several turns a list of
    those."""
    return [leaf for item in value for leaf in _flat(item)] if isinstance(value, list) else [value]
