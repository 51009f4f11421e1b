"""The arithmetic of batches: how many steps and updates a round will train, said and checked before
it begins.

verl shuffles the rows in every epoch and draws whole batches only; what is left at an epoch's end
is not drawn.
"""
from __future__ import annotations

from looptool.config import Config, Train
from looptool.errors import InputError
from looptool.run_files import RoundFiles

WARNING = "warning: "


def check_batches(config: Config, files: RoundFiles, rows: int) -> None:
    """Refuse sizes by which no step, or half an update, would be trained."""
    batch, mini = config.train.batch_size, config.train.mini_batch_size
    if batch % mini:
        raise InputError(f"train.mini_batch_size={mini} does not divide train.batch_size={batch}; "
                         "set it to a divisor, or to the batch size itself for one update a step")
    if rows < batch:
        raise InputError(f"{files.train_parquet}: {rows} rows are less than "
                         f"train.batch_size={batch}, so there is no step to train; lower the batch "
                         "size or make a larger dataset")


def batch_lines(train: Train, rows: int, too_long: int) -> list[str]:
    """What will be trained, in one line; a second one where clip-higher cannot work.

    Args:
        rows: those to train on, at least one batch.
        too_long: samples of both splits that json2parquet left out.
    """
    epoch, spare = divmod(rows, train.batch_size)
    updates = train.batch_size // train.mini_batch_size
    lines = [f"batches: {rows:,} rows ({too_long:,} samples left out as too long) = {epoch:,} "
             f"steps an epoch of {train.batch_size} prompts x {train.rollouts} rollouts, {spare} "
             f"rows over; {train.epochs} epochs = {epoch * train.epochs:,} steps, updates a batch: "
             f"{updates}"]
    if updates == 1:
        lines.append(f"{WARNING}train.mini_batch_size is train.batch_size, as in the paper's "
                     "table: with one update a batch the ratio is always 1, so clipping, "
                     f"clip_high={train.clip_high} too, never fires; set a smaller mini batch to "
                     "make it work")
    return lines
