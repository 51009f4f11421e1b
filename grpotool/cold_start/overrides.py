"""From a config to the command that starts verl's SFT trainer; see grpotool/verl_run/overrides.py
for that of GRPO.

In: a config, the files of round 0, the student. Out: torchrun's command with verl 0.9.1's
`key=value` strings.
"""
from __future__ import annotations

import sys
from pathlib import Path

from grpotool.verl_run.overrides import SAVE_EVERY, attention, checkpoints, logger, padded, quote
from looptool.config import Config
from looptool.config_file import ROOT
from looptool.run_files import RoundFiles

DATASET = ROOT / "grpotool/cold_start/sft_dataset.py"
SAMPLES_A_MICRO_BATCH = 4
"""On a CPU."""
WARMUP = 0.1
"""Share of the steps in which the learning rate rises, as Adam's first steps are its largest."""


def common(config: Config, files: RoundFiles, model: str, end_token: int | None) -> list[str]:
    """What does not depend on the machine."""
    start, student = config.train.cold_start, config.student
    # -1 is never; after the last step verl saves in any case
    often = SAVE_EVERY if config.train.profile == "cpu" else -1
    return [
        f"data.train_files={quote(files.train_parquet.resolve())}",
        f"data.custom_cls.path={quote(DATASET)}",
        "data.custom_cls.name=LabelledPrompts",
        f"+data.end_token={'null' if end_token is None else end_token}",
        f"+data.max_response_length={student.max_response_tokens}",
        f"data.train_batch_size={start.batch_size}",
        "data.num_workers=0",
        f"model.path={quote(model)}",
        "engine.strategy=fsdp2",
        f"engine.seed={config.seed}",
        f"optim.lr={start.learning_rate}",
        f"optim.lr_warmup_steps_ratio={WARMUP}",
        "checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        "checkpoint.load_contents=[model,optimizer,extra]",
        "trainer.project_name=looptool",
        "trainer.experiment_name=cold_start",
        f"trainer.default_local_dir={quote(checkpoints(files))}",
        logger(config),
        f"trainer.seed={config.seed}",
        f"trainer.total_training_steps={start.steps}",
        f"trainer.total_epochs={start.steps + 1}",  # more than enough: the steps end the training
        # with 1 verl removes the last one before it names the new one: a kill between leaves none
        "trainer.max_ckpt_to_keep=2",
        f"trainer.save_freq={config.train.save_every or often}",
        "trainer.test_freq=-1",
    ]


def gpu(config: Config) -> list[str]:
    """The GPUs of one node."""
    student, packed = config.student, attention(config) == "flash_attention_2"
    return [
        # the SFT trainer has the same keys without this beginning
        *([] if packed else [line.replace("actor_rollout_ref.", "") for line in padded()]),
        f"model.use_remove_padding={packed}",
        "data.use_dynamic_bsz=True",
        "data.max_token_len_per_gpu="
        f"{4 * (student.max_prompt_tokens + student.max_response_tokens)}",
        f"trainer.n_gpus_per_node={config.train.gpus_per_node}",
    ]


def cpu() -> list[str]:
    """One process, through grpotool.cpu."""
    return [
        "model.external_lib=grpotool.cpu.verl_engine",
        "+model.override_config.attn_implementation=sdpa",
        "model.use_remove_padding=False",
        "model.enable_gradient_checkpointing=False",
        "engine.use_torch_compile=False",
        *(f"+engine.mixed_precision.{kind}=fp32"
          for kind in ("param_dtype", "reduce_dtype", "buffer_dtype")),
        "data.use_dynamic_bsz=False",
        f"data.micro_batch_size_per_gpu={SAMPLES_A_MICRO_BATCH}",
        "trainer.device=cpu",
    ]


def compose(config: Config, files: RoundFiles, model: str, end_token: int | None,
            resume: Path | None) -> list[str]:
    """The whole list; `resume` is a checkpoint folder, None to start with the student."""
    machine = cpu() if config.train.profile == "cpu" else gpu(config)
    begin = ["trainer.resume_mode=disable"] if resume is None else [
        "trainer.resume_mode=resume_path", f"trainer.resume_from_path={quote(resume.resolve())}"]
    return [*common(config, files, model, end_token), *machine, *begin]


def sft_command(config: Config, overrides: list[str]) -> list[str]:
    """What starts verl, a process a GPU."""
    processes = 1 if config.train.profile == "cpu" else config.train.gpus_per_node
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nnodes=1",
            f"--nproc_per_node={processes}", "-m", "grpotool.cold_start.sft_main", *overrides]
