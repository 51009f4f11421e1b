"""A round's dataset as the two Parquet files that verl reads.

In: round_J/dataset.jsonl (looptool.records.Sample). Out: round_J/train.parquet and
round_J/test.parquet, and beside each a .meta.json; docs/formats.md shows a row.

A label is a JSON string, for Parquet gives dictionaries with differing keys the union of all keys.
verl cuts long prompts from the left, where the tools are, so a sample with more than
student.max_prompt_tokens is left out here and counted. The paper draws 2% for testing anew each
time; here a sample that comes back in a later round is drawn by its id, so that what was tested on
in one round is as a rule not trained on in the next. The rows of a round that is trained already
stay as they are, whatever the config says by now; --fresh makes them anew.
"""
from __future__ import annotations

import hashlib
import logging
import time
from array import array
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from grpotool.reward import GroundTruth
from grpotool.rows import METADATA, SCHEMA
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.json_lines import read_jsonl
from looptool.prompts.length import StudentFits, leave_torch_out
from looptool.prompts.render import Fits, render_sample
from looptool.records import Sample
from looptool.run_files import RoundFiles, check_made, round_files
from looptool.stages.meta import Header, StageMeta, make_header, write_meta

STAGE = "json2parquet"
_log = logging.getLogger(__name__)
ROW_GROUP = 1000


def make_row(sample: Sample, index: int, split: str, config: Config) -> dict[str, Any]:
    """One row of grpotool.rows.SCHEMA."""
    return {
        "data_source": "looptool",
        "prompt": render_sample(sample, config.student.instructions),
        "ability": "call" if sample.label.calls else "text",
        "reward_model": {"style": "rule", "ground_truth": ground_truth(sample)},
        "extra_info": {"index": index, "id": sample.id, "origin": sample.origin,
                       "round": sample.round, "split": split},
    }


def ground_truth(sample: Sample) -> str:
    """What the reward is given: the label, and the names of the tools."""
    return msgspec.json.encode(GroundTruth(**msgspec.structs.asdict(sample.label),
                                           tools=[tool.name for tool in sample.tools])).decode()


def rank(id: str, seed: int) -> int:
    """Where a sample stands in the draw for testing: 64 bits of a hash, so that it stands there in
    later rounds too."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{id}".encode()).digest()[:8], "big")


def last_tested(ranks: array[int], share: float) -> int:
    """The highest rank that is drawn for testing: a share of the samples, rounded, but at least one
    and never all.

    Raises:
        InputError: there are fewer than two samples to split.
    """
    # a sample that is there twice has one rank, so both are on one side
    distinct = np.unique(np.frombuffer(ranks, np.uint64))
    if len(distinct) < 2:
        raise InputError(f"{len(distinct)} samples fit: at least one to train on and one to test "
                         "on are needed; raise student.max_prompt_tokens or make a larger dataset")
    return int(distinct[min(max(1, round(share * len(ranks))), len(distinct) - 1) - 1])


class ParquetFile:
    """Rows in row groups of ROW_GROUP, written aside and put in place by `finish`."""

    def __init__(self, path: Path, header: Header):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._aside = path, path.with_name(f".{path.name}.part")
        self._schema = SCHEMA.with_metadata({**METADATA, "looptool": msgspec.json.encode(header)})
        self._writer = pq.ParquetWriter(self._aside, self._schema)
        self._rows: list[dict[str, Any]] = []
        self.count = 0

    def add(self, row: dict[str, Any]) -> None:
        self._rows.append(row)
        self.count += 1
        if len(self._rows) == ROW_GROUP:
            self._write()

    def finish(self) -> None:
        self._write()
        self._writer.close()
        self._aside.replace(self._path)

    def _write(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []


def convert(dataset: Path, train: Path, test: Path, config: Config, fits: Fits) -> StageMeta:
    """Read the dataset twice, first to see which samples fit and which are for testing, then to
    write them.

    Args:
        fits: see looptool.prompts.length.
    """
    begun = time.monotonic()
    settings = {"seed": config.seed, "test_share": config.train.test_share,
                "instructions": config.student.instructions,
                "max_prompt_tokens": config.student.max_prompt_tokens}
    headers = {path: make_header(STAGE, settings, [dataset], path) for path in (train, test)}
    ranks, fitting = array("Q"), bytearray()
    for sample in read_jsonl(dataset, Sample):
        fitting.append(fits(render_sample(sample, config.student.instructions),
                            config.student.max_prompt_tokens))
        if fitting[-1]:
            ranks.append(rank(sample.id, config.seed))
    tested = last_tested(ranks, config.train.test_share)

    ranked = iter(ranks)
    written = {"test": ParquetFile(test, headers[test]),
               "train": ParquetFile(train, headers[train])}
    for sample, fit in zip(read_jsonl(dataset, Sample), fitting, strict=True):
        if fit:
            split = "test" if next(ranked) <= tested else "train"
            written[split].add(make_row(sample, written[split].count, split, config))
    for file in written.values():
        file.finish()
    counts = {**{split: file.count for split, file in written.items()},
              "too long": len(fitting) - len(ranks)}
    metas = [write_meta(path, header, inputs=len(fitting), counts=counts, records=len(ranks),
                        seconds=time.monotonic() - begun) for path, header in headers.items()]
    return metas[-1]


def is_trained(files: RoundFiles, train: Path, test: Path) -> bool:
    """Whether these are the round's own files, are there, and led to its policy."""
    return (train, test) == (files.train_parquet, files.test_parquet) and all(
        path.exists() for path in (train, test, files.policy))


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--input", type=Path,
                        help="dataset of samples (default: the round's dataset.jsonl)")
    parser.add_argument("--train", type=Path,
                        help="Parquet file to train on (default: the round's train.parquet)")
    parser.add_argument("--test", type=Path,
                        help="Parquet file to test on (default: the round's test.parquet)")
    parser.add_argument("--fresh", action="store_true",
                        help="make rows anew even where the round is trained already")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    files = round_files(args, config)
    dataset = args.input or files.dataset
    train, test = args.train or files.train_parquet, args.test or files.test_parquet
    if not args.fresh and is_trained(files, train, test):
        _log.info("json2parquet: round %d is trained already, so its rows stay as they are "
                  "(--fresh makes them anew)", files.round)
        return
    check_made(dataset, "scripts/03_make_samples.sh (D_1) or 08_next_round.sh", args)
    for _ in read_jsonl(dataset, Sample):  # a wrong line is found before the tokenizer is loaded
        pass
    meta = convert(dataset, train, test, config, StudentFits(config))
    if train == files.train_parquet:  # with which a round begins
        _log.info("round %d of %d", files.round, max(config.rounds, files.round))
    _log.info("%s", meta.line())


if __name__ == "__main__":
    leave_torch_out()
    run_main(main)
