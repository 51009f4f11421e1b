"""Which leaves of the dual tree were drawn, and what became of the tools written for them.

In: designs, and the reasons why tools were refused later. Out: a CSV file with a line for every
leaf of both trees, also those never drawn, and a few lines for the terminal.
"""
from __future__ import annotations

import csv
import io
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from dialog_generation.tool_making.designer import Design
from dialog_generation.tool_making.dual_tree import Trees
from looptool.json_lines import write_atomic

Leaf = tuple[str, ...]
"""("context", domain, topic, leaf) or ("constraint", level, branch)."""


def coverage(designs: Iterable[tuple[Design, str]], trees: Trees) -> dict[Leaf, Counter[str]]:
    """Reasons by leaf, every leaf of both trees included.

    Args:
        designs: each with what finally became of it: "accepted" or why it was refused.
    """
    table: dict[Leaf, Counter[str]] = {leaf: Counter() for leaf in leaves(trees)}
    for design, reason in designs:
        table[("context", *design.paths.context)][reason] += 1
        for level, branch in design.paths.constraints.items():
            table["constraint", level, branch][reason] += 1
    return table


def leaves(trees: Trees) -> Iterator[Leaf]:
    """Every leaf of the context tree, then every branch of the constraint tree."""
    for domain, topics in trees.contexts.items():
        for topic, jobs in topics.items():
            yield from (("context", domain, topic, job) for job in jobs)
    for level, branches in trees.constraints.items():
        yield from (("constraint", level, branch) for branch in branches)


def write_coverage(table: dict[Leaf, Counter[str]], path: Path) -> None:
    """CSV: tree, path, drawn, accepted, refused, and the reasons with their counts."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["tree", "path", "drawn", "accepted", "refused", "reasons"])
    for (tree, *steps), reasons in table.items():
        writer.writerow([tree, " > ".join(steps), *_sums(reasons), _reasons(reasons)])
    write_atomic(path, [text.getvalue().encode()])


def coverage_lines(table: dict[Leaf, Counter[str]]) -> list[str]:
    """The constraint tree branch by branch, the context tree domain by domain."""
    rows: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for leaf, reasons in table.items():
        rows[("domain", leaf[1]) if leaf[0] == "context" else (leaf[1], leaf[2])].update(reasons)
    lines = [f"{'level':<18} {'branch':<22} {'drawn':>7} {'accepted':>9} {'refused':>8}  reasons"]
    for (level, branch), reasons in rows.items():
        drawn, accepted, refused = _sums(reasons)
        lines.append(f"{level:<18} {branch:<22} {drawn:>7,} {accepted:>9,} {refused:>8,}  "
                     f"{_reasons(reasons)}".rstrip())
    missed = sum(not reasons for leaf, reasons in table.items() if leaf[0] == "context")
    total = sum(leaf[0] == "context" for leaf in table)
    return [*lines, f"{total - missed:,} of {total:,} leaves of the context tree were drawn"]


def _sums(reasons: Counter[str]) -> tuple[int, int, int]:
    """Drawn, accepted, refused."""
    return reasons.total(), reasons["accepted"], reasons.total() - reasons["accepted"]


def _reasons(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common()
                     if reason != "accepted")
