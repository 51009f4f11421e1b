"""The doctor: each check with good and with broken inputs, and the script from outside."""
from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from contextlib import nullcontext
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden_files import FOLDER
from local_server import LocalServer
from programs import program
from safetensors.numpy import save_file
from test_json2parquet import fits, sample

from grpotool.dataset.utils.json2parquet import convert
from grpotool.doctor import data as doctor_data, machine as doctor_machine, main as doctor
from grpotool.doctor.check_result import Finding, fail, ok, skip, warn
from grpotool.doctor.main import findings
from grpotool.rows import METADATA, SCHEMA
from looptool.config import Config, Probing, Student, Teacher, Train
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.machine import packages
from looptool.records import Call, Message, Sample
from looptool.run_files import RoundFiles


def make_config(run: Path, **sections) -> Config:
    defaults = {"student": Student(model=str(run / "student"), instructions="short",
                                   max_prompt_tokens=10**6),
                "teacher": Teacher(base_urls=["simulated"], models=["m"]),
                "train": Train(profile="cpu", batch_size=4, mini_batch_size=2),
                "probe": Probing(engine="transformers")}
    return Config(run_dir=str(run), **defaults | sections)


def make_rows(run: Path, config: Config, samples: list[Sample]) -> RoundFiles:
    files = RoundFiles(run, 1)
    write_jsonl(files.dataset, samples)
    convert(files.dataset, files.train_parquet, files.test_parquet, config, fits)
    return files


def rewrite(parquet: Path, change) -> None:
    """Change each row of a file."""
    rows = pq.read_table(parquet).to_pylist()
    for row in rows:
        change(row)
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA.with_metadata(METADATA)), parquet)


def run(check, config: Config, files: RoundFiles) -> list[str]:
    return [str(finding) for finding in findings([check], config, files)]


@pytest.fixture
def config(tmp_path) -> Config:
    return make_config(tmp_path)


@pytest.fixture
def files(tmp_path, config) -> RoundFiles:
    return make_rows(tmp_path, config,
                     [sample(0), *(sample(i, city=str(i % 3)) for i in range(1, 12))])


def make_student(run: Path, end: int | None = 2) -> Path:
    (run / "student").mkdir()
    (run / "student" / "generation_config.json").write_text(
        json.dumps({} if end is None else {"eos_token_id": end}))
    weights = {str(size): np.zeros(size, np.float32) for size in (1_000_000, 500)}
    save_file(weights, run / "student" / "model.safetensors", {"format": "pt"})
    return run / "student"


# Lines


def test_lines():
    assert [str(line)
            for line in (ok("all fine"), fail("x is bad", "mend x"), skip("y", "no y here"))] == [
        "ok   all fine", "FAIL x is bad -> mend x", "skip y: no y here"]


def test_a_refusal_is_a_failure_and_the_next_check_goes_on(config):
    def refuses(config, files):
        yield ok("before")
        raise InputError("a.yaml: this; or that\n is wrong; mend it")

    found = list(findings([refuses, lambda config, files: iter([ok("next")])], config,
                          RoundFiles(config.run_dir, 1)))
    assert found == [ok("before"), Finding("FAIL", "a.yaml: this; or that is wrong -> mend it"),
                     ok("next")]


@pytest.mark.parametrize("found, code",
                         [(ok("a"), 0), (skip("a", "b"), 0), (warn("a", "b"), 0),
                          (fail("a", "b"), 1)])
def test_exit_code(tmp_path, monkeypatch, caplog, found, code):
    monkeypatch.setattr(doctor, "CHECKS", [lambda config, files: iter([ok("x"), found])])
    monkeypatch.setattr(sys, "argv",
                        ["doctor.py", "--config", str(ROOT / "configs" / "laptop.yaml"), "--round",
                         "1"])
    with caplog.at_level("INFO"), pytest.raises(SystemExit) as end:
        doctor.main()
    assert end.value.code == code
    assert (caplog.messages[:2] == ["ok   x", str(found)]
            and caplog.messages[2].startswith("doctor: "))


@pytest.mark.parametrize("flags, told", [
    (["--round", "1"], ["ok   x", "warn a -> b", "warn same -> b", "doctor: 1 ok, 0 failed, 2 "
                                                                   "warned of, 0 skipped"]),
    (["--round", "1", "--training"], ["warn a -> b", "warn same -> b", "doctor: 1 ok, 0 failed, 2 "
                                                                       "warned of, 0 skipped"]),
    (["--round", "2", "--training"], ["warn a -> b", "doctor: 1 ok, 0 failed, 1 warned of, 0 "
                                                     "skipped"])])
def test_in_a_loop_only_what_is_wrong_is_shown_and_nothing_twice(tmp_path, monkeypatch, caplog,
                                                                 flags, told):
    def same(config, files):
        yield warn("same", "b")

    monkeypatch.setattr(doctor, "CHECKS",
                        [lambda config, files: iter([ok("x"), warn("a", "b")]), same])
    monkeypatch.setattr(doctor, "ONCE", [same])
    monkeypatch.setattr(sys, "argv",
                        ["doctor.py", "--config", str(ROOT / "configs" / "laptop.yaml"),
                         "--set", f"run_dir={tmp_path}", *flags])
    with caplog.at_level("INFO"), pytest.raises(SystemExit):
        doctor.main()
    assert caplog.messages == told
    monkeypatch.setattr(doctor, "CHECKS", [lambda config, files: iter([ok("x")])])
    caplog.clear()
    with caplog.at_level("INFO"), pytest.raises(SystemExit):
        doctor.main()
    assert bool(caplog.messages) == (flags[1] == "1")  # a later round without a fault says nothing


@pytest.mark.parametrize("flags, trained, checked", [
    ([], False, True), ([], True, False), (["--fresh"], True, True)])
def test_before_a_training_no_server_is_asked_for_and_a_trained_round_needs_no_check(
        tmp_path, monkeypatch, caplog, flags, trained, checked):
    monkeypatch.setattr(doctor, "CHECKS",
                        [lambda config, files: iter([ok("x")]), doctor.check_endpoints])
    monkeypatch.setattr(sys, "argv",
                        ["doctor.py", "--config", str(ROOT / "configs" / "qwen3_8b.yaml"),
                         "--round", "1", "--set", f"run_dir={tmp_path}", "--training", *flags])
    if trained:
        RoundFiles(tmp_path, 1).policy.mkdir(parents=True)
    with caplog.at_level("INFO"), pytest.raises(SystemExit) if checked else nullcontext() as end:
        doctor.main()
    assert caplog.messages == (["doctor: 1 ok, 0 failed, 0 skipped"] if checked else [])
    assert not checked or end.value.code == 0


# The machine


def test_paths(tmp_path, config):
    student, files = make_student(tmp_path), RoundFiles(tmp_path / "new" / "run", 1)
    assert run(doctor_machine.check_paths, config, files) == [
        f"ok   {files.folder} can be written", f"ok   training starts from {student.resolve()}"]
    hub = make_config(tmp_path, student=Student(model="Qwen/Qwen3-8B"))
    assert run(doctor_machine.check_paths, hub,
               files)[1].startswith("skip training starts from Qwen/Qwen3-8B: a hub")
    assert not files.run_dir.exists()


def test_paths_that_fail(tmp_path, config):
    (tmp_path / "file").touch()
    lines = run(doctor_machine.check_paths, config, RoundFiles(tmp_path / "file" / "run", 1))
    assert lines[0].startswith(f"FAIL {tmp_path}/file/run/round_1: {tmp_path}/file is no folder")
    assert "-> set run_dir" in lines[0]
    assert (lines[1].startswith("FAIL student.model")
            and "-> set student.model to a folder" in lines[1])
    make_student(tmp_path, end=None)
    assert "eos_token_id is missing" in run(doctor_machine.check_paths, config,
                                            RoundFiles(tmp_path, 1))[1]
    assert "-> train round 1 first" in run(doctor_machine.check_paths, config,
                                           RoundFiles(tmp_path, 2))[1]
    shutil.rmtree(tmp_path / "student")
    (make_student(tmp_path) / "config.json").write_text('{"num_attention_heads": 32}')
    three = make_config(tmp_path, train=Train(gpus_per_node=3, tensor_parallel=3))
    assert run(doctor_machine.check_paths, three, RoundFiles(tmp_path, 1))[1].endswith(
        f"the 32 attention heads of {tmp_path}/student -> with 3 GPUs set it to 1")


@pytest.mark.parametrize("free, state", [(36_018_000, "ok"), (36_017_999, "FAIL")])
def test_disk(tmp_path, config, monkeypatch, free, state):
    make_student(tmp_path)  # 1,000,500 parameters of 36 bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(free))
    (line,) = run(doctor_machine.check_disk, config, RoundFiles(tmp_path, 1))
    assert line.startswith(f"{state:4} 0.0 GB of disk are free, 0.0 GB needed")


@pytest.mark.parametrize("name, needed", [
    ("Qwen/Qwen3-8B", "240.0"), ("Qwen/Qwen3-32B", "960.0"), ("a/Model-0.6b-base", "18.0"),
    ("a/Qwen3-30B-A3B", "900.0"), ("a/Model-8Bit", None), ("a/B2B", None), ("org/model", None)])
def test_disk_for_a_hub_name(tmp_path, monkeypatch, name, needed):
    """A checkpoint has 12 bytes a parameter to go on from and 2 of an export; there are two."""
    monkeypatch.setattr(shutil, "disk_usage", lambda path: namedtuple("Usage", "free")(500e9))
    config = make_config(tmp_path, student=Student(model=name), train=Train())
    (line,) = run(doctor_machine.check_disk, config, RoundFiles(tmp_path, 1))
    if needed is None:
        assert line.startswith("skip 500.0 GB") and "30 bytes a parameter" in line
        return
    state = "ok  " if float(needed) < 500 else "FAIL"
    assert line.startswith(f"{state} 500.0 GB of disk are free, {needed} GB needed for the policy "
                           f"and two checkpoints (by its name, {name.partition('/')[2]})")


def test_disk_without_a_measure(tmp_path, config):
    hub = make_config(tmp_path, student=Student(model="org/model"), train=config.train)
    for one in (config, hub):
        (line,) = run(doctor_machine.check_disk, one, RoundFiles(tmp_path, 1))
        assert line.startswith("skip ") and "36 bytes a parameter" in line
    student = make_student(tmp_path)
    for content, words in ((b"\x08", "is damaged"), (b"\xff" * 100, "is damaged"),
                           (None, "holds no *.safetensors")):
        (student / "model.safetensors").unlink()
        if content is not None:
            (student / "model.safetensors").write_bytes(content)
        (line,) = run(doctor_machine.check_disk, config, RoundFiles(tmp_path, 1))
        assert line.startswith("FAIL") and words in line


def test_packages(tmp_path):
    path = tmp_path / "requirements.txt"
    installed = msgspec.__version__
    path.write_text(f"# pins\n-e .\nmsgspec=={installed}  # fast\n")
    assert [str(line) for line in doctor_machine.compare_packages(path)] == [
        "ok   1 packages are as in requirements.txt"]
    path.write_text("msgspec==0.0.1\nno-such-package[x]==1.0\n")
    assert [str(line) for line in doctor_machine.compare_packages(path)] == [
        "FAIL not installed: no-such-package==1.0 -> pip install -r requirements.txt",
        f"warn msgspec is {installed}, not ==0.0.1 -> pip install -r requirements.txt, or go on at "
        "your own risk"]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-gpu.txt"])
def test_our_requirements_can_be_read(name):
    names = {package.name for package in doctor_machine.read_requirements(ROOT / name)}
    assert {"verl", "torch", "transformers", "msgspec"} <= names


def with_gpus(folder: Path, monkeypatch, count: int, code: int = 0) -> None:
    """Put an nvidia-smi first on the path that lists so many GPUs."""
    lines = "".join(f"echo 'GPU {number}: NVIDIA (UUID: x)'\n" for number in range(count))
    program(folder / "nvidia-smi", f"#!/bin/sh\n{lines}exit {code}\n")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize("here, code, nodes, parallel, states, words", [
    (8, 0, 1, 8, ["ok"], "8 GPUs on this machine, train.gpus_per_node=8"),
    (2, 0, 1, 1, ["FAIL"], "-> train on another machine"),
    (8, 9, 1, 1, ["FAIL"], "0 GPUs on this machine"),
    (8, 0, 1, 3, ["ok", "FAIL"], "train.tensor_parallel=3 does not divide 8 GPUs"),
    (8, 0, 4, 4, ["ok", "skip"], "4 nodes: only this machine")])
def test_gpus(tmp_path, monkeypatch, here, code, nodes, parallel, states, words):
    for name in doctor_machine.NAMES_MACHINES:
        monkeypatch.delenv(name, raising=False)
    with_gpus(tmp_path, monkeypatch, here, code)
    config = make_config(tmp_path,
                         train=Train(gpus_per_node=8, nodes=nodes, tensor_parallel=parallel))
    lines = run(doctor_machine.check_gpus, config, RoundFiles(tmp_path, 1))
    assert [line.split()[0] for line in lines] == states and words in lines[-1]


@pytest.mark.parametrize("name", ["LOOPTOOL_HOSTS", "RAY_API_SERVER_ADDRESS"])
@pytest.mark.parametrize("here, start", [
    (0, "skip 0 GPUs on this machine, train.gpus_per_node=8: training runs on the machines that {} "
        "names; Ray counts"),
    (8, "ok   8 GPUs on this machine")])
def test_a_launcher_without_gpus_is_no_failure_where_other_machines_train(tmp_path, monkeypatch,
                                                                          name, here, start):
    with_gpus(tmp_path, monkeypatch, here)
    for other in doctor_machine.NAMES_MACHINES:
        monkeypatch.setenv(other, "named" if other == name else "")
    config = make_config(tmp_path, train=Train(gpus_per_node=8, nodes=4))
    first, *others = run(doctor_machine.check_gpus, config, RoundFiles(tmp_path, 1))
    assert first.startswith(start.format(name)) and [line[:4] for line in others] == ["skip"]


def test_no_gpus(tmp_path, monkeypatch, config):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert doctor_machine.count_gpus() == 0
    assert run(doctor_machine.check_gpus, config,
               RoundFiles(tmp_path, 1)) == ["skip GPUs: train.profile is cpu"]


class Listing(LocalServer):
    """A server that lists models, or says something else in place of the list."""

    def __init__(self, *models: str, status: int = 200, text: str = ""):
        super().__init__()
        self.models = [{"id": model} for model in models]
        self.models_status, self.models_text = status, text


def asked(tmp_path: Path, *urls: str, models: list[str] = ["m"],
          judges: list[str] = []) -> list[str]:
    config = make_config(tmp_path,
                         teacher=Teacher(base_urls=list(urls), models=models, judges=judges))
    return run(doctor_machine.check_endpoints, config, RoundFiles(tmp_path, 1))


def test_endpoints_that_serve(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "key-1")
    with Listing("m") as one, Listing("j", "k") as two:
        assert asked(tmp_path, one.url, two.url, judges=["k"]) == [
            f"ok   {one.url} answers and serves m", f"ok   {two.url} answers and serves j, k"]
        assert one.headers[0]["Authorization"] == "Bearer key-1"
        monkeypatch.setenv("OPENAI_BASE_URL", one.url)
        assert asked(tmp_path) == [f"ok   {one.url} answers and serves m"]
        assert asked(tmp_path,
                     two.url)[-1].startswith("FAIL no endpoint serves the model 'm' -> serve it")
    simulated = "skip teacher: it is the embedded simulation, which serves any model"
    assert asked(tmp_path, "simulated") == [simulated]
    found = asked(tmp_path, "simulated", "nowhere")
    assert (found[0] == simulated
            and found[1].startswith("FAIL teacher.base_urls: 'nowhere' is no URL")
            and len(found) == 2)


@pytest.mark.parametrize("status, body, words", [
    (401, "{}", "status 401; check OPENAI_API_KEY"), (404, "{}", "status 404"),
    (500, "oops", "status 500"), (200, "<html>", "does not list its models"),
    (200, '{"data": 5}', "does not list its models"), (200, "[]", "does not list its models")])
def test_endpoints_that_fail(tmp_path, status, body, words):
    with Listing(status=status, text=body) as server:
        lines = asked(tmp_path, server.url)
    assert (lines[0].startswith(f"FAIL {server.url}")
            and words.replace("; ", " -> ") in lines[0]), lines
    assert "no endpoint serves the model 'm'" in lines[1]


def test_endpoints_that_are_not_there(tmp_path, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with Listing("m") as server:
        gone = server.url
    assert "does not list its models (APIConnectionError) -> start the server" in asked(
        tmp_path, gone)[0]
    assert asked(tmp_path)[0].startswith(
        "FAIL teacher.base_urls: '' is no URL -> set it, or the environment ")


@pytest.mark.parametrize("urls, start",
                         [([], "FAIL probe.engine is endpoint"),
                          (["http://a/v1"], "skip http://a/v1: ")])
def test_probing(tmp_path, config, urls, start):
    endpoint = make_config(tmp_path, probe=Probing(engine="endpoint", base_urls=urls))
    (line,) = run(doctor_machine.check_probing, endpoint, RoundFiles(tmp_path, 1))
    assert line.startswith(start)
    assert run(doctor_machine.check_probing, config, RoundFiles(tmp_path, 1)) == []


@pytest.mark.parametrize("server, named, start", [
    (Listing("policy"), "", "ok   {url} answers and serves policy"),
    (Listing("a", "p"), "p", "ok   {url} answers and serves a, p"),
    (Listing("a", "p"), "", "FAIL {url} serves a, p, not one model -> start it with {policy}, or "
                            "set probe.model"),
    (Listing("a"), "p", "FAIL {url} serves a, not p -> start it with {policy}"),
    (Listing(text="[]"), "", "FAIL {url}: does not list its models (AttributeError) -> start the "
                             "server or mend probe.base_urls")])
def test_probing_of_a_policy_that_is_there(tmp_path, server, named, start):
    files = RoundFiles(tmp_path, 1)
    files.policy.mkdir(parents=True)
    with server:
        config = make_config(tmp_path,
                             probe=Probing(engine="endpoint", base_urls=[server.url], model=named))
        (line,) = run(doctor_machine.check_probing, config, files)
        assert line.startswith(start.format(url=server.url, policy=files.policy)), line


@pytest.mark.parametrize("missing, start",
                         [({"vllm"}, "FAIL probe.engine is ray, and vllm is not installed -> pip "
                                     "install"),
                          (set(), "ok   Ray Data and vLLM")])
def test_probing_inside_ray(tmp_path, monkeypatch, missing, start):
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name in missing else name)
    (line,) = run(doctor_machine.check_probing, make_config(tmp_path, probe=Probing(engine="ray")),
                  RoundFiles(tmp_path, 1))
    assert line.startswith(start)


@pytest.mark.slow
@pytest.mark.parametrize("reward, start",
                         [("strict", "ok   verl 0.9.1 accepts the "),
                          ("a=b=[", "FAIL verl refuses the ")])
def test_verl(tmp_path, reward, start):
    pytest.importorskip("verl")
    config = make_config(tmp_path, train=Train(profile="cpu", reward=reward))
    (line,) = run(doctor_machine.check_verl, config, RoundFiles(tmp_path, 1))
    assert line.startswith(start)


def test_verl_that_is_absent(tmp_path, config, monkeypatch):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    assert run(doctor_machine.check_verl, config, RoundFiles(tmp_path, 1)) == [
        "skip verl's check of the config: verl is not installed"]


# The rows


def test_rows_that_are_not_made_are_skipped(tmp_path, config):
    found = [str(line) for line in findings(doctor_data.CHECKS, config, RoundFiles(tmp_path, 1))]
    assert found == [f"skip rows: {RoundFiles(tmp_path, 1).train_parquet} is not made yet, see "
                     "json2parquet.py"]


@pytest.mark.parametrize("check", [doctor_data.check_rows, doctor_data.check_labels])
def test_rows_of_another_version_fail(config, files, check):
    pq.write_table(pq.read_table(files.train_parquet).replace_schema_metadata(None),
                   files.train_parquet)
    (line,) = run(check, config, files)
    assert (line.startswith(f"FAIL {files.train_parquet}: has rows of schema version none")
            and line.endswith("again"))


def test_rows(config, files):
    assert run(doctor_data.check_rows, config, files) == ["ok   11 + 1 rows of schema version 2"]
    (line,) = run(doctor_data.check_updates, config, files)
    assert line.startswith("ok   batches: 11 rows")
    once = make_config(Path(config.run_dir), train=Train(batch_size=4, mini_batch_size=4))
    assert "clip_high" in run(doctor_data.check_updates, once, files)[1]
    large = make_config(Path(config.run_dir), train=Train(batch_size=16, mini_batch_size=16))
    assert "11 rows are less than train.batch_size=16" in run(doctor_data.check_rows, large,
                                                              files)[1]
    assert run(doctor_data.check_updates, large, files) == []
    files.dataset.write_text(files.dataset.read_text() + "\n")
    assert "made from another dataset.jsonl -> run json2parquet.py again" in run(
        doctor_data.check_rows, config, files)[1]


@pytest.mark.parametrize("mode", ["strict", "paper_compat"])
def test_labels(tmp_path, mode):
    config = make_config(tmp_path, train=Train(profile="cpu", reward=mode))
    files = make_rows(tmp_path, config, list(read_jsonl(FOLDER / "samples.jsonl", Sample)))
    (line,) = run(doctor_data.check_labels, config, files)
    assert line.startswith("ok   all ") and line.endswith("labels score 1.0 against themselves")


def test_labels_that_fail(config, files):
    deep: dict = {}
    for _ in range(80):
        deep = {"a": deep}
    bad = msgspec.json.encode(
        Message(role="assistant", calls=[Call(name="f", arguments=deep)])).decode()
    rewrite(files.test_parquet, lambda row: row["reward_model"].update(ground_truth=bad))
    (line,) = run(doctor_data.check_labels, config, files)
    assert (line.startswith("FAIL 1 of 12 labels do not match themselves: ")
            and "(too_deep) -> take these " in line)
    rewrite(files.test_parquet, lambda row: row["reward_model"].update(ground_truth="{"))
    assert "FAIL a label is no message" in run(doctor_data.check_labels, config, files)[0]


def test_lengths():
    (good,) = doctor_data.length_lines([100, 1, 800, 101, 799], 800)
    assert str(good) == (
        "ok   0 samples would lose tools; tokens a prompt: to 100: 2, to 200: 1, to 800: 2; "
        "longest 800 of 800")
    (bad,) = doctor_data.length_lines(iter([50, 801, 5000]), 800)
    assert str(bad).startswith(
        "FAIL 2 samples would lose tools (tokens a prompt: to 100: 1, over: 2; longest 5,000 of")
    with pytest.raises(InputError, match="hold no rows"):
        list(doctor_data.length_lines([], 800))


class Bytes:
    """A tokenizer of single characters; `special` are those that a decoded reply lacks."""

    def __init__(self, special: str = "",
                 template=lambda message: f"[{message['role']}]{message['content']}\n"):
        self._special, self._template = special, template

    def apply_chat_template(self, chat, add_generation_prompt, tokenize):
        return "".join(map(self._template, chat)) + "[assistant]"

    def __call__(self, text, add_special_tokens):
        return {"input_ids": [ord(sign) for sign in text if sign != "\x00"]}

    def decode(self, ids, skip_special_tokens):
        return "".join(sign for sign in map(chr, ids)
                       if not (skip_special_tokens and sign in self._special))


CHAT = [{"role": "system", "content": "tools"}, {"role": "user", "content": "Zürich?"}]
TRUTH = msgspec.json.encode(
    Message(role="assistant", calls=[Call(name="f", arguments={"x": "Zürich"})])).decode()


def refuses(message):
    if message["role"] == "system":
        raise ValueError("no system turn here")
    return message["content"]


@pytest.mark.parametrize("tokenizer, chat, fault", [
    (Bytes(), CHAT, None), (Bytes(special="<"), CHAT, "scores 0 (untagged_call)"),
    (Bytes(template=lambda message: message["role"]), CHAT, "leaves out text of the system"),
    (Bytes(), [{"role": "user", "content": "a\x00b"}], "another text")])
def test_template(tokenizer, chat, fault):
    found = doctor_data.template_fault(tokenizer, chat, TRUTH, "strict")
    assert found is None if fault is None else fault in found


def test_template_that_refuses():
    with pytest.raises(InputError, match="cannot show a prompt .no system turn here."):
        doctor_data.template_fault(Bytes(template=refuses), CHAT, TRUTH, "strict")


def test_checks_with_a_tokenizer(config, files, monkeypatch):
    monkeypatch.setattr(doctor_data, "student_tokenizer", lambda config: Bytes())
    assert run(doctor_data.check_template, config, files) == [
        "ok   prompts and labels of 12 rows come back whole from the student's tokenizer"]
    assert run(doctor_data.check_lengths, config,
               files)[0].startswith("ok   0 samples would lose tools; ")
    config.student.max_prompt_tokens = 10
    assert run(doctor_data.check_lengths, config,
               files)[0].startswith("FAIL 12 samples would lose tools (")
    monkeypatch.setattr(doctor_data, "student_tokenizer", lambda config: Bytes(special="<"))
    (line,) = run(doctor_data.check_template, config, files)
    assert "scores 0 (untagged_call) in 11 of 12 rows -> use a tokenizer" in line


@pytest.mark.slow
def test_script(tmp_path):
    from tiny_policy import make_policy

    policy = make_policy(tmp_path / "policy")
    make_rows(tmp_path, make_config(tmp_path), [sample(i, city="Rome") for i in range(10)])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    command = ["bash", ROOT / "scripts/doctor.sh", "--config", ROOT / "configs/laptop.yaml",
               "--round", "1", "--set", f"run_dir={tmp_path}", "--set", f"student.model={policy}",
               "--set", "train.batch_size=8", "--set", "train.mini_batch_size=8", "--set",
               "student.max_prompt_tokens=2000"]
    before = sorted(tmp_path.rglob("*"))
    good = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PATH": path},
                          cwd="/")
    states = [line.split()[0] for line in good.stderr.splitlines()]
    assert good.returncode == 0 and "FAIL" not in states and states.count("ok") >= 9, good.stderr
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.slow
@pytest.mark.parametrize("flags", [[], ["--fresh"]])
def test_a_trained_round_is_only_looked_at_and_made_anew_with_fresh(tmp_path, flags):
    """04_train.sh with all of its steps but the training itself, which only tells its flags."""
    from tiny_policy import make_policy

    files = make_rows(tmp_path, make_config(tmp_path), [sample(i, city="Rome") for i in range(10)])
    files.policy.mkdir()
    rows = files.train_parquet.read_bytes()
    python = program(tmp_path / "bin" / "python", '#!/bin/bash\n[[ "$1" == *multinode.py ]] && '
                     f'echo "${{*:2}}" || exec {sys.executable} "$@"\n')
    given = ["--round", "1", *flags, "--config", str(ROOT / "configs/laptop.yaml"),
             *(word for value in (
        f"run_dir={tmp_path}", f"student.model={make_policy(tmp_path / 'student')}",
        "train.batch_size=4", "train.mini_batch_size=4", "train.test_share=0.4",
        "student.max_prompt_tokens=2000") for word in ("--set", value))]
    done = subprocess.run(["bash", ROOT / "scripts/04_train.sh", *given], capture_output=True,
                          text=True, cwd="/",
                          env={**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"})
    assert done.returncode == 0 and done.stdout.split() == given, done.stderr
    assert ("round 1 is trained already" in done.stderr) != bool(flags)
    assert (files.train_parquet.read_bytes() == rows) != bool(flags)
