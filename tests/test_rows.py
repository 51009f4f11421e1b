"""The Parquet file's schema version, and the arithmetic of batches said before training."""
from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden_files import FOLDER
from test_json2parquet import converted

from grpotool.batches import batch_lines
from grpotool.rows import METADATA, SCHEMA, VERSION, count_rows, read_rows
from looptool.config import Train
from looptool.errors import InputError
from looptool.json_lines import read_jsonl
from looptool.records import Sample


def write_version(path: Path, version: bytes | None) -> Path:
    metadata = None if version is None else {b"looptool_schema": version}
    pq.write_table(pa.Table.from_pylist([], SCHEMA).replace_schema_metadata(metadata), path)
    return path


def test_written_rows_are_read_back(tmp_path):
    rows = converted(tmp_path, list(read_jsonl(FOLDER / "samples.jsonl", Sample)))
    path = tmp_path / "train.parquet"
    assert pq.read_metadata(path).metadata[b"looptool_schema"] == str(VERSION).encode()
    assert list(read_rows(path)) == rows["train"] and count_rows(path) == len(rows["train"]) > 1
    assert list(read_rows(path, ["ability"])) == [{"ability": row["ability"]}
                                                  for row in rows["train"]]


@pytest.mark.parametrize("version, words",
                         [(None, "version none"), (b"0", "version 0"), (b"12", "version 12"),
                          (b"\xff", "version \ufffd"), (b"1 ", "version 1 ,")])
def test_another_version_is_refused(tmp_path, version, words):
    path = write_version(tmp_path / "a.parquet", version)
    for read in (count_rows, lambda path: list(read_rows(path))):
        with pytest.raises(InputError, match=f"{words}.*run .*json2parquet.py again"):
            read(path)


def test_this_version_is_read(tmp_path):
    assert count_rows(write_version(tmp_path / "a.parquet", METADATA[b"looptool_schema"])) == 0


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "a.parquet"
    converted(tmp_path, list(read_jsonl(FOLDER / "samples.jsonl", Sample)))
    data = bytearray((tmp_path / "train.parquet").read_bytes())
    data[4:400] = bytes(396)  # the pages, not the footer
    path.write_bytes(data)
    assert count_rows(path) > 1
    with pytest.raises(InputError, match="cannot be read"):
        list(read_rows(path))


def test_batches_are_said():
    train = Train(batch_size=16, mini_batch_size=4, rollouts=8, epochs=2)
    assert batch_lines(train, 1235, 12) == [
        "batches: 1,235 rows (12 samples left out as too long) = 77 steps an epoch of 16 prompts x "
        "8 rollouts, 3 rows over; 2 epochs = 154 steps, updates a batch: 4"]


def test_one_update_a_batch_is_warned_of():
    line, warning = batch_lines(Train(batch_size=128, mini_batch_size=128, clip_high=0.3), 128, 0)
    assert "updates a batch: 1" in line and "= 1 steps an epoch" in line
    assert "clip_high=0.3 too, never fires" in warning and "mini batch" in warning
