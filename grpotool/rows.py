"""The rows that json2parquet writes and training reads: their Parquet schema, its version, and the
check of both.

The version stands in the file's own metadata. Raise VERSION with every change of SCHEMA or of what
a column means.
"""
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from looptool.errors import InputError

VERSION = 2
_KEY = b"looptool_schema"
METADATA = {_KEY: str(VERSION).encode()}
"""What every file of rows carries."""
SCHEMA = pa.schema([
    ("data_source", pa.string()),
    ("prompt", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ("ability", pa.string()),
    ("reward_model", pa.struct([("style", pa.string()), ("ground_truth", pa.string())])),
    ("extra_info", pa.struct([("index", pa.int64()), ("id", pa.string()), ("origin", pa.string()),
                              ("round", pa.int64()), ("split", pa.string())])),
])


def count_rows(parquet: Path) -> int:
    """Rows of a file, by its footer alone.

    Raises:
        InputError: it cannot be read, or its rows are of another version than this code reads.
    """
    try:
        footer = pq.read_metadata(parquet)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{parquet}: cannot be read ({error}); run "
                         "grpotool/dataset/utils/json2parquet.py") from None
    written = (footer.metadata or {}).get(_KEY, b"none").decode(errors="replace")
    if written != str(VERSION):
        raise InputError(
            f"{parquet}: has rows of schema version {written}, and version {VERSION} is read here; "
            "run grpotool/dataset/utils/json2parquet.py again")
    return footer.num_rows


def read_rows(parquet: Path, columns: list[str] | None = None) -> Iterator[dict[str, Any]]:
    """Stream the rows of a file, or some of their columns.

    Raises:
        InputError: as count_rows.
    """
    count_rows(parquet)
    try:
        with pq.ParquetFile(parquet) as file:
            for batch in file.iter_batches(batch_size=256, columns=columns):
                yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{parquet}: cannot be read ({error}); run "
                         "grpotool/dataset/utils/json2parquet.py") from None
