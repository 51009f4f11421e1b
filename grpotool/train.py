"""GRPO training of one round (algorithm 1, step 1): pi_j from pi_{j-1} and D_j, by verl.

In: round_J/train.parquet and test.parquet, the policy of round J-1 (round 1: student.model). Out:
round_J/policy, a Hugging Face folder that exists only when it is complete, its .meta.json, and
round_J/training with metrics.jsonl (one line a step, with the reasons of its rewards), rollouts/
(those of the last steps), tensorboard/ and verl.log. Weights come from the last round, the
optimizer is new. A training that was killed goes on from its last checkpoint; if data, policy or
settings have changed since, it is refused.
"""
from __future__ import annotations

import fcntl
import logging
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import msgspec

from grpotool.batches import batch_lines, check_batches
from grpotool.rows import count_rows
from grpotool.verl_run.overrides import checkpoints, environment, samples_in_process, verl_command
from grpotool.verl_run.process import Metrics, VerlFailed, run_verl
from looptool.command import argument_parser, end_on_sigterm, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.ids import content_id
from looptool.json_lines import write_json
from looptool.models.checkpoint import count_parameters
from looptool.run_files import RoundFiles, check_made, first_policy, round_files
from looptool.stages.meta import Header, make_header, read_meta, refuse_changes, write_meta

_log = logging.getLogger(__name__)
MACHINE = ("profile", "preset", "save_every", "test_every", "gpus_per_node", "nodes",
           "tensor_parallel", "gpu_memory_utilization", "optimizer_offload", "rollout_engine",
           "attention", "trackers", "test_share", "cold_start")
"""Keys of the config's train section that do not change what is learnt, or have done their work
before: in json2parquet, in the policy to start from."""


def policy_before(config: Config, files: RoundFiles) -> str:
    """The folder or hub name of pi_{j-1}.

    Raises:
        InputError: there is none, or it does not say by which token an answer ends.
    """
    if files.round < 1:
        raise InputError(f"--round {files.round}: training begins with round 1")
    before = files.previous().policy
    if files.round > 1 and not before.is_dir():
        raise InputError(f"{before}: is not there; train round {files.round - 1} first")
    model = str(before.resolve()) if files.round > 1 else first_policy(config)
    if Path(model).is_dir() and end_token(Path(model)) is None:
        raise InputError(f"{model}/generation_config.json: eos_token_id is missing, so no answer "
                         "would ever end; name the token that ends a turn")
    return model


def check_heads(config: Config, model: str) -> None:
    """Refuse what vLLM would after minutes: a number of GPUs that cannot share a policy's attention
    heads.

    Raises:
        InputError: train.tensor_parallel does not divide them; those of a hub name are not looked
            up.
    """
    if samples_in_process(config) or not (Path(model) / "config.json").exists():
        return
    train = config.train
    heads = msgspec.json.decode((Path(model) / "config.json").read_bytes()).get(
        "num_attention_heads", 0)
    if heads % train.tensor_parallel:
        total = train.gpus_per_node * train.nodes
        fitting = [str(number) for number in range(1, total + 1)
                   if not heads % number and not total % number]
        raise InputError(f"train.tensor_parallel={train.tensor_parallel} does not divide the "
                         f"{heads} attention heads of {model}; with {total} GPUs set it to "
                         f"{' or '.join(fitting)}")


def end_token(policy: Path) -> int | list[int] | None:
    """eos_token_id of a policy's generation_config.json, None where it names none."""
    try:
        return msgspec.json.decode((policy / "generation_config.json").read_bytes()).get(
            "eos_token_id")
    except FileNotFoundError:
        return None


def check_current(files: RoundFiles) -> None:
    """Refuse Parquet files that were made from another dataset than the one that now lies beside
    them."""
    for parquet in (files.train_parquet, files.test_parquet):
        made = read_meta(parquet)
        if made is not None and files.dataset.name in made.sources:
            now = make_header(made.stage, made.settings, [files.dataset], parquet)
            if now.sources != {name: made.sources[name] for name in now.sources}:
                raise InputError(f"{parquet}: was made from another {files.dataset.name}; run "
                                 "json2parquet.py again with --fresh")


def left_out(files: RoundFiles) -> int:
    """Samples that json2parquet found too long."""
    made = read_meta(files.train_parquet)
    return made.counts.get("too long", 0) if made else 0


def describe(config: Config, files: RoundFiles, model: str) -> Header:
    """What makes two trainings the same: data, starting policy, and every setting but the
    machine's."""
    train = {key: value for key, value in msgspec.structs.asdict(config.train).items()
             if key not in MACHINE}
    settings = {"train": train, "student": config.student, "seed": config.seed,
                "start": weights_digest(model)}
    return make_header("train", settings, [files.train_parquet, files.test_parquet], files.policy)


def weights_digest(model: str) -> str:
    """A hash of a policy's weights by size and by first and last MiB of every file; a hub name as
    it stands."""
    if not Path(model).is_dir():
        return model
    parts = []
    for path in sorted(Path(model).glob("*.safetensors")):
        with path.open("rb") as file:
            head = file.read(1 << 20)
            file.seek(max(0, path.stat().st_size - (1 << 20)))
            parts.append((path.name, path.stat().st_size, head.hex(), file.read().hex()))
    return content_id(parts)


def last_checkpoint(files: RoundFiles) -> tuple[int, Path | None]:
    """Step and folder of the newest complete checkpoint; (0, None) without one.

    verl writes a checkpoint's folder, then its number into a file, in place: an empty file means
    that the newest folder is complete and the kill came between.
    """
    folder = checkpoints(files)
    tracker = folder / "latest_checkpointed_iteration.txt"
    if not tracker.exists():
        return 0, None
    number = tracker.read_text().strip()
    step = int(number) if number else max(int(path.parent.name.rpartition("_")[2])
                                          for path in folder.glob("*/data.pt"))
    return step, folder / f"global_step_{step}"


def export(files: RoundFiles, ready: Path, model: str, steps: int, header: Header,
           seconds: float) -> None:
    """Put `ready`, the last checkpoint's Hugging Face folder, in place as the policy, then free the
    disk.

    Nothing reads a checkpoint any more: a finished training is not gone on with, and the next
    round's optimizer is new.

    Raises:
        InputError: the folder is not whole; the checkpoints are kept.
    """
    count_parameters(ready)
    # verl leaves it out where its model does not know the folder that it came from
    if end_token(ready) is None and Path(model).is_dir():
        shutil.copy(Path(model) / "generation_config.json", ready)
    # before the rename, so that a policy that is there has it
    write_meta(files.policy, header, inputs=count_rows(files.train_parquet),
               counts={"steps": steps}, records=1, seconds=seconds)
    ready.rename(files.policy)
    shutil.rmtree(checkpoints(files))


@contextmanager
def alone(files: RoundFiles) -> Iterator[IO[str]]:
    """Hold the round, so that two trainings do not write over each other."""
    files.training.mkdir(parents=True, exist_ok=True)
    with (files.training / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"{files.training}: another process is training this round; wait for "
                             "it or stop it") from None
        yield lock


def begin(files: RoundFiles, header: Header) -> None:
    """Write down what this training is made from, or refuse to go on with one that was made from
    something else."""
    inputs = files.training / "inputs.json"
    if inputs.exists():
        refuse_changes(msgspec.json.decode(inputs.read_bytes(), type=Header), header, files.policy)
    else:
        write_json(inputs, header)


def forget(files: RoundFiles) -> None:
    """Remove an earlier training's policy and checkpoints."""
    shutil.rmtree(files.policy, ignore_errors=True)
    shutil.rmtree(checkpoints(files), ignore_errors=True)
    (files.training / "inputs.json").unlink(missing_ok=True)


def train(config: Config, files: RoundFiles, header: Header, model: str, rows: int) -> str:
    """Train or go on training, and export; returns the last line."""
    begun = time.monotonic()
    epoch = rows // config.train.batch_size
    steps = epoch * config.train.epochs
    begin(files, header)
    done, checkpoint = last_checkpoint(files)
    metrics = Metrics(files, done, config.train.reward)
    if done < steps:
        run_verl(verl_command(config, files, model, epoch, checkpoint), environment(config, files),
                 files.training / "verl.log", metrics, steps, f"round {files.round}: train")
    seconds = time.monotonic() - begun
    export(files, checkpoints(files) / f"global_step_{steps}" / "actor" / "huggingface", model,
           steps, header, seconds)
    return (f"train: round {files.round}: {rows:,} rows -> {steps} steps, {metrics.course()}, "
            f"{seconds:.0f} s")


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--dry-run", action="store_true", help="show verl's command and do nothing")
    parser.add_argument("--fresh", action="store_true",
                        help="forget an earlier training of this round and its policy")
    args = parser.parse_args()
    end_on_sigterm()
    config = load_config(args.config, args.overrides)
    files = round_files(args, config)
    model = policy_before(config, files)
    check_made(files.train_parquet, "grpotool/dataset/utils/json2parquet.py", args)
    check_heads(config, model)
    rows = count_rows(files.train_parquet)
    check_batches(config, files, rows)
    if args.dry_run:
        for line in batch_lines(config.train, rows, left_out(files)):
            _log.info("%s", line)
        _log.info("%s",
                  shlex.join(verl_command(config, files, model, rows // config.train.batch_size,
                                          last_checkpoint(files)[1])))
        return
    check_current(files)
    with alone(files):
        if args.fresh:
            forget(files)
        header = describe(config, files, model)
        if files.policy.exists():
            # refuses to pass off a policy of other settings or data
            begin(files, header)
            # left by a kill just after the export
            shutil.rmtree(checkpoints(files), ignore_errors=True)
            _log.info("train: round %d: already trained, nothing to do", files.round)
            return
        try:
            _log.info("%s", train(config, files, header, model, rows))
        except VerlFailed as error:
            _log.error("%s", error)
            sys.exit(1)


if __name__ == "__main__":
    run_main(main)
