"""verl on a CPU: the sampler against plain transformers, the parts against verl's own, and a
training that is killed.

Everything but the last test runs in one process without Ray: verl's real training worker, engine,
agent loop and reward.
"""
from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from programs import until
from test_verl_parts import prompt_of_agent_loop
from tiny_policy import make_policy

from grpotool.verl_run.overrides import compose
from grpotool.verl_run.process import read_lines
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.ids import sample_id
from looptool.json_lines import write_jsonl
from looptool.records import Call, Message, Sample, Tool
from looptool.run_files import RoundFiles
from looptool.stages.follow import is_running

pytestmark = pytest.mark.slow
PROMPTS = [[5, 6, 7, 8, 9], [11, 12], list(range(20, 45))]


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return make_policy(tmp_path_factory.mktemp("policy"))


def laptop(folder: Path, policy: Path, *overrides: str) -> Config:
    sizes = ["train.batch_size=4", "train.mini_batch_size=4", "train.rollouts=3",
             "student.max_response_tokens=24", "student.max_prompt_tokens=900",
             "train.learning_rate=1.0e-3", *overrides]
    return load_config(ROOT / "configs" / "laptop.yaml",
                       [f"run_dir={folder}", f"student.model={policy}", *sizes])


def tasks(count: int) -> list[Sample]:
    tool = Tool(name="find",
                parameters={"type": "object", "properties": {"city": {"type": "string"}},
                            "required": ["city"]})
    samples = []
    for number in range(count):
        messages = [Message(role="user", content=f"Find city {number} " + "please " * (number % 7))]
        label = Message(role="assistant",
                        calls=[Call(name="find", arguments={"city": str(number)})])
        samples.append(Sample(id=sample_id([tool], "unknown", messages, label), tools=[tool],
                              date="unknown", messages=messages, label=label))
    return samples


# The sampler, by plain transformers


@pytest.fixture(scope="module")
def models(policy):
    from transformers import AutoModelForCausalLM

    from looptool.models.decoding import ATTENTION

    return [AutoModelForCausalLM.from_pretrained(policy, attn_implementation=name).eval()
            for name in (ATTENTION, "sdpa")]


def draw(model, counts, temperature=1.0, seed=0, max_tokens=40, ends=(2,), prompts=PROMPTS):
    import torch

    from looptool.models.decoding import decode, draws

    return decode(model, prompts, max_tokens, ends,
                  draws(temperature, torch.Generator().manual_seed(seed)), counts)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probabilities_are_those_of_a_plain_forward(models, temperature):
    import torch

    ends = tuple(range(2, 60))  # answers of many lengths, so that rows and prompts leave the batch
    drawn = draw(models[0], [5, 1, 3], temperature, ends=ends)
    assert [len(some) for some in drawn] == [5, 1, 3]
    assert len({len(answer.tokens) for some in drawn for answer in some}) > 3
    for prompt, some in zip(PROMPTS, drawn, strict=True):
        for answer in some:
            with torch.no_grad():
                logits = models[1](input_ids=torch.tensor([prompt + answer.tokens])).logits[
                    0, len(prompt) - 1:-1]
            plain = (logits / temperature).log_softmax(-1).gather(
                1, torch.tensor(answer.tokens)[:, None])[:, 0]
            assert torch.allclose(plain, torch.tensor(answer.log_probs), atol=1e-5)
            assert (answer.ended == (answer.tokens[-1] in ends)
                    and not set(answer.tokens[:-1]) & set(ends))


def test_greedy_is_what_transformers_generates(models):
    import torch

    drawn = draw(models[0], [1, 1, 1], temperature=0)
    for prompt, (answer,) in zip(PROMPTS, drawn, strict=True):
        ids = torch.tensor([prompt])
        generated = models[1].generate(input_ids=ids, attention_mask=torch.ones_like(ids),
                                       do_sample=False, max_new_tokens=40, eos_token_id=2,
                                       pad_token_id=0)[0, len(prompt):].tolist()
        assert answer.tokens == generated


def test_draws_follow_the_distribution(models):
    import torch

    (drawn,) = draw(models[0], [4000], max_tokens=1, prompts=PROMPTS[:1])
    seen = torch.bincount(torch.tensor([answer.tokens[0] for answer in drawn]),
                          minlength=models[1].config.vocab_size) / 4000
    with torch.no_grad():
        expected = models[1](input_ids=torch.tensor(PROMPTS[:1])).logits[0, -1].softmax(-1)
    assert (seen - expected).abs().sum() / 2 < 0.5 * (len(expected) / 4000) ** 0.5 + 0.02


def test_draws_depend_on_the_seed_alone(models):
    tokens = [[[answer.tokens for answer in some] for some in draw(models[0], [3, 2, 2], seed=seed)]
              for seed in (1, 1, 2)]
    assert tokens[0] == tokens[1] != tokens[2]


def test_limit_of_an_answer(models):
    drawn = draw(models[0], [2, 2, 2], max_tokens=9, ends=(1,))
    assert all(len(answer.tokens) == 9 and not answer.ended for some in drawn for answer in some)


# verl's parts


def test_platform_is_the_cpu():
    script = ("from verl.plugin.platform.platform_manager import get_platform; from "
              "verl.utils.device import *;p = get_platform(); print(p.device_name, "
              "get_device_name(), get_torch_device().memory_allocated(), "
              "get_torch_device().mem_get_info(), p.ray_resource_options(1), "
              "p.communication_backend_name())")
    env = {**os.environ, "VERL_USE_EXTERNAL_MODULES": "grpotool.cpu.verl_platform"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=env,
                          check=True)
    assert done.stdout.split("\n")[-2] == "cpu cpu 0 (0, 0) {'num_gpus': 1} gloo"


@pytest.fixture(scope="module")
def verl(tmp_path_factory, policy):
    """verl's config, its training worker and our rollout manager, in this process and without
    Ray."""
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port),
                   "VERL_USE_EXTERNAL_MODULES": "grpotool.cpu.verl_platform"}
    from hydra import compose as compose_config
    from hydra import initialize_config_module

    folder = tmp_path_factory.mktemp("run")
    run = compose(laptop(folder, policy), RoundFiles(folder, 1), str(policy), 5, None)
    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose_config(config_name="ppo_trainer", overrides=run)
    from verl.workers.engine_workers import ActorRolloutRefWorker

    from grpotool.cpu.verl_rollout import RolloutManager

    worker = ActorRolloutRefWorker(config.actor_rollout_ref, "actor_rollout")
    worker.init_model()
    return SimpleNamespace(config=config, worker=worker, manager=RolloutManager(config))


def batch_of(samples: list[Sample], step: int = 1):
    from tensordict import NonTensorData, NonTensorStack, TensorDict

    from grpotool.dataset.utils.json2parquet import make_row

    config = laptop(Path("unused"), Path("unused"))
    rows = [make_row(one, index, "train", config) for index, one in enumerate(samples)]
    columns = {"raw_prompt": [row["prompt"] for row in rows],
               "uid": [f"u{i}" for i in range(len(rows))],
               **{key: [row[key] for row in rows]
                  for key in ("data_source", "reward_model", "extra_info")}}
    batch = TensorDict({key: NonTensorStack(*values) for key, values in columns.items()},
                       batch_size=len(rows))
    batch["global_steps"] = NonTensorData(step)
    return batch


def rollouts(verl, monkeypatch, samples: list[Sample], step: int = 1):
    """What the manager puts into verl's queue, as the queue gives it back: rollouts, and then the
    prompts' marks."""
    import torch
    import transfer_queue

    puts = []
    monkeypatch.setattr(transfer_queue, "kv_batch_put", lambda **put: puts.append(put))
    asyncio.run(verl.worker.update_weights(global_steps=step - 1, mode="naive"))
    verl.manager.generate_sequences(batch_of(samples, step))
    for name, column in list(puts[0]["fields"].items()):
        if isinstance(column, torch.Tensor):
            puts[0]["fields"][name] = torch.nested.as_nested_tensor(list(column.unbind()),
                                                                    layout=torch.jagged)
    return puts


def plain_logits(verl, policy: Path, data, row: int):
    """By transformers alone, one sequence at a time, with the weights that the training worker
    wrote."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(policy, attn_implementation="sdpa")
    model.load_state_dict(load_file(
        verl.config.actor_rollout_ref.rollout.engine_kwargs.in_process.weights), strict=False)
    model.tie_weights()
    prompt, answer = data["prompts"][row], data["responses"][row]
    logits = model(input_ids=torch.cat((prompt, answer))[None]).logits[0, len(prompt) - 1:-1]
    return model, logits, answer


def test_prompts_are_the_tokens_of_verls_agent_loop(verl):
    chat = [{"role": "system", "content": "a <tools>\n{}\n</tools>"},
            {"role": "user", "content": "größe <think> 漢"}]
    ids = prompt_of_agent_loop(verl.config, verl.manager.tokenizer, chat)
    assert verl.manager.read_prompt(chat) == ids
    assert "<tools>" in verl.manager.tokenizer.decode(ids, skip_special_tokens=True)


def test_a_prompt_is_never_cut(verl):
    with pytest.raises(ValueError, match="too many"):
        verl.manager.read_prompt([{"role": "user", "content": "x" * 1000}])


def test_only_sampling_by_temperature(verl, monkeypatch):
    from omegaconf import OmegaConf

    monkeypatch.setattr(verl.manager, "rollout",
                        OmegaConf.merge(verl.manager.rollout, {"top_p": 0.9}))
    with pytest.raises(ValueError, match="top_p=0.9"):
        verl.manager.generate_sequences(batch_of(tasks(1)))


@pytest.mark.parametrize("lengths, fits, expected", [
    ([3, 3, 3, 3], 1000, [4]), ([3, 3, 3, 3], 46, [2, 2]), ([3, 3, 3, 3], 45, [1, 1, 1, 1]),
    ([3, 3, 13, 3], 66, [2, 2]), ([99, 3, 3], 5, [1, 1, 1]), ([], 5, [])])
def test_prompts_are_sampled_together_as_far_as_they_fit(lengths, fits, expected):
    """With 2 answers of up to 10 tokens each."""
    from grpotool.cpu.verl_rollout import chunks

    prompts = [[number] * length for number, length in enumerate(lengths)]
    together = list(chunks(prompts, 2, 10, fits))
    assert [len(some) for some in together] == expected
    assert [prompt for some in together for prompt in some] == prompts
    for some in together:
        assert len(some) == 1 or len(some) * (max(map(len, some)) + 20) <= fits


def test_memory_of_a_token_is_what_the_sampler_keeps(models):
    """Of the real sampler's keys and values; Table 6 with Qwen3-0.6B would need 601 GB at once."""
    from transformers import Qwen3Config

    from grpotool.cpu.verl_rollout import bytes_a_token
    from looptool.models.decoding import Memory

    kept = []
    append = Memory.append
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Memory, "append",
                      lambda self, *args: kept.append(self) or append(self, *args))
        draw(models[0], [3, 3, 3], max_tokens=7, ends=(1,))
    stored = [*kept[-1].prompts.values(), *kept[-1].answers.values()]
    tokens = len(PROMPTS) * (max(map(len, PROMPTS)) + 3 * 7)
    assert sum(part.nbytes for pair in stored for part in pair) == (
        tokens * bytes_a_token(models[0].config))
    small = Qwen3Config(num_hidden_layers=28, num_key_value_heads=8, head_dim=128)
    assert 128 * (4096 + 16 * 1024) * bytes_a_token(small) / 1e9 == pytest.approx(601.3, abs=0.1)


def test_only_the_first_rank_keeps_the_weights(verl, tmp_path, monkeypatch):
    """Others walk through them, as each is gathered by all; what is written comes back."""
    import gc

    import torch
    from omegaconf import OmegaConf
    from safetensors.torch import load_file

    from grpotool.cpu.verl_rollout import WeightsFile

    def gathered():
        for number in range(5):
            alive.append(sum(isinstance(one, torch.Tensor) and one.shape == (7, 13)
                             for one in gc.get_objects()))
            yield str(number), torch.full((7, 13), float(number), dtype=torch.bfloat16)

    rollout = SimpleNamespace(config=OmegaConf.create(
        {"engine_kwargs": {"in_process": {"weights": str(tmp_path / "weights")}}}))
    for rank, kept in (("1", 1), ("0", 4)):
        alive: list[int] = []
        monkeypatch.setenv("RANK", rank)
        asyncio.run(WeightsFile.update_weights(rollout, gathered()))
        assert alive[-1] == kept and (tmp_path / "weights").exists() == (rank == "0")
    assert {name: weight[0, 0].item() for name, weight in load_file(tmp_path / "weights").items()
            } == {str(number): float(number) for number in range(5)}


@pytest.mark.parametrize("reply, score, reason", [
    ('<tool_call>\n{"name": "find", "arguments": {"city": "0"}}\n</tool_call>', 1.0, "match"),
    ('<think>so</think><tool_call>{"name": "find", "arguments": {"city": "1"}}</tool_call>', 0.0,
     None), ("Rome", 0.0, None)])
def test_reward_sees_the_tags_of_a_reply(verl, reply, score, reason):
    from grpotool.cpu.verl_rollout import read_rows
    from looptool.models.decoding import Answer

    tokens = verl.manager.tokenizer(reply)["input_ids"] + [verl.manager.tokenizer.eos_token_id]
    (row,) = read_rows(batch_of(tasks(1)))
    fields = verl.manager.make_fields(row, [5, 6, 7], Answer(tokens, [-1.0] * len(tokens), True))
    assert fields["rm_scores"].tolist() == [0.0] * (len(tokens) - 1) + [score]
    info = fields["extra_fields"]["reward_extra_info"]
    assert (info["score"] == score and info["reason"]
            and (reason is None or info["reason"] == reason))
    assert fields["input_ids"].tolist() == [5, 6, 7, *tokens]


def test_validation_goes_to_its_own_partition(verl, monkeypatch):
    import transfer_queue
    from verl.utils import tensordict_utils as tu

    puts = []
    monkeypatch.setattr(transfer_queue, "kv_batch_put", lambda **put: puts.append(put))
    asyncio.run(verl.worker.update_weights(global_steps=0, mode="naive"))
    batch = batch_of(tasks(2))
    tu.assign_non_tensor_data(batch, "validate", True)  # as verl's trainer does
    verl.manager.generate_sequences(batch)
    assert [put["partition_id"] for put in puts] == ["val", "val"]
    draws = verl.config.actor_rollout_ref.rollout.val_kwargs.n
    assert puts[0]["keys"] == [f"u{row}_{draw}_0" for row in range(2) for draw in range(draws)]


@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_trainer_sees_rollouts_as_they_were_drawn(verl, policy, monkeypatch, temperature):
    import torch
    from verl.utils import tensordict_utils as tu

    put, prompts = rollouts(verl, monkeypatch, tasks(4))
    assert (prompts["keys"] == ["u0", "u1", "u2", "u3"]
            and prompts["tags"][0]["status"] == "finished")
    assert len(set(put["keys"])) == 12 and {key.split("_")[0]
                                            for key in put["keys"]} == set(prompts["keys"])
    lengths = [tag["prompt_len"] for tag in put["tags"]]
    assert lengths == sorted(lengths)
    data = put["fields"]
    given = data.copy()
    tu.assign_non_tensor(given, temperature=temperature, calculate_entropy=True, compute_loss=False,
                         global_token_num=None)
    output = verl.worker.compute_log_prob(given)
    for row in range(12):
        with torch.no_grad():
            _, logits, answer = plain_logits(verl, policy, data, row)
        plain = (logits / temperature).log_softmax(-1)
        place = slice(len(data["prompts"][row]) - 1, -1)
        assert torch.allclose(output["log_probs"][row][place],
                              plain.gather(1, answer[:, None])[:, 0], atol=1e-5)
        assert torch.allclose(output["entropy"][row][place], -(plain.exp() * plain).sum(-1),
                              atol=1e-4)
        if temperature == 1.0:
            assert torch.allclose(output["log_probs"][row][place], data["rollout_log_probs"][row],
                                  atol=1e-5)


def test_an_update_has_the_gradient_of_separate_rows_and_reaches_the_sampler(verl, policy,
                                                                             monkeypatch):
    import torch
    from verl.utils import tensordict_utils as tu

    put, _ = rollouts(verl, monkeypatch, tasks(4), step=5)
    data = put["fields"]
    advantages = [torch.full((len(answer),), row % 3 - 1.0)
                  for row, answer in enumerate(data["responses"].unbind())]
    squares, tokens = 0.0, sum(map(len, advantages))
    gradients: dict[str, torch.Tensor] = {}
    for row, advantage in enumerate(advantages):
        model, logits, answer = plain_logits(verl, policy, data, row)
        chosen = logits.log_softmax(-1).gather(1, answer[:, None])[:, 0]
        (-(chosen * advantage).sum() / tokens).backward()
        for name, weight in model.named_parameters():
            gradients[name] = gradients.get(name, 0) + weight.grad
    squares = sum(float((gradient ** 2).sum()) for gradient in gradients.values())

    given = data.copy()
    given["advantages"] = torch.nested.as_nested_tensor(advantages, layout=torch.jagged)
    given["old_log_probs"] = given["rollout_log_probs"]
    tu.assign_non_tensor(given, temperature=1.0, calculate_entropy=True, global_batch_size=12,
                         mini_batch_size=12, epochs=1, seed=0, dataloader_kwargs={"shuffle": False})
    metrics = tu.get(verl.worker.update_actor(given), "metrics")
    assert metrics["grad_norm"][0] == pytest.approx(squares ** 0.5, rel=1e-4)
    assert abs(metrics["actor/ppo_kl"][0]) < 1e-6 and metrics["actor/pg_clipfrac"][0] == 0

    before = {name: weight.clone() for name, weight in verl.manager.model.state_dict().items()}
    after, _ = rollouts(verl, monkeypatch, tasks(4), step=6)
    moved = [name for name, weight in verl.manager.model.state_dict().items()
             if not torch.equal(weight, before[name])]
    assert len(moved) == len(before)
    given = after["fields"].copy()
    tu.assign_non_tensor(given, temperature=1.0, calculate_entropy=False, compute_loss=False,
                         global_token_num=None)
    output = verl.worker.compute_log_prob(given)
    for row in range(12):
        place = slice(len(after["fields"]["prompts"][row]) - 1, -1)
        assert torch.allclose(output["log_probs"][row][place],
                              after["fields"]["rollout_log_probs"][row], atol=1e-5)


# A whole training


def descendants(pid: int) -> list[int]:
    """Processes that a training started, itself included."""
    found = [pid]
    for process in found:
        children = Path(f"/proc/{process}/task/{process}/children")
        found += [int(child) for child in children.read_text().split()] if children.exists() else []
    return found


def kill_when_saved(command: list, tracker: Path, env: dict[str, str]) -> list[int]:
    """Start a training, and SIGKILL it once it has saved its second step; what it had started, all
    of which has ended."""
    process = subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True)
    while not (tracker.exists() and tracker.read_text() >= "2"):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    started = descendants(process.pid)
    process.kill()
    process.wait()
    until(lambda: not any(map(is_running, started)))
    return started


@contextmanager
def prompts_by_step(files: RoundFiles):
    """The prompts that each step drew, filled at the end; a step's dump is kept by a second name
    before it is removed."""
    kept, drawn, ended = files.folder / "kept", {}, threading.Event()
    kept.mkdir(parents=True, exist_ok=True)

    def link():
        while not ended.wait(0.02):
            for dump in list(files.rollouts.glob("*.jsonl")) if files.rollouts.exists() else []:
                with suppress(FileExistsError, FileNotFoundError):
                    os.link(dump, kept / dump.name)

    watcher = threading.Thread(target=link)
    watcher.start()
    try:
        yield drawn
    finally:
        ended.set()
        watcher.join()
        for dump in kept.iterdir():
            drawn[int(dump.stem)] = sorted(
                {json.loads(line)["input"] for line in dump.read_text().splitlines()})


def test_a_killed_training_goes_on_and_the_next_round_begins_anew(tmp_path, policy):
    """SIGKILL after a checkpoint; then another setting is refused, and the same training runs to
    its end, each row once."""
    files, later = RoundFiles(tmp_path, 1), RoundFiles(tmp_path, 2)
    write_jsonl(files.dataset, tasks(9))
    write_jsonl(later.dataset, tasks(30)[-7:])
    sizes = ["train.batch_size=2", "train.mini_batch_size=2", "train.rollouts=2",
             "student.max_response_tokens=8", "student.max_prompt_tokens=900",
             "train.learning_rate=1.0e-3", "train.save_every=1"]
    flags = [word for override in [f"run_dir={tmp_path}", f"student.model={policy}", *sizes]
             for word in ("--set", override)]
    convert, train = (ROOT / "grpotool" / name
                      for name in ("dataset/utils/json2parquet.py", "train.py"))
    env = {**os.environ, "CI": "1"}

    def run(script: Path, *more: str, round: str = "1"):
        return subprocess.run([sys.executable, script, "--round", round, *flags, *more],
                              capture_output=True, text=True, env=env)

    assert run(convert).returncode == run(convert, round="2").returncode == 0
    tracker = files.training / "checkpoints" / "latest_checkpointed_iteration.txt"
    with prompts_by_step(files) as drawn:
        kill_when_saved([sys.executable, train, "--round", "1", *flags], tracker, env)
        assert not files.policy.exists()
        saved = int(tracker.read_text())

        refused = run(train, "--set", "train.learning_rate=2.0e-3")
        assert refused.returncode == 2 and "learning_rate" in refused.stderr
        second = run(train)
    assert second.returncode == 0, second.stderr
    assert second.stderr.splitlines()[-1].startswith(
        "train: round 1: 8 rows -> 4 steps, reward 0.00 -> 0.00 (zeros: "), second.stderr
    steps = [step for step, _ in read_lines(files.training / "metrics.jsonl")]
    # whose line verl writes after its checkpoint
    assert steps == sorted(set(steps)) and {1, 2, 3, 4} - set(steps) <= {saved}
    assert {1, 2, 3, 4} - set(drawn) <= {saved}  # the same for its rollouts
    rows = [prompt for step in drawn.values() for prompt in step]
    assert len(rows) == len(set(rows)) == 2 * len(drawn) and set(rows) <= set(prompts_of(files))
    log = (files.training / "verl.log").read_text(errors="replace")
    assert "Resuming from" in log and "setting global step to " in log
    assert list((files.training / "tensorboard").iterdir())

    from transformers import AutoModelForCausalLM, AutoTokenizer

    trained, start = (AutoModelForCausalLM.from_pretrained(folder)
                      for folder in (files.policy, policy))
    assert trained.generation_config.eos_token_id == 2
    assert AutoTokenizer.from_pretrained(files.policy).get_vocab() == AutoTokenizer.from_pretrained(
        policy).get_vocab()
    assert not (files.training / "checkpoints").exists()
    assert trained.config.vocab_size == start.config.vocab_size
    again = run(train)
    assert again.returncode == 0 and "already trained" in again.stderr
    assert json.loads((tmp_path / "round_1" / "policy.meta.json").read_text())["counts"] == {
        "steps": 4}

    with prompts_by_step(later) as drawn:
        next_round = run(train, "--set", "train.test_every=3", round="2")
    assert next_round.returncode == 0, next_round.stderr
    # the held-out rows were asked at step 3
    assert '"val-' in (later.training / "metrics.jsonl").read_text()
    assert sorted(drawn) == [1, 2, 3]
    assert sorted(prompt for step in drawn.values() for prompt in step) == prompts_of(later)


@pytest.mark.cluster
def test_two_workers_shard_and_train_as_one(tmp_path, policy):
    """The same step by one worker and by two, which hold half of each weight: the same policy, up
    to rounding."""
    from safetensors.torch import load_file

    weights = []
    for workers in (1, 2):
        files = RoundFiles(tmp_path / str(workers), 1)
        # right without a call: so random replies earn both rewards
        text = Message(role="assistant", content="Fine.")
        write_jsonl(files.dataset, [msgspec.structs.replace(one, label=text) for one in tasks(5)])
        flags = [word for override in [
            f"run_dir={tmp_path / str(workers)}", f"student.model={policy}",
            f"train.gpus_per_node={workers}", "train.batch_size=4", "train.mini_batch_size=4",
            "train.rollouts=4", "student.max_response_tokens=24", "student.max_prompt_tokens=900",
            "train.learning_rate=1.0e-3"] for word in ("--set", override)]
        for script in ("dataset/utils/json2parquet.py", "train.py"):
            subprocess.run([sys.executable, ROOT / "grpotool" / script, "--round", "1", *flags],
                           check=True)
        weights.append(load_file(files.policy / "model.safetensors"))
    log = (files.training / "verl.log").read_text(errors="replace")
    assert len(set(re.findall(r"WorkerDict pid=(\d+)", log))) == 2
    start = load_file(policy / "model.safetensors")
    for name, one in weights[0].items():
        assert (one.float() - weights[1][name].float()).abs().max() < 1e-4
    assert max(float((one.float() - start[name].float()).abs().max())
               for name, one in weights[0].items()) > 5e-4


def prompts_of(files: RoundFiles) -> list[str]:
    """The rows to train on as verl's dump shows them: the chat template's text, without special
    tokens."""
    import pyarrow.parquet as pq

    return sorted("".join(f"{turn['role']}\n{turn['content']}\n" for turn in prompt) + "assistant\n"
                  for prompt in pq.read_table(files.train_parquet)["prompt"].to_pylist())
