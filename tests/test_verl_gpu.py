"""What verl's processes on GPUs are told beyond their keys, and verl's own engine with the settings
of a machine without flash-attn; all on a CPU, in this process and without Ray."""
from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_policy import make_policy

from grpotool.verl_run.overrides import IN_PROCESS, compose, padded
from looptool.config_file import ROOT, load_config
from looptool.run_files import RoundFiles

pytestmark = pytest.mark.slow
IN_A_WORKER = """
import torch, verl
from verl.utils.checkpoint import fsdp_checkpoint_manager
from verl.workers import engine_workers
engine_workers.initialize_global_process_group_ray(timeout_second=None, backend="cpu:gloo")
world = torch.distributed.group.WORLD._get_backend(torch.device("cpu"))
model = torch.nn.BatchNorm1d(2)
model.weight.data[:] = 1 + 2 ** -10
gather = fsdp_checkpoint_manager.get_fsdp_full_state_dict
state = gather(model, offload_to_cpu=True, rank0_only=True)
print(int(world.options._timeout.total_seconds()), state["weight"].dtype, state["weight"][0].item(),
      state["num_batches_tracked"].dtype, model.weight.dtype)
"""


def free_port() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


@pytest.mark.parametrize("module, expected", [
    ("grpotool.verl_run.gpu", "7200 torch.bfloat16 1.0 torch.int64 torch.float32"),
    ("", "1800 torch.float32 1.0009765625 torch.int64 torch.float32")])
def test_a_worker_waits_longer_and_exports_in_bfloat16(module, expected):
    """verl as it is beside it, so that a version that needs our module no more is seen."""
    inherited = {name: value for name, value in os.environ.items() if "VERL" not in name}
    env = {**inherited, "VERL_USE_EXTERNAL_MODULES": module, "RANK": "0", "WORLD_SIZE": "1",
           "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port()}
    done = subprocess.run([sys.executable, "-c", IN_A_WORKER], capture_output=True, text=True,
                          env=env, cwd=ROOT)
    assert done.stdout.split("\n")[-2:] == [expected, ""], done.stderr


SEQUENCES = [([5, 6, 7, 8, 9], [10, 11, 2]), ([12, 13], [14, 15, 16, 17, 2]), ([5, 6], [20, 2])]
"""Prompt and answer."""


def worker_with(tmp_path: Path, policy: Path, settings: list[str]):
    """verl's own training worker and engine, as on a GPU, in float32."""
    from hydra import compose as compose_config
    from hydra import initialize_config_module
    from verl.workers.engine_workers import ActorRolloutRefWorker

    config = load_config(ROOT / "configs" / "laptop.yaml", [
        f"run_dir={tmp_path}", f"student.model={policy}", "train.rollouts=1", "train.batch_size=3",
        "train.mini_batch_size=3", "train.learning_rate=1.0e-3"])
    run = compose(config, RoundFiles(tmp_path, 1), str(policy), 5, None)
    ours = [line for line in run if "attn_implementation" not in line
            and "ppo_micro_batch_size" not in line]
    with initialize_config_module("verl.trainer.config", version_base=None):
        composed = compose_config(config_name="ppo_trainer", overrides=[
            *ours, "actor_rollout_ref.actor.use_dynamic_bsz=True",
            "actor_rollout_ref.actor.ppo_max_token_len_per_gpu=64", *settings])
    assert composed.actor_rollout_ref.rollout.name == IN_PROCESS
    worker = ActorRolloutRefWorker(composed.actor_rollout_ref, "actor_rollout")
    worker.init_model()
    return worker


def batch():
    """The sequences as verl's queue gives them back, and an advantage for each token."""
    import torch
    from tensordict import TensorDict

    def jagged(parts):
        return torch.nested.as_nested_tensor([torch.tensor(part) for part in parts],
                                             layout=torch.jagged)

    whole = [prompt + answer for prompt, answer in SEQUENCES]
    answers = [answer for _, answer in SEQUENCES]
    ones = [[1] * len(answer) for answer in answers]
    return TensorDict({
        "prompts": jagged([prompt for prompt, _ in SEQUENCES]), "responses": jagged(answers),
        "input_ids": jagged(whole), "position_ids": jagged([list(range(len(w))) for w in whole]),
        "response_mask": jagged(ones), "loss_mask": jagged(ones),
        "advantages": jagged([[1.0] * len(one) for one in ones]),
        "old_log_probs": jagged([[-5.6] * len(one) for one in ones])}, batch_size=[len(whole)])


@pytest.fixture
def alone(monkeypatch):
    """A world of one process on a CPU, with the engine that GPUs have."""
    for name, value in {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0",
                        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": free_port(),
                        "VERL_ENGINE_DEVICE": "cuda",
                        "VERL_USE_EXTERNAL_MODULES": "grpotool.cpu.verl_platform"}.items():
        monkeypatch.setenv(name, value)


def test_without_flash_attn_fused_kernels_have_the_same_values_and_gradient(tmp_path, alone,
                                                                            monkeypatch):
    import torch
    from transformers import Qwen3ForCausalLM
    from verl.utils import tensordict_utils as tu
    from verl.utils.experimental.torch_functional import FusedLinearForPPO

    monkeypatch.setattr(Qwen3ForCausalLM, "forward", Qwen3ForCausalLM.forward)  # verl replaces it
    used, forward = [], FusedLinearForPPO.forward
    monkeypatch.setattr(FusedLinearForPPO, "forward",
                        lambda self, *args, **by: used.append(1) or forward(self, *args, **by))
    policy = make_policy(tmp_path / "policy")
    plain = ["+actor_rollout_ref.model.override_config.attn_implementation=sdpa"]
    results = []
    for settings in (plain, padded()):
        worker, given = worker_with(tmp_path, policy, settings), batch()
        tu.assign_non_tensor(given, temperature=0.7, calculate_entropy=True, compute_loss=False,
                             global_token_num=None)
        read = worker.compute_log_prob(given)
        given = batch()
        tu.assign_non_tensor(given, temperature=0.7, calculate_entropy=True, global_batch_size=3,
                             mini_batch_size=3, epochs=1, seed=0,
                             dataloader_kwargs={"shuffle": False})
        metrics = tu.get(worker.update_actor(given), "metrics")
        results.append((read["log_probs"].values(), read["entropy"].values(),
                        metrics["grad_norm"][0], len(used)))
    (plain_probs, plain_entropy, plain_norm, unused), (probs, entropy, norm, uses) = results
    assert unused == 0 < uses
    inside = torch.cat([torch.tensor([False] * (len(prompt) - 1) + [True] * len(answer) + [False])
                        for prompt, answer in SEQUENCES])
    assert torch.allclose(probs[inside], plain_probs[inside], atol=1e-5)
    assert torch.allclose(entropy[inside], plain_entropy[inside], atol=1e-4)
    assert norm == pytest.approx(plain_norm, rel=1e-4) and norm > 0.1


def test_an_export_has_lora_merged(tmp_path, alone):
    """The folder that a checkpoint leaves has the answers of the model that was trained."""
    import torch
    from transformers import AutoModelForCausalLM
    from verl.utils import tensordict_utils as tu

    policy = make_policy(tmp_path / "policy")
    worker = worker_with(tmp_path, policy, [
        "+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
        "actor_rollout_ref.model.lora_rank=4", "actor_rollout_ref.model.lora.merge=True"])
    adapters = [weight for name, weight in worker.actor.engine.module.named_parameters()
                if "lora_B" in name]
    assert adapters
    for weight in adapters:  # zero in a new adapter
        torch.nn.init.normal_(weight.data.to_local(), std=0.2)
    given = batch()
    tu.assign_non_tensor(given, temperature=1.0, calculate_entropy=False, compute_loss=False,
                         global_token_num=None)
    trained = worker.compute_log_prob(given)["log_probs"].unbind()
    worker.save_checkpoint(str(tmp_path / "checkpoint"))
    again = worker.compute_log_prob(given)["log_probs"].unbind()
    folder = tmp_path / "checkpoint" / "huggingface"
    exported, untrained = (AutoModelForCausalLM.from_pretrained(path, dtype="float32")
                           for path in (folder, policy))
    for row, (prompt, answer) in enumerate(SEQUENCES):
        ids, place = torch.tensor([prompt + answer]), slice(len(prompt) - 1, -1)
        with torch.no_grad():
            one, other = (model(input_ids=ids).logits[0, place].log_softmax(-1).gather(
                1, torch.tensor(answer)[:, None])[:, 0] for model in (exported, untrained))
        assert torch.allclose(one, trained[row][place], atol=1e-4)
        assert torch.equal(trained[row], again[row]) and (one - other).abs().max() > 0.01
