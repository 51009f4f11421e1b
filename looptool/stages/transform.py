"""A stage without calls: records in, records out, written whole, with the same .meta.json and last
line as any stage.

It takes seconds, so it is not resumed but run again: the output is replaced only when it is
complete.
"""
from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from looptool.errors import InputError
from looptool.foreign.files import commonest_reason, refused_path, write_refused
from looptool.json_lines import write_jsonl
from looptool.records import Refused
from looptool.stages.meta import StageMeta, make_header, write_meta

_log = logging.getLogger(__name__)


def run_transform(stage: str, records: Iterable[Any], output: Path | str, counts: Counter[str], *,
                  settings: Any, sources: Sequence[Path | str],
                  refused: list[Refused] | None = None,
                  passed_over: Mapping[str, int] = {}) -> StageMeta:
    """Write `records` to `output`, then its .meta.json, and log the last line.

    Args:
        records: read once, while it fills `counts`, which says by reason what became of each input.
        settings: whatever changes the records: a struct or a dict.
        sources: the files that the records are made from; they are hashed.
        refused: filled as `counts` is; written aside, also where no record is left.
        passed_over: filled as `counts` is: keys of foreign records that were not read.

    Raises:
        InputError: a source cannot be read, the folder cannot be written, or there is no record to
            write.
    """
    begun = time.monotonic()
    output = Path(output)
    header = make_header(stage, settings, sources, output)

    def explain(path: Path, count: int) -> StageMeta:
        return write_meta(path, header, inputs=counts.total(), counts=counts, records=count,
                          seconds=time.monotonic() - begun,
                          passed_over=dict(sorted(passed_over.items())))

    left = iter(records)
    first = next(left, None)
    if first is None:
        if refused:
            write_refused(output, refused)
            explain(refused_path(output), 0)
        raise InputError(_nothing_left(output, counts, refused or []))
    meta = explain(output, write_jsonl(output, chain([first], left)))
    if refused is not None:
        write_refused(output, refused)
    _log.info("%s", meta.line())
    return meta


def _nothing_left(output: Path, counts: Counter[str], refused: list[Refused]) -> str:
    reasons = (", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
               or "no input")
    if not refused:
        return (f"{output}: not written, as no record is left ({reasons}); check the step's input "
                "and the limits in the config")
    count, entry = commonest_reason(refused)
    return (f"{output}: not written, as no record is left ({reasons}; all in "
            f"{refused_path(output).name}); the commonest reason, of {count:,}, at {entry.place}: "
            f"{entry.reason}; mend them, or give another input")
