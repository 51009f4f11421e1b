"""The cold start: what it trains on, what verl is told, that it goes on after a kill, and that GRPO
begins from it."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from test_verl_cpu import kill_when_saved, tasks
from tiny_policy import make_policy

from grpotool.cold_start import train as cold_start
from grpotool.cold_start.overrides import compose, sft_command
from grpotool.verl_run.process import read_lines
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.json_lines import write_jsonl
from looptool.prompts.render import render_sample
from looptool.records import Message, Sample
from looptool.run_files import RoundFiles, first_policy

ROWS, STEPS = 10, 6
SIZES = ["train.cold_start.batch_size=4", "train.cold_start.learning_rate=3.0e-3",
         "train.save_every=1", "student.max_prompt_tokens=900", "student.max_response_tokens=128",
         "train.batch_size=4", "train.mini_batch_size=4", "train.rollouts=2"]


def load(*overrides: str, name: str = "laptop") -> Config:
    return load_config(ROOT / "configs" / f"{name}.yaml", list(overrides))


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    return make_policy(tmp_path_factory.mktemp("policy"))


def make_rows(run_dir: Path, samples: list[Sample], policy: Path) -> Path:
    """Rows of the samples, as the cold start has them."""
    from grpotool.dataset.utils.json2parquet import convert

    files = RoundFiles(run_dir, 0)
    write_jsonl(files.next().dataset, samples)
    convert(files.next().dataset, files.train_parquet, files.test_parquet,
            load(f"student.model={policy}"), lambda chat, limit: True)
    return files.train_parquet


# Which policy round 1 starts from


@pytest.mark.parametrize("name", ["laptop", "qwen3_8b", "qwen3_32b"])
def test_no_cold_start_unless_it_is_asked_for(name):
    assert load(name=name).train.cold_start.steps == 0


def test_first_policy(tmp_path, policy):
    config = load(f"run_dir={tmp_path}", f"student.model={policy}")
    assert first_policy(config) == str(policy)
    config.train.cold_start.steps = 3
    with pytest.raises(InputError, match="round_0/policy: is not there; run scripts/cold_start.sh"):
        first_policy(config)
    (tmp_path / "round_0" / "policy").mkdir(parents=True)
    assert first_policy(config) == str(tmp_path / "round_0" / "policy")


# What is trained on


@pytest.mark.parametrize("family", ["qwen", "llama"])
def test_the_label_behind_the_prompt_of_a_rollout_is_trained_on(tmp_path, family):
    from transformers import AutoTokenizer

    from grpotool.cold_start.sft_dataset import LabelledPrompts

    tokenizer = AutoTokenizer.from_pretrained(make_policy(tmp_path / "policy", family=family))
    sample = tasks(1)[0]
    texts = [msgspec.structs.replace(sample, id=name, label=label) for name, label in (
        ("a", sample.label),
        ("b", Message(role="assistant", content="Which one?", reasoning="unsaid")))]
    config = SimpleNamespace(end_token=None, max_response_length=200, train_batch_size=4)
    rows = LabelledPrompts(str(make_rows(tmp_path, [*texts, *tasks(5)], tmp_path / "policy")),
                           tokenizer, config)
    answers = {'<tool_call>\n{"name": "find", "arguments": {"city": "0"}}\n</tool_call>',
               "Which one?"}
    seen = set()
    for index in range(len(rows)):
        item, end = rows[index], tokenizer.eos_token
        prompt = tokenizer.decode(item["input_ids"][item["loss_mask"] == 0])
        answer = tokenizer.decode(item["input_ids"][item["loss_mask"] == 1])
        assert answer.endswith(end) and prompt.endswith("assistant\n" if family == "qwen"
                                                        else "<|end_header_id|>\n\n")
        assert item["loss_mask"].tolist() == sorted(item["loss_mask"].tolist())
        assert item["prompts"].tolist() + item["responses"].tolist() == item["input_ids"].tolist()
        if "Find city 0" in prompt:
            seen.add(answer.removesuffix(end))
            text = tokenizer.apply_chat_template(render_sample(sample, "short"),
                                                 add_generation_prompt=True, tokenize=False)
            assert item["prompts"].tolist() == tokenizer(text,
                                                         add_special_tokens=False)["input_ids"]
    assert seen and seen <= answers


def test_an_answer_ends_as_the_policy_says_and_long_ones_are_left_out(tmp_path, policy):
    from transformers import AutoTokenizer

    from grpotool.cold_start.sft_dataset import LabelledPrompts

    def limits(tokens: int) -> SimpleNamespace:
        return SimpleNamespace(end_token=0, max_response_length=tokens, train_batch_size=4)

    tokenizer, parquet = (AutoTokenizer.from_pretrained(policy),
                          str(make_rows(tmp_path, tasks(5), policy)))
    rows = LabelledPrompts([parquet], tokenizer, limits(200))
    assert len(rows) == 4 and rows[0]["responses"][-1] == 0
    size = len(rows[0]["responses"])
    assert len(LabelledPrompts([parquet], tokenizer, limits(size))) == 4
    with pytest.raises(InputError, match="0 labels of at most"):
        LabelledPrompts([parquet], tokenizer, limits(size - 1))


# What verl is told


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [
    ["train.profile=cpu"], ["train.profile=gpu", "train.attention=flash_attention_2"],
    ["train.profile=gpu", "train.attention=sdpa", "train.gpus_per_node=4"]])
def test_verl_knows_every_key(tmp_path, policy, overrides):
    from hydra import compose as compose_config
    from hydra import initialize_config_module
    from verl.utils.config import omega_conf_to_dataclass

    config = load(*overrides, f"run_dir={tmp_path}", "train.cold_start.steps=7", "seed=5",
                  name="small")
    files = RoundFiles(tmp_path / "it's", 0)
    run = compose(config, files, str(policy), 2, tmp_path / "global_step_3")
    with initialize_config_module("verl.trainer.config", version_base=None):
        composed = compose_config(config_name="sft_trainer_engine", overrides=run)
    engine, optimizer = (omega_conf_to_dataclass(composed.engine),
                         omega_conf_to_dataclass(composed.optim))
    assert engine.strategy == "fsdp2" and optimizer.lr == 3e-5 and composed.data.end_token == 2
    assert (composed.trainer.total_training_steps == 7
            and composed.trainer.resume_from_path.endswith("global_step_3"))
    assert composed.trainer.total_epochs > 7
    assert composed.data.train_files == str(files.train_parquet.resolve())
    packed = "train.attention=flash_attention_2" in overrides
    assert composed.model.use_remove_padding == packed
    words = sft_command(config, run)
    assert (f"--nproc_per_node={1 if config.train.profile == 'cpu' else config.train.gpus_per_node}"
            in words)


def test_gpus_share_a_batch():
    sizes = ["train.profile=gpu", "train.gpus_per_node=8", "train.cold_start.batch_size=30"]
    with pytest.raises(InputError,
                       match="batch_size=30: is not divided by train.gpus_per_node=8; set it to "
                             "24"):
        cold_start.check_batch(load(*sizes))
    cold_start.check_batch(load(*sizes, "train.profile=cpu"))


@pytest.mark.parametrize("steps, flags, said", [
    (0, [], "cold start: train.cold_start.steps is 0, so round 1 starts with the student"),
    (5, ["--dry-run"], "trainer.total_training_steps=5")])
def test_what_is_said_without_training(tmp_path, policy, monkeypatch, caplog, steps, flags, said):
    write_jsonl(RoundFiles(tmp_path, 1).dataset, tasks(4))
    monkeypatch.setattr(sys, "argv", [
        "cold_start.py", "--set", f"run_dir={tmp_path}", "--set", f"student.model={policy}",
        "--set", f"train.cold_start.steps={steps}", *flags])
    with caplog.at_level("INFO"):
        cold_start.main()
    assert said in caplog.text and not (tmp_path / "round_0" / "training" / "inputs.json").exists()
    assert (tmp_path / "round_0" / "train.parquet").exists() == bool(steps)


def test_what_a_kill_after_the_export_left_is_removed(tmp_path, policy, monkeypatch, caplog):
    files, flags = RoundFiles(tmp_path, 0), [f"run_dir={tmp_path}", f"student.model={policy}",
                                             "train.cold_start.steps=5"]
    write_jsonl(files.next().dataset, tasks(4))
    words = [word for flag in flags for word in ("--set", flag)]
    monkeypatch.setattr(sys, "argv", ["train.py", *words])
    left = files.training / "checkpoints" / "global_step_5"
    left.mkdir(parents=True)
    make_rows(tmp_path, tasks(4), policy)
    files.policy.mkdir()
    with caplog.at_level("INFO"):
        cold_start.main()
    assert "made already" in caplog.text and not left.parent.exists()


# The whole of it


@pytest.mark.slow
def test_a_killed_cold_start_goes_on_and_grpo_begins_from_it(tmp_path, policy):
    start, first = RoundFiles(tmp_path, 0), RoundFiles(tmp_path, 1)
    write_jsonl(first.dataset, tasks(ROWS))
    flags = [word for override in [f"run_dir={tmp_path}", f"student.model={policy}",
                                   f"train.cold_start.steps={STEPS}", *SIZES]
             for word in ("--set", override)]
    cold, convert, train = (ROOT / "grpotool" / name
                            for name
                            in ("cold_start/train.py", "dataset/utils/json2parquet.py", "train.py"))
    env = {**os.environ, "CI": "1"}

    def run(script: Path, *more: str):
        return subprocess.run([sys.executable, script, *flags, *more], capture_output=True,
                              text=True, env=env)

    tracker = start.training / "checkpoints" / "latest_checkpointed_iteration.txt"
    # the second step is the end of an epoch; beside ours run torchrun and its process
    assert len(kill_when_saved([sys.executable, cold, *flags], tracker, env)) > 2
    assert not start.policy.exists()

    refused = run(cold, "--set", "train.cold_start.learning_rate=1.0e-3")
    assert refused.returncode == 2 and "cold_start.learning_rate: 0.003 -> 0.001" in refused.stderr
    done = run(cold)
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        f"cold start: 9 rows -> {STEPS} steps, loss "), done.stderr
    losses = [json.loads(line)["data"]["train/loss"]
              for _, line in read_lines(start.training / "metrics.jsonl")]
    assert len(losses) >= STEPS - 1 and losses[-1] < losses[0]
    assert losses[0] == pytest.approx(plain_loss(policy, start.train_parquet, first_batch()),
                                      rel=1e-4)
    assert not (start.training / "checkpoints").exists()
    assert json.loads((tmp_path / "round_0" / "policy.meta.json").read_text())["counts"] == {
        "steps": STEPS}
    again = run(cold)
    assert again.returncode == 0 and "made already" in again.stderr
    everything = range(9)
    assert plain_loss(start.policy, start.train_parquet,
                      everything) < plain_loss(policy, start.train_parquet, everything) - 0.5

    assert run(convert, "--round", "1").returncode == 0
    dry = run(train, "--round", "1", "--dry-run")
    assert dry.returncode == 0 and "actor_rollout_ref.model.path=" in dry.stderr
    assert str(start.policy) in dry.stderr and str(policy) not in dry.stderr


def first_batch() -> list[int]:
    """The rows of step 1, by the sampler that verl's trainer has."""
    from torch.utils.data import DistributedSampler

    return list(DistributedSampler(range(9), num_replicas=1, rank=0, shuffle=True))[:4]


def plain_loss(policy: Path, parquet: Path, rows) -> float:
    """Mean negative log-probability of the labels' tokens, by transformers alone."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from grpotool.cold_start.sft_dataset import LabelledPrompts

    config = SimpleNamespace(end_token=None, max_response_length=128, train_batch_size=1)
    data, total, tokens = LabelledPrompts(str(parquet), AutoTokenizer.from_pretrained(policy),
                                          config), 0.0, 0
    model = AutoModelForCausalLM.from_pretrained(policy, attn_implementation="sdpa",
                                                 dtype=torch.float32).eval()
    for row in rows:
        item = data[row]
        with torch.no_grad():
            logits = model(input_ids=item["input_ids"][None]).logits[0, len(item["prompts"]) - 1:-1]
        total -= logits.log_softmax(-1).gather(1, item["responses"][:, None]).sum().item()
        tokens += len(item["responses"])
    return total / tokens
