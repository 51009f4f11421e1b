"""A cold start: the student learns the form of calls from the labels of D_1, by verl's SFT trainer,
before GRPO begins.

In: round_1/dataset.jsonl or --input, and student.model. Out: round_0/policy, a Hugging Face folder
from which round 1 then starts, its .meta.json, round_0/train.parquet and round_0/training with
metrics.jsonl (one line a step). The paper has no such step: its student makes calls already. A base
model, or one that writes calls in another form, may earn no reward in any group, and then GRPO has
nothing to learn from. `train.cold_start.steps` says how many steps, 0 none. Killed and run again,
it goes on from its last checkpoint. It runs on one node.
"""
from __future__ import annotations

import logging
import shlex
import shutil
import sys
import time
from pathlib import Path

import msgspec

from grpotool.cold_start.overrides import compose, sft_command
from grpotool.dataset.utils.json2parquet import convert
from grpotool.rows import count_rows
from grpotool.train import alone, begin, end_token, export, forget, last_checkpoint, weights_digest
from grpotool.verl_run.overrides import checkpoints, environment
from grpotool.verl_run.process import LOSS, Metrics, VerlFailed, run_verl
from looptool.command import argument_parser, end_on_sigterm, run_main
from looptool.config import Config
from looptool.config_file import load_config, student_path
from looptool.errors import InputError
from looptool.prompts.length import StudentFits, leave_torch_out
from looptool.run_files import RoundFiles, check_made
from looptool.stages.meta import Header, make_header

_log = logging.getLogger(__name__)


def describe(config: Config, files: RoundFiles, model: str) -> Header:
    """What makes two cold starts the same: rows, student and settings."""
    settings = {"cold_start": msgspec.structs.asdict(config.train.cold_start),
                "student": config.student, "seed": config.seed, "start": weights_digest(model)}
    return make_header("cold start", settings, [files.train_parquet], files.policy)


def check_batch(config: Config) -> None:
    """Refuse a batch that the processes cannot share.

    Raises:
        InputError: names one that they can.
    """
    batch, processes = config.train.cold_start.batch_size, config.train.gpus_per_node
    if config.train.profile == "gpu" and batch % processes:
        raise InputError(f"train.cold_start.batch_size={batch}: is not divided by "
                         f"train.gpus_per_node={processes}; set it to "
                         f"{processes * max(1, batch // processes)}")


def command(config: Config, files: RoundFiles, model: str, resume: Path | None) -> list[str]:
    """What starts verl."""
    ends = end_token(Path(model)) if Path(model).is_dir() else None
    # of several end tokens the student learns to write the first
    overrides = compose(config, files, model, ends[0] if isinstance(ends, list) else ends, resume)
    return sft_command(config, overrides)


def train(config: Config, files: RoundFiles, model: str) -> str:
    """Train or go on training, and export; returns the last line."""
    begun, steps = time.monotonic(), config.train.cold_start.steps
    header = describe(config, files, model)
    begin(files, header)
    done, checkpoint = last_checkpoint(files)
    metrics = Metrics(files, done, config.train.reward, LOSS)
    if done < steps:
        run_verl(command(config, files, model, checkpoint), environment(config, files),
                 files.training / "verl.log", metrics, steps, "cold start")
    seconds = time.monotonic() - begun
    export(files, checkpoints(files) / f"global_step_{steps}" / "huggingface", model, steps, header,
           seconds)
    return (f"cold start: {count_rows(files.train_parquet):,} rows -> {steps} steps, "
            f"{metrics.course()}, {seconds:.0f} s")


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path, metavar="FILE",
                        help="samples to learn from (default: D_1)")
    parser.add_argument("--dry-run", action="store_true",
                        help="make the rows, show verl's command, and do not train")
    parser.add_argument("--fresh", action="store_true", help="forget an earlier cold start")
    args = parser.parse_args()
    end_on_sigterm()
    config = load_config(args.config, args.overrides)
    if not config.train.cold_start.steps:
        _log.info("cold start: train.cold_start.steps is 0, so round 1 starts with the student")
        return
    files, model = RoundFiles(config.run_dir, 0), student_path(config)
    dataset = args.input or files.next().dataset
    check_batch(config)
    with alone(files):
        if args.fresh:
            forget(files)
        if not files.policy.exists():
            check_made(dataset, "scripts/03_make_samples.sh", args)
            convert(dataset, files.train_parquet, files.test_parquet, config, StudentFits(config))
        if args.dry_run:
            _log.info("%s", shlex.join(command(config, files, model, last_checkpoint(files)[1])))
        elif files.policy.exists():
            begin(files, describe(config, files, model))
            # left by a kill just after the export
            shutil.rmtree(checkpoints(files), ignore_errors=True)
            _log.info("cold start: made already, nothing to do")
        else:
            try:
                _log.info("%s", train(config, files, model))
            except VerlFailed as error:
                _log.error("%s", error)
                sys.exit(1)


if __name__ == "__main__":
    leave_torch_out()
    run_main(main)
