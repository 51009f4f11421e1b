"""A stage without calls: records in, records out, written whole, with the same .meta.json and last line as any stage.

It takes seconds, so it is not resumed but run again: the output is replaced only when it is complete.
"""
from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from looptool.meta import StageMeta, make_header, meta_path
from looptool.records import InputError, write_atomic, write_jsonl

_log = logging.getLogger(__name__)


def run_transform(stage: str, records: Iterable[Any], output: Path | str, counts: Counter[str], *, settings: Any,
                  sources: Sequence[Path | str]) -> StageMeta:
    """Write `records` to `output`, then its .meta.json, and log the last line.

    Args:
        records: read once, while it fills `counts`, which says by reason what became of each input.
        settings: whatever changes the records: a struct or a dict.
        sources: the files that the records are made from; they are hashed.

    Raises:
        InputError: a source cannot be read, the folder cannot be written, or there is no record to write.
    """
    begun = time.monotonic()
    output = Path(output)
    header = make_header(stage, settings, sources, output)
    count = write_jsonl(output, _at_least_one(records, counts, output))
    meta = StageMeta(**msgspec.structs.asdict(header), version=version("looptool"), inputs=sum(counts.values()),
                     counts=dict(sorted(counts.items())), failed=0, failures={}, records=count, usage={},
                     seconds=round(time.monotonic() - begun, 3))
    write_atomic(meta_path(output), [msgspec.json.format(msgspec.json.encode(meta), indent=2) + b"\n"])
    _log.info("%s", meta.line())
    return meta


def _at_least_one(records: Iterable[Any], counts: Counter[str], output: Path) -> Iterator[Any]:
    empty = True
    for record in records:
        empty = False
        yield record
    if empty:
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in counts.most_common())
        raise InputError(f"{output}: not written, as no record is left ({reasons or 'no input'}); check the step's "
                         "input and the limits in the config")
