"""Files that others wrote: read one record at a time, and what cannot be represented is kept aside with its reason.

In: JSON lines (also where their file is called .json, as BFCL's are), or a .json or .yaml file that holds a list or one
document. Out: (place, value) pairs, the place as "tools.jsonl:17". What a reader then refuses is a `Refused` record,
written beside the output and counted, never dropped silently.
"""
from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from looptool.records import InputError, Record, write_jsonl
from looptool.yaml_documents import read_yaml

_log = logging.getLogger(__name__)
_NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|[\[{].*|\d+", re.DOTALL)


class Refused(Record):
    """A foreign record that has no certain meaning here."""

    place: str
    """File and line, or file and position in its list."""
    code: str
    """One of the reader's few words for what is wrong; counted."""
    reason: str
    record: Any
    """As it stood in the file."""


WHOLE = {".json": msgspec.json.decode, ".yaml": read_yaml, ".yml": read_yaml}
"""Readers of the files that are one value and not a value a line, by suffix."""


def _holds_lines(path: Path) -> bool:
    """Whether a file is JSON lines: its first line is a whole object, and another line follows."""
    with path.open("rb") as file:
        first, second = file.readline(), file.readline()
    try:
        return bool(second.strip()) and isinstance(msgspec.json.decode(first), dict)
    except msgspec.DecodeError:
        return False


def read_foreign(path: Path | str) -> Iterator[tuple[str, Any]]:
    """Stream the JSON values of a file; a .json or .yaml file holds one or a list of them, any other one JSON a line.

    Raises:
        InputError: the file cannot be read, is empty, or a line is no JSON; names file and line.
    """
    path = Path(path)
    number, whole = 0, path.suffix in WHOLE
    try:
        if whole := whole and not _holds_lines(path):
            values = WHOLE[path.suffix](path.read_bytes())
            for number, value in enumerate(values if isinstance(values, list) else [values], 1):
                yield f"{path.name}[{number - 1}]", value
        else:
            with path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    yield f"{path.name}:{number}", msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError) as error:  # ValueError: no YAML, or JSON that is not UTF-8
        where = path if whole else f"{path}:{number}"
        if whole and WHOLE[path.suffix] is read_yaml:
            raise InputError(f"{where}: {error}; mend or remove it") from None
        raise InputError(f"{where}: not JSON: {error}; mend or remove it (a .json file holds a list, any other file "
                         "one JSON object a line)") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    if number == 0:
        raise InputError(f"{path}: is empty; give a file with at least one record")


def refused_path(output: Path) -> Path:
    """Where the records lie that were refused while `output` was written."""
    return output.with_name(f"{output.stem}_refused.jsonl")


def write_refused(output: Path, refused: list[Refused]) -> None:
    """Write what was refused to `refused_path`; without any, remove what an earlier run left there."""
    aside = refused_path(output)
    if refused:
        write_jsonl(aside, refused)
        _log.info("%d refused, with their reasons in %s", len(refused), aside)
    else:
        aside.unlink(missing_ok=True)


def commonest_reason(refused: list[Refused]) -> tuple[int, Refused]:
    """How many have the commonest reason, names and numbers in it apart, and the first of them."""
    alike: defaultdict[str, list[Refused]] = defaultdict(list)
    for entry in refused:
        alike[_NAMES.sub("", entry.reason)].append(entry)
    most = max(alike.values(), key=len)
    return len(most), most[0]
