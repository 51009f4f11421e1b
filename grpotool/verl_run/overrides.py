"""From a config to the list of overrides for `python -m verl.trainer.main_ppo`, one list for all
sizes.

In: a config, the files of a round, the folder of the policy to start from. Out: verl 0.9.1's
`key=value` strings and the environment it is started with. What the paper fixes stands in `common`;
the two profiles hold only what the machine asks for. A config's `train.verl` comes last. Everything
is plain data, so that a list can be read, compared and checked without verl or a GPU.
"""
from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

from grpotool.verl_run.options import refuse_conflicts
from looptool.config import Config
from looptool.config_file import ROOT
from looptool.machine.packages import missing_packages
from looptool.machine.ray_token import own_token
from looptool.run_files import RoundFiles

REWARD = ROOT / "grpotool" / "reward.py"
NO_ROUTER = ROOT / "grpotool" / "cpu" / "no_router.yaml"
IN_PROCESS = "in_process"
"""verl's name of the rollouts of grpotool.cpu.verl_rollout."""


def common(config: Config, files: RoundFiles, model: str) -> list[str]:
    """GRPO as in section 4.1 and Table 6: group-relative advantage, clip-higher, neither KL nor
    entropy terms."""
    train, student = config.train, config.student
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    return [
        "algorithm.adv_estimator=grpo",
        "algorithm.use_kl_in_reward=False",
        f"data.train_files={quote(files.train_parquet.resolve())}",
        f"data.val_files={quote(files.test_parquet.resolve())}",
        f"data.train_batch_size={train.batch_size}",
        f"data.max_prompt_length={student.max_prompt_tokens}",
        f"data.max_response_length={student.max_response_tokens}",
        "data.filter_overlong_prompts=False",  # json2parquet has left them out
        "data.shuffle=True",
        f"data.seed={config.seed}",
        f"reward.custom_reward_function.path={quote(REWARD)}",
        "reward.custom_reward_function.name=compute_score",
        # Hydra's +, here and below: a key that verl's own config does not have
        f"+reward.custom_reward_function.reward_kwargs.mode={train.reward}",
        f"actor_rollout_ref.model.path={quote(model)}",
        f"{actor}.strategy=fsdp2",
        f"{actor}.optim.lr={train.learning_rate}",
        f"{actor}.ppo_mini_batch_size={train.mini_batch_size}",
        f"{actor}.clip_ratio_low={train.clip_low}",
        f"{actor}.clip_ratio_high={train.clip_high}",
        f"{actor}.use_kl_loss=False",
        f"{actor}.entropy_coeff=0",
        f"{actor}.checkpoint.save_contents=[model,optimizer,extra,hf_model]",
        f"{actor}.checkpoint.load_contents=[model,optimizer,extra]",
        f"{rollout}.n={train.rollouts}",
        f"{rollout}.temperature={train.temperature}",
        f"{rollout}.seed={config.seed}",
        f"{rollout}.calculate_log_probs=True",
        "trainer.project_name=looptool",
        f"trainer.experiment_name=round_{files.round}",
        f"trainer.default_local_dir={quote(checkpoints(files))}",
        logger(config),
        f"trainer.rollout_data_dir={quote(files.rollouts.resolve())}",
        f"trainer.total_epochs={train.epochs}",
        # with 1 verl removes the last one before it names the new one: a kill between leaves none
        "trainer.max_actor_ckpt_to_keep=2",
        "trainer.val_before_train=False",
    ]


def gpu(config: Config, files: RoundFiles, steps_per_epoch: int) -> list[str]:
    """One to many nodes with NVIDIA GPUs: vLLM, packed sequences, a test after each epoch."""
    train, student = config.train, config.student
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    longest = student.max_prompt_tokens + student.max_response_tokens
    # of a micro batch: four of the longest samples
    tokens = 4 * longest
    packed = attention(config) == "flash_attention_2"
    return [
        *([] if packed else padded()),
        f"actor_rollout_ref.model.use_remove_padding={packed}",
        "actor_rollout_ref.model.enable_gradient_checkpointing=True",
        f"{actor}.use_dynamic_bsz=True",
        f"{actor}.ppo_max_token_len_per_gpu={tokens}",
        f"{actor}.fsdp_config.param_offload=False",
        f"{actor}.fsdp_config.optimizer_offload={train.optimizer_offload}",
        *(in_process(files) if samples_in_process(config) else [
            f"{rollout}.name=vllm",
            f"{rollout}.tensor_model_parallel_size={train.tensor_parallel}",
            f"{rollout}.gpu_memory_utilization={train.gpu_memory_utilization}",
            f"{rollout}.max_model_len={longest}",  # else what the model can, 40,960 for Qwen3
            f"{rollout}.checkpoint_engine.update_weights_bucket_megabytes={BUCKET_MEGABYTES}"]),
        f"{rollout}.log_prob_use_dynamic_bsz=True",
        f"{rollout}.log_prob_max_token_len_per_gpu={tokens}",
        f"trainer.nnodes={train.nodes}",
        f"trainer.n_gpus_per_node={train.gpus_per_node}",
        f"trainer.save_freq={train.save_every or SAVE_EVERY_GPU}",
        f"trainer.test_freq={train.test_every or steps_per_epoch}",
        *(["+ray_kwargs.ray_init.address=local"] if has_own_ray(config) else []),
    ]


def attention(config: Config) -> str:
    """What computes attention in the trainer; see train.attention."""
    chosen = config.train.attention
    if chosen == "auto":
        return "sdpa" if missing_packages(["flash_attn"]) else "flash_attention_2"
    return chosen


def padded() -> list[str]:
    """Without flash-attn: PyTorch's attention on padded rows, as it would see all of a packed one.

    verl's log-probabilities would then loop over tokens in Python, 20,480 times a micro batch
    (verl's utils/torch_functional.py, logprobs_from_logits_v2). Those of its fused kernels go by
    512 tokens and keep no logits (utils/experimental/torch_functional.py).
    """
    return ["+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
            "actor_rollout_ref.model.use_fused_kernels=True",
            "actor_rollout_ref.model.fused_kernel_options.impl_backend=torch"]


def samples_in_process(config: Config) -> bool:
    """Whether rollouts are sampled by grpotool.cpu.verl_rollout."""
    return config.train.profile == "cpu" or config.train.rollout_engine == "transformers"


def in_process(files: RoundFiles) -> list[str]:
    """Rollouts in the process that leads the training."""
    rollout = "actor_rollout_ref.rollout"
    return [
        # rollouts come with their scores
        "reward.num_workers=0",
        "actor_rollout_ref.model.external_lib=grpotool.cpu.verl_rollout",
        f"{rollout}.name={IN_PROCESS}",
        f"+{rollout}.engine_kwargs.{IN_PROCESS}.weights="
        f"{quote(checkpoints(files) / 'rollout.safetensors')}",
        f"+{rollout}.agent.agent_loop_manager_class=grpotool.cpu.verl_rollout.RolloutManager",
        f"{rollout}.tensor_model_parallel_size=1",
        f"{rollout}.free_cache_engine=False",
        f"{rollout}.router_config_path={quote(NO_ROUTER)}",
    ]


SAVE_EVERY, SAVE_EVERY_GPU = 4, 20
"""Steps between two checkpoints; on a CPU one takes 0.05 s."""
BUCKET_MEGABYTES = 4096
"""Of the buffer in which weights go to vLLM. It holds the largest one, the embedding, which has
3.1 GB in Qwen3-32B's float32 (verl's bucketed_weight_transfer.py sends what does not fit apart)."""
PROMPTS_A_MICRO_BATCH = 4
"""On a CPU, with all their rollouts: enough work for two cores, 0.3 GB for a model of 2M
parameters."""


def cpu(config: Config, files: RoundFiles) -> list[str]:
    """One process that trains and one that leads and samples, through grpotool.cpu."""
    train = config.train
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    workers = train.nodes * train.gpus_per_node
    micro = math.gcd(PROMPTS_A_MICRO_BATCH, train.mini_batch_size // workers) * train.rollouts
    precision = f"+{actor}.fsdp_config.mixed_precision"
    return [
        # log-probabilities of the rollouts are the trainer's to 1e-5
        "algorithm.rollout_correction.bypass_mode=True",
        "data.dataloader_num_workers=0",
        *in_process(files),
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        "actor_rollout_ref.model.use_remove_padding=False",
        "actor_rollout_ref.model.enable_gradient_checkpointing=False",
        f"{actor}.calculate_entropy=True",
        f"{actor}.use_torch_compile=False",
        f"{actor}.fsdp_config.use_torch_compile=False",
        *(f"{precision}.{kind}=fp32" for kind in ("param_dtype", "reduce_dtype", "buffer_dtype")),
        f"{actor}.ppo_micro_batch_size_per_gpu={micro}",
        f"{rollout}.log_prob_micro_batch_size_per_gpu={micro}",
        # each of them is an actor of Ray, so a process
        "transfer_queue.backend.SimpleStorage.num_data_storage_units=1",
        "trainer.device=cpu",
        f"trainer.nnodes={train.nodes}",
        f"trainer.n_gpus_per_node={train.gpus_per_node}",
        f"trainer.save_freq={train.save_every or SAVE_EVERY}",
        f"trainer.test_freq={train.test_every or -1}",
        *(own_ray(train.gpus_per_node) if has_own_ray(config) else []),
    ]


def has_own_ray(config: Config) -> bool:
    """Whether the training starts a Ray for itself; else it joins that of $RAY_ADDRESS."""
    alone = config.train.profile == "cpu" or "RAY_ADDRESS" not in os.environ
    return alone and config.train.nodes == 1


def own_ray(gpus: int) -> list[str]:
    """A Ray for this training alone, with logical GPUs for verl's placement."""
    return [
        "+ray_kwargs.ray_init.address=local",
        "ray_kwargs.ray_init.num_cpus=16",  # logical ones: verl places each of its actors on one
        f"+ray_kwargs.ray_init.num_gpus={gpus}",
        "+ray_kwargs.ray_init.include_dashboard=False",
    ]


def through_ray(config: Config, files: RoundFiles) -> list[str]:
    """The variables for verl's processes, which a Ray that ran before this training would start
    without them."""
    place = "+ray_kwargs.ray_init.runtime_env.env_vars"
    return [f"{place}.{name}={quote(value)}" for name, value in variables(config, files).items()]


def compose(config: Config, files: RoundFiles, model: str, steps_per_epoch: int,
            resume: Path | None) -> list[str]:
    """The whole list; `resume` is a checkpoint folder of the same round, None for a new optimizer.

    Raises:
        InputError: train.verl sets what is set here, or is no list of key=value.
    """
    machine = cpu(config,
                  files) if config.train.profile == "cpu" else gpu(config, files, steps_per_epoch)
    begin = ["trainer.resume_mode=disable"] if resume is None else [
        "trainer.resume_mode=resume_path", f"trainer.resume_from_path={quote(resume.resolve())}"]
    reached = [] if has_own_ray(config) else through_ray(config, files)
    ours = [*common(config, files, model), *machine, *reached, *begin]
    refuse_conflicts(ours, config.train.verl)
    return [*ours, *config.train.verl]


def verl_command(config: Config, files: RoundFiles, model: str, steps_per_epoch: int,
                 resume: Path | None) -> list[str]:
    """What starts verl; see `compose`."""
    module = "grpotool.cpu.verl_main" if samples_in_process(config) else "verl.trainer.main_ppo"
    return [sys.executable, "-m", module, *compose(config, files, model, steps_per_epoch, resume)]


def quote(value: Path | str) -> str:
    """A value as Hydra reads it back whole, whatever characters a folder's name has."""
    # Hydra takes backslashes as they are, but not before a quote or at the end
    escaped = re.sub(r"(\\+)(?='|$)", r"\1\1", str(value)).replace("'", r"\'")
    return f"'{escaped}'"


def logger(config: Config) -> str:
    """What a training writes its metrics to."""
    names = ",".join(["console", "file", "tensorboard", *config.train.trackers])
    return f"trainer.logger=[{names}]"


def checkpoints(files: RoundFiles) -> Path:
    """The folder of a round's checkpoints, global_step_N each."""
    return (files.training / "checkpoints").resolve()


def variables(config: Config, files: RoundFiles) -> dict[str, str]:
    """What verl's processes find in their environment: where to log, and our module for them."""
    shared = {"VERL_FILE_LOGGER_PATH": str(files.verl_metrics.resolve()),
              "TENSORBOARD_DIR": str((files.training / "tensorboard").resolve()),
              "TOKENIZERS_PARALLELISM": "false", "RAY_USAGE_STATS_ENABLED": "0"}
    if config.train.profile == "gpu":
        return {**shared, "VERL_USE_EXTERNAL_MODULES": "grpotool.verl_run.gpu"}
    return {**shared, "VERL_USE_EXTERNAL_MODULES": "grpotool.cpu.verl_platform",
            # Ray's default is 15: beside other load its workers hardly run
            "RAY_worker_niceness": "0",
            # else Ray sets it to the CPUs that an actor asks for
            "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(os.cpu_count()))}


def environment(config: Config, files: RoundFiles) -> dict[str, str]:
    """The environment that verl is started with: this process's own and `variables`."""
    env = {**os.environ, **variables(config, files)}
    if config.train.profile == "cpu":
        env.pop("CUDA_VISIBLE_DEVICES", None)  # Ray stops at an empty one
    if has_own_ray(config):
        env.pop("RAY_ADDRESS", None)
        env |= {"RAY_AUTH_MODE": "disabled"} if config.train.profile == "cpu" else own_token()
    return env
