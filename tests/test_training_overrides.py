"""What verl is told, what a training refuses, and what it leaves behind; verl itself is not started
here."""
from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from golden_files import check_golden

from grpotool import train
from grpotool.cold_start import overrides as cold_start
from grpotool.doctor.verl_config import compose_by_verl
from grpotool.rows import METADATA
from grpotool.verl_run.overrides import checkpoints, compose, environment, quote, verl_command
from grpotool.verl_run.process import Metrics, VerlFailed, read_lines, run_verl
from looptool.config import PRESETS, Config
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.machine import packages
from looptool.records import Call, Message
from looptool.run_files import RoundFiles
from looptool.stages.meta import make_header, meta_path, read_meta

CONFIGS = ("laptop", "small", "qwen3_8b", "qwen3_32b")


@pytest.fixture(autouse=True)
def own_ray(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


def load(name: str = "laptop", *overrides: str) -> Config:
    """A config, with the attention of a machine that has flash-attn if nothing else is said."""
    settings = ["train.attention=flash_attention_2", *overrides]
    return load_config(ROOT / "configs" / f"{name}.yaml", settings)


def make_round(run_dir: Path, number: int = 1, rows: int = 40) -> RoundFiles:
    """Parquet files of a round, with nothing that verl could train on."""
    files = RoundFiles(run_dir, number)
    files.folder.mkdir(parents=True)
    for path, count in ((files.train_parquet, rows), (files.test_parquet, 1)):
        pq.write_table(pa.table({"row": list(range(count))}).replace_schema_metadata(METADATA),
                       path)
    return files


def make_policy_folder(folder: Path, end: int | None = 2) -> Path:
    folder.mkdir(parents=True)
    (folder / "generation_config.json").write_text(
        json.dumps({} if end is None else {"eos_token_id": end}))
    (folder / "model.safetensors").write_bytes(bytes(100))
    return folder


# The list


@pytest.mark.parametrize("name", CONFIGS)
def test_list_of_a_config(tmp_path, name):
    run = compose(load(name), RoundFiles(tmp_path, 1), "/policy", 5, None)
    shown = "\n".join(run).replace(str(tmp_path.resolve()),
                                   "RUN").replace(str(ROOT), "REPOSITORY") + "\n"
    (tmp_path / "list").write_text(shown)
    check_golden(tmp_path / "list", f"overrides_{name}.txt")


@pytest.mark.parametrize("name", CONFIGS)
def test_no_key_twice_and_none_that_verl_ignores(tmp_path, name):
    keys = [line.lstrip("+").partition("=")[0]
            for line in compose(load(name), RoundFiles(tmp_path, 1), "/policy", 5, None)]
    assert len(keys) == len(set(keys))
    assert not [key for key in keys if key.startswith("custom_reward_function")
                or key == "data.truncation"]
    assert "reward.custom_reward_function.path" in keys


def test_config_reaches_verl(tmp_path):
    config = load("laptop", "train.clip_high=0.3", "train.reward=paper_compat",
                  "student.max_prompt_tokens=99", "seed=7", "train.learning_rate=2.0e-5",
                  "train.rollouts=4", "train.epochs=3", "train.temperature=0.9")
    run = compose(config, RoundFiles(tmp_path, 3), "/policy", 5, None)
    for line in ("actor_rollout_ref.actor.clip_ratio_high=0.3", "data.max_prompt_length=99",
                 "data.seed=7", "+reward.custom_reward_function.reward_kwargs.mode=paper_compat",
                 "actor_rollout_ref.actor.optim.lr=2e-05", "actor_rollout_ref.rollout.n=4",
                 "trainer.total_epochs=3", "actor_rollout_ref.rollout.temperature=0.9",
                 "trainer.experiment_name=round_3", "actor_rollout_ref.model.path='/policy'",
                 "trainer.resume_mode=disable"):
        assert line in run


def test_resumes_from_the_named_checkpoint_only(tmp_path):
    run = compose(load(), RoundFiles(tmp_path, 1), "/policy", 5, tmp_path / "global_step_4")
    assert [line for line in run if line.startswith("trainer.resume")] == [
        "trainer.resume_mode=resume_path",
        f"trainer.resume_from_path='{tmp_path.resolve()}/global_step_4'"]


def test_gpu_tests_each_epoch_and_saves_in_between(tmp_path):
    run = compose(load("qwen3_8b"), RoundFiles(tmp_path, 1), "/policy", 143, None)
    assert "trainer.save_freq=20" in run and "trainer.test_freq=143" in run


@pytest.mark.parametrize("chosen, installed, packed", [
    ("auto", True, True), ("auto", False, False), ("flash_attention_2", False, True),
    ("sdpa", True, False)])
def test_attention_of_a_machine(tmp_path, monkeypatch, chosen, installed, packed):
    monkeypatch.setattr(packages, "find_spec", lambda name: name if installed else None)
    config = load("qwen3_8b", f"train.attention={chosen}")
    run = compose(config, RoundFiles(tmp_path, 1), "/policy", 5, None)
    assert f"actor_rollout_ref.model.use_remove_padding={packed}" in run
    for line in ("+actor_rollout_ref.model.override_config.attn_implementation=sdpa",
                 "actor_rollout_ref.model.use_fused_kernels=True"):
        assert (line in run) != packed


def test_trackers_join_ours(tmp_path):
    config = load("laptop", "train.trackers=[wandb,mlflow]")
    for number, made in ((1, compose), (0, cold_start.compose)):
        run = made(config, RoundFiles(tmp_path, number), "/p", 5, None)
        assert "trainer.logger=[console,file,tensorboard,wandb,mlflow]" in run


def test_own_overrides_come_last_and_are_kept(tmp_path):
    mine = ["actor_rollout_ref.actor.policy_loss.loss_mode=gspo", "+trainer.mine=[1,2]",
            "~algorithm.filter_groups.metric"]
    config, files = load("laptop", f"train.verl={json.dumps(mine)}"), make_round(tmp_path)
    assert compose(config, files, "/policy", 5, None)[-3:] == mine
    start = str(make_policy_folder(tmp_path / "start"))
    assert train.describe(config, files, start).settings["train"]["verl"] == mine


@pytest.mark.parametrize("mine, other", [
    ("trainer.save_freq=3", "trainer.save_freq"), ("++data.seed=3", "data.seed"),
    ("actor_rollout_ref.actor={}", "actor_rollout_ref.actor.strategy"),
    ("trainer.logger.0=wandb", "trainer.logger"), ("~data.shuffle", "data.shuffle"),
    ("trainer.mine=1,+trainer.mine=2", "trainer.mine"), ("trainer.mine", None)])
def test_an_override_that_undoes_another_is_refused(tmp_path, mine, other):
    config = load("laptop", f"train.verl={json.dumps(mine.split(','))}")
    words = (f"train.verl: {mine.split(',')[-1]} conflicts with {other}, which is set already"
             if other else "train.verl: 'trainer.mine' is not written as key=value")
    with pytest.raises(InputError) as refused:
        compose(config, RoundFiles(tmp_path, 1), "/policy", 5, None)
    assert str(refused.value).startswith(words)


def test_micro_batches_hold_whole_prompts(tmp_path):
    for batch in (1, 2, 6, 16, 48):
        config = load("laptop", f"train.batch_size={batch}", f"train.mini_batch_size={batch}",
                      "train.rollouts=5")
        (line,) = [line for line in compose(config, RoundFiles(tmp_path, 1), "/p", 5, None)
                   if "ppo_micro_batch_size" in line]
        size = int(line.partition("=")[2])
        assert size % 5 == 0 and batch * 5 % size == 0


def test_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.delenv("VERL_USE_EXTERNAL_MODULES")
    files = RoundFiles(tmp_path, 1)
    laptop = environment(load(), files)
    assert "CUDA_VISIBLE_DEVICES" not in laptop and "RAY_ADDRESS" not in laptop
    assert laptop["VERL_USE_EXTERNAL_MODULES"] == "grpotool.cpu.verl_platform"
    cluster = environment(load("qwen3_32b"), files)
    assert cluster["RAY_ADDRESS"] == "10.0.0.1:6379" and "RAY_AUTH_TOKEN" not in cluster
    assert cluster["VERL_USE_EXTERNAL_MODULES"] == "grpotool.verl_run.gpu"


@pytest.mark.parametrize("name, address, own", [
    ("qwen3_8b", None, True),
    ("qwen3_8b", "10.0.0.1:6379", False), ("qwen3_32b", None, False)])
def test_a_ray_of_its_own_keeps_its_token_to_itself(tmp_path, monkeypatch, name, address, own):
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    if address:
        monkeypatch.setenv("RAY_ADDRESS", address)
    files = RoundFiles(tmp_path, 1)
    first, second = (environment(load(name), files) for _ in range(2))
    assert (len(first.get("RAY_AUTH_TOKEN", "")) == 64) == own
    assert not own or first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]
    run = compose(load(name), files, "/p", 5, None)
    assert ("+ray_kwargs.ray_init.address=local" in run) == own
    monkeypatch.setenv("RAY_AUTH_TOKEN", "mine")
    assert environment(load(name), files)["RAY_AUTH_TOKEN"] == "mine"
    assert environment(load("laptop"), files)["RAY_AUTH_MODE"] == "disabled"


def test_presets_are_the_tables_columns(tmp_path):
    def numbers(*overrides):
        train = load_config(ROOT / "configs" / "qwen3_8b.yaml", list(overrides)).train
        return (train.batch_size, train.mini_batch_size, train.rollouts, train.learning_rate,
                train.epochs)

    assert numbers() == numbers("train.preset=paper") == (128, 128, 16, 1e-6, 2)
    assert numbers("train.preset=released_8b") == (256, 32, 16, 1e-6, 4)
    assert numbers("train.preset=released_32b") == (512, 256, 16, 1e-6, 5)
    assert numbers("train.preset=released_8b", "train.epochs=1") == (256, 32, 16, 1e-6, 1)
    with pytest.raises(InputError, match="train.preset"):
        numbers("train.preset=released")
    bare = tmp_path / "bare.yaml"  # a config's own keys win, so one without any shows the preset's
    bare.write_text("run_dir: r\nstudent: {model: m}\nteacher: {models: [t]}\n")
    parallel = {name: load_config(bare, [f"train.preset={name}"]).train.tensor_parallel
                for name in PRESETS}
    assert parallel == {"paper": 1, "released_8b": 8, "released_32b": 4}


def test_checkpoints_and_tests_as_often_as_the_preset_says(tmp_path):
    def often(*overrides):
        run = compose(load("qwen3_8b", *overrides), RoundFiles(tmp_path, 1), "/p", 7, None)
        return [line.partition("=")[2] for line in run
                if line.startswith(("trainer.save_freq", "trainer.test_freq"))]

    assert often() == ["20", "7"] and often("train.preset=released_32b") == ["150", "50"]
    assert often("train.save_every=9") == ["9", "7"]


@pytest.mark.parametrize("name, nodes, told",
                         [("qwen3_32b", 2, True), ("qwen3_32b", 1, True), ("laptop", 2, True),
                          ("laptop", 1, False)])
def test_variables_reach_verl_through_whatever_ray_it_joins(tmp_path, monkeypatch, name, nodes,
                                                            told):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    files = RoundFiles(tmp_path, 1)
    run = compose(load(name, f"train.nodes={nodes}"), files, "/p", 5, None)
    place = "+ray_kwargs.ray_init.runtime_env.env_vars."
    assert (f"{place}VERL_FILE_LOGGER_PATH={quote(files.verl_metrics.resolve())}" in run) == told
    assert any(line.startswith(f"{place}TENSORBOARD_DIR=") for line in run) == told


# What is refused


def test_round_begins_from_the_last_rounds_policy(tmp_path):
    config, files = load(), make_round(tmp_path, 2)
    with pytest.raises(InputError, match="train round 1 first"):
        train.policy_before(config, files)
    before = make_policy_folder(tmp_path / "round_1" / "policy")
    assert train.policy_before(config, files) == str(before.resolve())
    with pytest.raises(InputError, match="begins with round 1"):
        train.policy_before(config, RoundFiles(tmp_path, 0))


def test_policy_must_name_its_end_token(tmp_path):
    start = make_policy_folder(tmp_path / "start", end=None)
    config = load("laptop", f"student.model={start}")
    with pytest.raises(InputError, match="eos_token_id is missing"):
        train.policy_before(config, RoundFiles(tmp_path, 1))
    assert train.policy_before(load("qwen3_8b"), RoundFiles(tmp_path, 1)) == "Qwen/Qwen3-8B"


@pytest.mark.parametrize("gpus, parallel, engine, fitting", [
    (8, 8, "vllm", None), (6, 3, "vllm", "1 or 2"), (7, 7, "vllm", "1"),
    (6, 3, "transformers", None)])
def test_gpus_share_the_attention_heads(tmp_path, gpus, parallel, engine, fitting):
    start = make_policy_folder(tmp_path / "start")
    config = load("qwen3_8b", f"train.gpus_per_node={gpus}", f"train.tensor_parallel={parallel}",
                  f"train.rollout_engine={engine}")
    train.check_heads(config, "Qwen/Qwen3-8B")
    train.check_heads(config, str(start))  # of which nothing is known
    (start / "config.json").write_text('{"num_attention_heads": 32}')
    with pytest.raises(InputError) if fitting else nullcontext() as refused:
        train.check_heads(config, str(start))
    assert not fitting or str(refused.value) == (
        f"train.tensor_parallel={parallel} does not divide the 32 attention heads of {start}; "
        f"with {gpus} GPUs set it to {fitting}")


@pytest.mark.parametrize("batch, mini, rows, words", [
    (16, 16, 15, "15 rows are less than train.batch_size=16"),
    (16, 12, 40, "mini_batch_size=12 does not divide"),
    (16, 32, 40, "mini_batch_size=32 does not divide"), (16, 8, 16, None)])
def test_batches(tmp_path, batch, mini, rows, words):
    config = load("laptop", f"train.batch_size={batch}", f"train.mini_batch_size={mini}")
    if words is None:
        return train.check_batches(config, RoundFiles(tmp_path, 1), rows)
    with pytest.raises(InputError, match=words):
        train.check_batches(config, RoundFiles(tmp_path, 1), rows)


def test_parquet_of_another_dataset_is_refused(tmp_path):
    files = make_round(tmp_path)
    files.dataset.write_text("one\n")
    for path in (files.train_parquet, files.test_parquet):
        header = make_header("json2parquet", {}, [files.dataset], path)
        meta_path(path).write_bytes(msgspec.json.encode({
            **msgspec.to_builtins(header), "version": "", "inputs": 1, "counts": {}, "failed": 0,
            "failures": {}, "records": 1, "usage": {}, "seconds": 0}))
    train.check_current(files)
    files.dataset.write_text("two\n")
    with pytest.raises(InputError, match="another dataset.jsonl; run json2parquet.py again"):
        train.check_current(files)


def test_a_learning_rate_as_everybody_writes_it(tmp_path):
    file = tmp_path / "config.yaml"
    text = (ROOT / "configs" / "qwen3_8b.yaml").read_text()
    file.write_text(text.replace("\ntrain:\n", "\ntrain:\n  learning_rate: 5e-7\n"))
    assert load_config(file).train.learning_rate == 5e-7
    assert (load_config(file,
                       ["train.learning_rate=1E-6", "run_dir=runs/1e6x"]).train.learning_rate
            == 1e-6)
    file.write_text(f"{text}\ntrain: {{learning_rate: 5e-7}}\n")
    with pytest.raises(InputError, match='found duplicate key "train"'):
        load_config(file)


@pytest.mark.parametrize("change, refused",
                         [("train.learning_rate=1.0e-5", "learning_rate"), ("seed=1", "seed"),
                          ("student.max_prompt_tokens=99", "max_prompt_tokens"),
                          ("train.gpus_per_node=4", None),
                          ("train.gpu_memory_utilization=0.5", None)])
def test_killed_training_goes_on_only_with_the_same_settings(tmp_path, change, refused):
    files, start = make_round(tmp_path), str(make_policy_folder(tmp_path / "start"))
    files.training.mkdir()
    train.begin(files, train.describe(load(), files, start))
    train.begin(files, train.describe(load(), files, start))
    if refused is None:
        return train.begin(files, train.describe(load("laptop", change), files, start))
    with pytest.raises(InputError, match=refused):
        train.begin(files, train.describe(load("laptop", change), files, start))


@pytest.mark.parametrize("changed", ["train.parquet", "test.parquet", "start"])
def test_killed_training_goes_on_only_with_the_same_data_and_start(tmp_path, changed):
    files, start = make_round(tmp_path), make_policy_folder(tmp_path / "start")
    files.training.mkdir()
    train.begin(files, train.describe(load(), files, str(start)))
    if changed == "start":
        (start / "model.safetensors").write_bytes(b"1" + bytes(99))
    else:
        pq.write_table(pa.table({"row": [1, 2, 3]}), files.folder / changed)
    with pytest.raises(InputError, match=changed):
        train.begin(files, train.describe(load(), files, str(start)))


def test_two_trainings_of_a_round_at_once(tmp_path):
    files = RoundFiles(tmp_path, 1)
    with train.alone(files), pytest.raises(InputError,
                                           match="another process is training"), train.alone(files):
        pass
    with train.alone(files):
        pass


# Checkpoints and the policy


def test_newest_complete_checkpoint(tmp_path):
    files = RoundFiles(tmp_path, 1)
    assert train.last_checkpoint(files) == (0, None)
    for step in (8, 12):
        (checkpoints(files) / f"global_step_{step}").mkdir(parents=True)
    (checkpoints(files) / "global_step_8" / "data.pt").touch()
    assert train.last_checkpoint(files) == (0, None)  # killed before the first was complete
    tracker = checkpoints(files) / "latest_checkpointed_iteration.txt"
    tracker.write_text("8")
    # 12 was being written
    assert train.last_checkpoint(files) == (8, checkpoints(files) / "global_step_8")
    (checkpoints(files) / "global_step_12" / "data.pt").touch()
    tracker.write_text("")
    # killed between open and write
    assert train.last_checkpoint(files) == (12, checkpoints(files) / "global_step_12")


def write_weights(folder: Path, size: int = 4) -> None:
    """A safetensors file of one number of 4 bytes, of which `size` are there."""
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header
                                               + bytes(size))


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_export_puts_a_whole_policy_in_place_and_frees_the_disk(tmp_path, profile):
    files, start = make_round(tmp_path), make_policy_folder(tmp_path / "start")
    files.training.mkdir()
    exported = make_policy_folder(checkpoints(files) / "global_step_2" / "actor" / "huggingface",
                                  end=None)
    write_weights(exported)
    header = train.describe(load("laptop", f"train.profile={profile}"), files, str(start))
    train.export(files, exported, str(start), 2, header, 12.0)
    assert (files.policy / "model.safetensors").exists() and train.end_token(files.policy) == 2
    assert not checkpoints(files).exists()
    meta = read_meta(files.policy)
    assert meta.counts == {"steps": 2} and meta.sources == header.sources


def test_a_policy_that_is_not_whole_stays_a_checkpoint(tmp_path):
    files, start = make_round(tmp_path), make_policy_folder(tmp_path / "start")
    exported = make_policy_folder(checkpoints(files) / "global_step_2" / "actor" / "huggingface")
    header = train.describe(load(), files, str(start))
    write_weights(exported, size=3)
    with pytest.raises(InputError, match="is damaged or cut off .*; copy or train"):
        train.export(files, exported, str(start), 2, header, 12.0)
    write_weights(exported)
    (exported / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model.safetensors", "b": "second.safetensors"}}')
    with pytest.raises(InputError, match="names second.safetensors, which is not there"):
        train.export(files, exported, str(start), 2, header, 12.0)
    assert exported.exists() and not files.policy.exists() and not meta_path(files.policy).exists()


def test_a_kill_after_the_export_leaves_checkpoints_that_the_next_run_removes(tmp_path, monkeypatch,
                                                                              caplog):
    files, start = make_round(tmp_path), make_policy_folder(tmp_path / "start")
    files.policy.mkdir()
    (checkpoints(files) / "global_step_2").mkdir(parents=True)
    settings = [word for value in (f"run_dir={tmp_path}", f"student.model={start}")
                for word in ("--set", value)]
    monkeypatch.setattr(sys, "argv",
                        ["train.py", "--config", str(ROOT / "configs" / "laptop.yaml"), "--round",
                         "1", *settings])
    with caplog.at_level("INFO"):
        train.main()
    assert ("already trained" in caplog.messages[-1] and not checkpoints(files).exists()
            and files.policy.exists())


# verl's process


def line(step: int, reward: float) -> bytes:
    return msgspec.json.encode({"step": step, "data": {"critic/score/mean": reward}}) + b"\n"


def test_metrics_of_a_training_in_two_runs(tmp_path):
    files = RoundFiles(tmp_path, 1)
    first = Metrics(files, 0, "strict")
    first.verls.write_bytes(line(1, 0.1) + line(2, 0.2) + line(3, 0.3) + line(4, 0.9)[:10])
    assert first.update() and not first.update()
    assert [step for step, _ in read_lines(first.path)] == [1, 2, 3]
    # written after the last look
    first.verls.write_bytes(first.verls.read_bytes()[:len(line(1, 0.1)) * 3] + line(4, 0.4))
    second = Metrics(files, 2, "strict")  # killed after the checkpoint of step 2
    second.verls.write_bytes(line(3, 0.5) + line(4, 0.6) + line(5, 0.7))
    second.update()
    assert second.values() == [0.1, 0.2, 0.5, 0.6, 0.7]
    assert first.course() == "reward 0.20 -> 0.20" and second.course() == "reward 0.27 -> 0.60"
    assert [step for step, _ in read_lines(files.training / "metrics.jsonl")] == [1, 2, 3, 4, 5]


def test_a_training_without_metrics_says_so(tmp_path):
    files = RoundFiles(tmp_path, 1)
    assert Metrics(files, 0, "strict").course() == (
        f"reward unknown ({files.training}/metrics.jsonl is empty: verl wrote no metrics, see "
        "verl.log beside it)")


def test_each_step_says_why_its_rewards_are_zero(tmp_path):
    files = RoundFiles(tmp_path, 1)
    metrics, label = (Metrics(files, 0, "strict"),
                      Message(role="assistant", calls=[Call(name="find", arguments={"n": 1})]))
    files.rollouts.mkdir()
    replies = ['<tool_call>{"name": "find", "arguments": {"n": 1}}</tool_call>', "Rome", "Rome",
               '<tool_call>{"name": "find", "arguments": {"n": 2}}</tool_call>',
               "<tool_call>{</tool_call>"]

    def dump(step: int, replies: list[str]) -> Path:
        path = files.rollouts / f"{step}.jsonl"
        path.write_bytes(b"".join(msgspec.json.encode(
            {"input": "Find it.", "output": reply, "gts": msgspec.json.encode(label).decode(),
             "score": float(reply == replies[0])}) + b"\n" for reply in replies))
        return path

    first, second = dump(1, replies), dump(2, replies[:2])
    metrics.verls.write_bytes(line(1, 0.2) + line(2, 0.5))
    metrics.update()
    assert (not first.exists() and second.exists()
            and metrics.why() == " (zeros: 40% no_call, 20% wrong_value)")
    metrics.update(ended=True)
    assert [msgspec.json.decode(line)["reasons"] for _, line in read_lines(metrics.path)] == [
        {"no_call": 2, "match": 1, "wrong_value": 1, "bad_json": 1}, {"match": 1, "no_call": 1}]
    assert second.exists()
    again = Metrics(files, 2, "strict")  # killed after the checkpoint of step 2
    assert "reasons" in msgspec.json.decode(read_lines(again.path)[0][1])
    assert again.why() == metrics.why() != ""


def stand_in(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_failure_shows_its_cause_and_the_end_of_the_output(tmp_path):
    log = tmp_path / "verl.log"
    log.write_text("ValueError: of an earlier run\n")
    broken = ("import sys; print('\\x1b[36mfirst\\x1b[0m'); print('KeyError: the cause'); "
              "print('noise\\n' * 60, 'end'); sys.exit(3)")
    with pytest.raises(VerlFailed) as error:
        run_verl(stand_in(broken), dict(os.environ), log,
                 Metrics(RoundFiles(tmp_path, 1), 0, "strict"), 2, "t")
    text = str(error.value)
    assert ("exit code 3" in text and text.endswith("end") and "KeyError: the cause" in text
            and "\x1b" not in text)
    assert "earlier run" not in text


def test_a_dump_that_a_failure_cut_does_not_hide_the_failure(tmp_path):
    files = RoundFiles(tmp_path, 1)
    metrics = Metrics(files, 0, "strict")
    text = (f"import os, sys; os.makedirs({str(files.rollouts)!r}); "
            f"open({str(files.rollouts / '1.jsonl')!r}, "
            f"'w').write('{{\"outp');open({str(files.verl_metrics)!r}, "
            f"'wb').write({line(1, 0.1)!r}); sys.exit(3)")
    with pytest.raises(VerlFailed, match="exit code 3"):
        run_verl(stand_in(text), dict(os.environ), tmp_path / "log", metrics, 2, "t")
    assert [step for step, _ in read_lines(metrics.path)] == [1]


def test_interrupted_training_ends_verl(tmp_path, monkeypatch):
    metrics, child = Metrics(RoundFiles(tmp_path, 1), 0, "strict"), tmp_path / "pid"

    def interrupt_once_it_runs() -> bool:
        if child.exists() and child.read_text():
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(metrics, "update", interrupt_once_it_runs)
    text = f"import os, time; open({str(child)!r}, 'w').write(str(os.getpid())); time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        run_verl(stand_in(text), dict(os.environ), tmp_path / "log", metrics, 2, "t")
    with pytest.raises(ProcessLookupError):
        os.kill(int(child.read_text()), 0)


# The shells


@pytest.mark.parametrize("script, expected", [("train_grpo_qwen.sh", "trainer.n_gpus_per_node=8"),
                                              ("multinode_qwen32b.sh", "trainer.nnodes=4")])
def test_gpu_script_shows_its_command(tmp_path, script, expected):
    make_round(tmp_path, rows=300)
    command = ["bash", ROOT / "grpotool" / script, "--dry-run", "--round", "1", "--set",
               f"run_dir={tmp_path}"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path},
                          cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    words = set(done.stderr.split())
    assert {"verl.trainer.main_ppo", expected, "trainer.save_freq=20",
            "trainer.test_freq=2"} <= words


@pytest.mark.parametrize("name, overrides, module, rollouts", [
    ("laptop", [], "grpotool.cpu.verl_main", "in_process"),
    ("qwen3_8b", [], "verl.trainer.main_ppo", "vllm"),
    ("qwen3_8b", ["train.rollout_engine=transformers"], "grpotool.cpu.verl_main", "in_process")])
def test_rollouts_in_process_have_the_task_runner_there(tmp_path, name, overrides, module,
                                                        rollouts):
    _, _, started, *run = verl_command(load(name, *overrides), RoundFiles(tmp_path, 1), "/p", 5,
                                       None)
    assert started == module and f"actor_rollout_ref.rollout.name={rollouts}" in run
    assert any(".gpu_memory_utilization=" in line for line in run) == (rollouts == "vllm")


def test_one_gpu(tmp_path):
    make_round(tmp_path, rows=300)
    command = ["bash", ROOT / "grpotool" / "train_grpo_qwen.sh", "--dry-run", "--round", "1",
               "--set", f"run_dir={tmp_path}", "--set", "train.attention=sdpa"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True,
                          env={**os.environ, "PATH": path, "GPUS": "1"}, cwd=tmp_path)
    words = done.stderr.split()
    assert {"trainer.n_gpus_per_node=1", "actor_rollout_ref.rollout.tensor_model_parallel_size=1",
            "actor_rollout_ref.model.use_remove_padding=False",
            "actor_rollout_ref.actor.fsdp_config.optimizer_offload=True",
            "+actor_rollout_ref.model.override_config.attn_implementation=sdpa"} <= set(
                words), done.stderr


def test_three_gpus_are_refused_where_the_policy_is_here(tmp_path):
    make_round(tmp_path, rows=300)
    (make_policy_folder(tmp_path / "start") / "config.json").write_text(
        '{"num_attention_heads": 32}')
    command = ["bash", ROOT / "grpotool" / "train_grpo_qwen.sh", "--dry-run", "--round", "1",
               "--set", f"run_dir={tmp_path}", "--set", f"student.model={tmp_path}/start", "--set",
               "train.tensor_parallel=3"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(command, capture_output=True, text=True,
                          env={**os.environ, "PATH": path, "GPUS": "3"}, cwd=tmp_path)
    assert (done.returncode == 2
            and "train.tensor_parallel=3 does not divide the 32 attention heads"
            in done.stderr), done.stderr


# verl's own check of the lists, without a GPU

OPTIONS = {name: yaml.safe_load(block)["verl"] for name, block in re.findall(
    r"^\*\*([^*]+)\.\*\*[^*]*?\n\n(    verl: [^]]+\])",
    (ROOT / "docs" / "training.md").read_text(), re.M)}
"""Of docs/training.md: a name, and what `train.verl` then has."""


@pytest.mark.slow
@pytest.mark.parametrize("name, preset",
                         [(name, preset) for name in CONFIGS for preset in PRESETS] + [
    ("laptop", "two nodes"), ("qwen3_8b", "sdpa"), ("qwen3_8b", "transformers"),
    *(("qwen3_8b", option) for option in OPTIONS)])
def test_verl_accepts_the_list(tmp_path, name, preset):
    others = {"two nodes": ["train.nodes=2"], "sdpa": ["train.attention=sdpa"],
              "transformers": ["train.rollout_engine=transformers"],
              **{option: [f"train.verl={json.dumps(mine)}"] for option, mine in OPTIONS.items()}}
    chosen = load(name, *others.get(preset, [f"train.preset={preset}"]))
    config = compose_by_verl(compose(chosen, RoundFiles(tmp_path / "a 'b' =c,d", 1), str(tmp_path),
                                     5, None))
    assert (config.trainer.default_local_dir
            == f"{tmp_path.resolve()}/a 'b' =c,d/round_1/training/checkpoints")
    assert (config.actor_rollout_ref.actor.clip_ratio_high == 0.28
            and config.algorithm.adv_estimator == "grpo")
    assert config.reward.custom_reward_function.reward_kwargs.mode == "strict"


@pytest.mark.slow
def test_verl_refuses_a_key_it_does_not_know(tmp_path):
    from hydra.errors import ConfigCompositionException

    run = compose(load(), RoundFiles(tmp_path, 1), str(tmp_path), 5, None)
    with pytest.raises(ConfigCompositionException):
        compose_by_verl([*run, "actor_rollout_ref.rollout.number=3"])


@pytest.mark.slow
@pytest.mark.parametrize("value",
                         ["plain", "with space", "it's", "a\\", "a\\'b", "x=1,y", "[z]", "{k:v}"])
def test_quoted_values_are_read_back(value):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    (override,) = OverridesParser.create().parse_overrides([f"key={quote(value)}"])
    assert override.value() == value
