"""Files that others wrote: read one record at a time, and what cannot be represented is kept aside
with its reason.

In: JSON lines (also where their file is called .json, as BFCL's are), a .json or .yaml file that
holds a list or one document, or Parquet. Out: (place, value) pairs, the place as "tools.jsonl:17".
What a reader then refuses is a `Refused` record, written beside the output and counted, never
dropped silently. One bad line, or one bad item of a list, costs no other; blank lines and a byte
order mark are passed over. Parquet has a null wherever a record lacks a field that others have, so
a null in it is an absent key.
"""
from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from looptool.errors import InputError
from looptool.yaml_documents import load_yaml
from looptool.json_lines import write_jsonl
from looptool.records import Refused

_log = logging.getLogger(__name__)
_NAMES = re.compile(r"'[^']*'|\"[^\"]*\"|[\[{].*|\d+", re.DOTALL)
_BOM = b"\xef\xbb\xbf"
_TO_DO = "mend or remove it (a .json file holds a list, any other file one JSON object a line)"
_SHOWN = 2_000  # characters of a line that is no JSON, as they are kept


class _Bad(NamedTuple):
    """What stands in the place of a value that is no JSON."""

    reason: str
    text: str


def read_foreign(path: Path | str, refuse: Callable[[Refused], None]
                 | None = None) -> Iterator[tuple[str, Any]]:
    """Stream the JSON values of a file; a .json or .yaml file holds one or a list of them, Parquet
    one a row, any other file one a line.

    Args:
        refuse: takes each line or item that is no JSON; without it the first one is an error.

    Raises:
        InputError: the file cannot be read or is empty; or a line is no JSON, named with its file.
    """
    path, empty = Path(path), True
    try:
        for place, value in _entries(path):
            empty = False
            if not isinstance(value, _Bad):
                yield place, value
            elif refuse is not None:
                refuse(Refused(place=place, code="not_json", reason=f"not JSON: {value.reason}",
                               record=value.text[:_SHOWN]))
            else:
                raise InputError(f"{path.with_name(place)}: not JSON: {value.reason}; {_TO_DO}")
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path}: cannot be read ({reason}); check the path") from None
    if empty:
        raise InputError(f"{path}: is empty; give a file with at least one record")


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        yield from _rows(path)
    elif suffix in WHOLE and not _holds_lines(path):
        values = WHOLE[suffix](path)
        for number, value in enumerate(values if isinstance(values, list) else [values]):
            yield f"{path.name}[{number}]", value
    else:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                line = line.removeprefix(_BOM) if number == 1 else line
                if line.strip():
                    yield f"{path.name}:{number}", _decode(line)


def _decode(line: bytes) -> Any:
    try:
        return msgspec.json.decode(line)
    except (ValueError, RecursionError) as error:
        return _Bad(str(error), line.decode(errors="replace").strip())


def _holds_lines(path: Path) -> bool:
    """Whether a file is JSON lines: its first filled line is a whole object, and another filled one
    follows."""
    with path.open("rb") as file:
        filled = filter(bytes.strip, (line.removeprefix(_BOM) for line in file))
        first, second = next(filled, b""), next(filled, b"")
    return bool(second) and isinstance(_decode(first), dict)


def _read_json(path: Path) -> Any:
    """The value of a file; a list's items that are no strict JSON (NaN, a lone surrogate) are bad
    ones."""
    content = path.read_bytes().removeprefix(_BOM)
    try:
        return msgspec.json.decode(content)
    except (ValueError, RecursionError) as error:
        strict = str(error)
    try:
        # a byte that is no UTF-8 becomes a lone surrogate, which costs its item only
        value = json.loads(content.decode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError):
        raise InputError(f"{path}: not JSON: {strict}; {_TO_DO}") from None
    return [_strict(item) for item in value] if isinstance(value, list) else [_strict(value)]


def _read_yaml(path: Path) -> Any:
    try:
        value = load_yaml(path.read_bytes())
    except ValueError as error:
        raise InputError(f"{path}: {error}; mend or remove it") from None
    return [_strict(item) for item in value] if isinstance(value, list) else [_strict(value)]


def _strict(value: Any) -> Any:
    """The value, or a bad one where it holds NaN, infinity or a lone surrogate."""
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False, default=str).encode()
    except ValueError as error:
        return _Bad(str(error), json.dumps(value, default=str))
    return value


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa  # takes time, which no other file needs
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield f"{path.name}[{number}]", _strict(_without_nulls(row))
                    number += 1
    except pa.ArrowException as error:
        raise InputError(f"{path}: not Parquet ({error}); mend or remove it") from None


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(child) for key, child in value.items() if child is not None}
    if isinstance(value, list):
        return [_without_nulls(child) for child in value]
    return value.isoformat() if isinstance(value, date) else value


WHOLE: dict[str, Callable[[Path], Any]] = {".json": _read_json, ".yaml": _read_yaml,
                                           ".yml": _read_yaml}
"""Readers of the files that are one value and not a value a line, by suffix in small letters."""
SUFFIXES = (".jsonl", ".parquet", *WHOLE)
"""Of the files that are read in a folder."""


def files_in(path: Path) -> list[Path]:
    """The file itself, or those of a folder that can be read, in their order; hidden ones are left
    out.

    Raises:
        InputError: a folder has none.
    """
    if not path.is_dir():
        return [path]
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES
                   and file.is_file() and not any(
                       part.startswith(".") for part in file.relative_to(path).parts))
    if not files:
        known = ", ".join(SUFFIXES)
        raise InputError(f"{path}: holds no file with records ({known}); name another place")
    return files


def refused_path(output: Path) -> Path:
    """Where the records lie that were refused while `output` was written."""
    return output.with_name(f"{output.stem}_refused.jsonl")


def write_refused(output: Path, refused: list[Refused]) -> None:
    """Write what was refused to `refused_path`; without any, remove what an earlier run left
    there."""
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
