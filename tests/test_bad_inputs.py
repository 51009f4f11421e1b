"""Bad inputs of every script: exit code 2, one line that names file, line and field and says what
to do, nothing written.

Each case breaks one thing in a small finished run (the golden files) and calls a script's real main
in this process. torch, transformers, verl and ray cannot be imported here: a wrong input is found
without them.
"""
from __future__ import annotations

import contextlib
import importlib
import io
import logging
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from grpotool.rows import METADATA
from looptool.command import run_main
from looptool.config_file import ROOT
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Probe

GOLDEN = Path(__file__).resolve().parent / "golden"
HEAVY = ("torch", "transformers", "verl", "ray")
TOOLS = "dialog_generation.synthesize_tools"
DIALOGS = "dialog_generation.run"
CONVERSATIONS = "dialog_generation.trans2conversation"
SAMPLES = "grpotool.dataset.utils.conversation_transform_grpo_qwen"
SEED = "grpotool.dataset.utils.filter_grpo_sample"
PARQUET = "grpotool.dataset.utils.json2parquet"
TRAIN = "grpotool.train"
PROBE = "dataloop.greedy_capability_prob"
VERIFY = "dataloop.judgement_label_verification"
EXPAND = "dataloop.error_data_expansion"
FILTER = "dataloop.filter_grpo_sample"
NEXT = "dataloop.next_round"
DECONTAMINATE = "dataloop.decontaminate"
ABLATIONS = "dataloop.ablations.run"
REPORT = "dataloop.report"
HELDOUT = "looptool.simulation.heldout"
CONFIG = """run_dir: {run}
student: {{model: {run}/student, instructions: short}}
teacher: {{base_urls: [simulated], models: [simulated-teacher]}}
dialogs: {{count: 2, tools_per_dialog: [1, 2], messages: [2, 4], verify: none}}
train: {{profile: cpu, batch_size: 2, mini_batch_size: 2}}
probe: {{engine: transformers}}
mix: {{size: 4, seed_new: 2, high_ppl: 1}}
"""

Break = Callable[[Path], object]


def put(name: str, content: str | bytes) -> Break:
    """Replace a file of the run."""
    data = content.encode() if isinstance(content, str) else content

    def change(run: Path) -> None:
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_bytes(data)
    return change


def swap(name: str, old: str, new: str) -> Break:
    """Replace the first `old` in a file of the run."""
    def change(run: Path) -> None:
        text = (run / name).read_text(encoding="utf-8")
        assert old in text, f"{name} does not hold {old}"
        (run / name).write_text(text.replace(old, new, 1), encoding="utf-8")
    return change


def cut(name: str) -> Break:
    """Cut the last line of a file in its middle, as a copy that ended early."""
    def change(run: Path) -> None:
        data = (run / name).read_bytes()
        (run / name).write_bytes(data[:len(data) - len(data.splitlines()[-1]) // 2])
    return change


def drop(name: str) -> Break:
    return lambda run: (run / name).unlink()


def folder(name: str) -> Break:
    return lambda run: (run / name).mkdir(parents=True)


def add(name: str, line: int) -> Break:
    """Write one line of a file a second time."""
    return lambda run: (run / name).write_bytes(
        (run / name).read_bytes() + (run / name).read_bytes().splitlines(keepends=True)[line - 1])


def without_student(run: Path) -> None:
    shutil.rmtree(run / "student")


def fine(run: Path) -> None:
    """The run is whole; the arguments are wrong."""


class Case(NamedTuple):
    """`says`: fragments of the one line; {run} in arguments and fragments is the run's folder."""

    name: str
    module: str
    arguments: str
    change: Break
    says: tuple[str, ...]


CASES = [
    # config and flags
    Case("config absent", TOOLS, "--config {run}/none.yaml", fine, ("{run}/none.yaml", "--config")),
    Case("config empty", SEED, "", put("config.yaml", ""),
         ("{run}/config.yaml", "start from configs/laptop.yaml")),
    Case("config not YAML", SEED, "", put("config.yaml", "train: [1\nseed: 0\n"),
         ("{run}/config.yaml", "not YAML", "line 2")),
    Case("config not UTF-8", SEED, "", put("config.yaml", b"run_dir: \xff\n"),
         ("{run}/config.yaml", "UTF-8")),
    Case("unknown config key", NEXT, "", swap("config.yaml", "mini_batch_size", "minibatch_size"),
         ("{run}/config.yaml: train", "'minibatch_size'", "did you mean 'mini_batch_size'?")),
    Case("config value of a wrong type", TRAIN, "--set train.batch_size=many", fine,
         ("$.train.batch_size",)),
    Case("config value out of range", TRAIN, "--set train.mini_batch_size=0", fine,
         ("$.train.mini_batch_size", ">= 1")),
    Case("override without value", REPORT, "--set seed", fine, ("--set seed", "section.key=value")),
    Case("override not YAML", REPORT, "--set seed=[", fine, ("--set seed=[", "YAML")),
    Case("unknown flag", EXPAND, "--rounds 1", fine, ("--rounds", "--help")),
    Case("unknown choice", DIALOGS, "--func crawl", fine, ("--func", "data_crawl", "--help")),
    Case("teacher is no address", VERIFY, "--set teacher.base_urls=[nowhere]", fine,
         ("nowhere", "teacher.base_urls")),
    # rounds
    Case("round is no number", NEXT, "--round two", fine, ("--round two", "whole number")),
    Case("round 0 has no training", TRAIN, "--round 0", fine, ("--round 0", "round 1")),
    Case("round before is not trained", TRAIN, "--round 3", fine,
         ("{run}/round_2/policy", "train round 2 first")),
    Case("round not begun", NEXT, "--round 7", fine,
         ("{run}/round_7/error_seeds.jsonl", "run the step")),
    Case("file of another round", NEXT, "--round 1",
         swap("round_1/expanded.jsonl", '"round":1', '"round":4'),
         ("expanded sample bc0e71d693233ad0", "07_expand.sh")),
    Case("dataset would change", NEXT, "--round 1", put("round_2/dataset.jsonl", "{}\n"),
         ("{run}/round_2/dataset.jsonl", "--fresh")),
    # tools, dialogs, samples
    Case("tools absent", TOOLS, "--tools {run}/none", fine, ("{run}/none", "check the path")),
    Case("folder without tools", TOOLS, "--tools {run}/empty", folder("empty"),
         ("{run}/empty", ".jsonl")),
    Case("tool list empty", DIALOGS, "", put("tools.jsonl", ""),
         ("{run}/tools.jsonl", "is empty", "run the step")),
    Case("tool named twice", DIALOGS, "", add("tools.jsonl", 1),
         ("{run}/tools.jsonl", "twice", "remove one")),
    Case("dialog truncated", CONVERSATIONS, "", cut("dialogs.jsonl"),
         ("{run}/dialogs.jsonl:1", "truncated")),
    Case("dialogs are a folder", CONVERSATIONS, "--input {run}", fine, ("{run}", "cannot be read")),
    Case("conversation without tools", SAMPLES, "",
         swap("conversations.jsonl", '"tools":', '"tool":'),
         ("{run}/conversations.jsonl:1", "`tools`")),
    Case("student absent", SAMPLES, "", without_student,
         ("student.model", "{run}/student", "set student.model")),
    Case("unknown field", SEED, "", swap("samples.jsonl", '"origin"', '"orign"'),
         ("{run}/samples.jsonl:1", "`orign`")),
    Case("unknown role", SEED, "", swap("samples.jsonl", '"role":"user"', '"role":"human"'),
         ("{run}/samples.jsonl:1", "'human'", "$.messages[0].role")),
    Case("line not UTF-8", SEED, "", put("samples.jsonl", b'{"id": "\xff"}\n'),
         ("{run}/samples.jsonl:1", "mend")),
    # training
    Case("dataset absent", PARQUET, "", drop("round_1/dataset.jsonl"),
         ("{run}/round_1/dataset.jsonl", "03_make_samples.sh", "another config than "
                                                               "{run}/config.yaml")),
    Case("dataset empty", PARQUET, "", put("round_1/dataset.jsonl", ""),
         ("{run}/round_1/dataset.jsonl", "is empty")),
    Case("dataset truncated", PARQUET, "", cut("round_1/dataset.jsonl"),
         ("{run}/round_1/dataset.jsonl:", "truncated")),
    Case("student of the rows absent", PARQUET, "", without_student,
         ("student.model", "{run}/student", "set student.model")),
    Case("Parquet damaged", TRAIN, "", put("round_1/train.parquet", "rows"),
         ("{run}/round_1/train.parquet", "json2parquet.py")),
    Case("Parquet absent", TRAIN, "", drop("round_1/train.parquet"),
         ("{run}/round_1/train.parquet", "json2parquet.py", "another config than "
                                                            "{run}/config.yaml")),
    Case("Parquet of another version", TRAIN, "",
         lambda run: pq.write_table(pa.table({"row": [1, 2]}), run / "round_1" / "train.parquet"),
         ("{run}/round_1/train.parquet", "schema version none", "json2parquet.py again")),
    Case("batch larger than the data", TRAIN,
         "--set train.batch_size=8 --set train.mini_batch_size=8", fine,
         ("{run}/round_1/train.parquet", "2 rows", "train.batch_size=8", "lower")),
    Case("batch that does not divide", TRAIN, "--set train.batch_size=3", fine,
         ("train.mini_batch_size=2", "train.batch_size=3", "divisor")),
    # data loop
    Case("policy absent", PROBE, "", fine, ("{run}/round_1/policy", "04_train.sh --round 1")),
    Case("sample without label", PROBE, "--model {run}/student --output {run}/new.jsonl",
         swap("round_1/dataset.jsonl", '"label"', '"lable"'),
         ("{run}/round_1/dataset.jsonl:1", "`lable`")),
    Case("perplexity is null", VERIFY, "", lambda run: (
        drop("round_1/verdicts.jsonl")(run),
        swap("round_1/probes.jsonl", '"perplexity":1.5', '"perplexity":null')(run)),
         ("{run}/round_1/probes.jsonl:1", "$.perplexity", "mend")),
    Case("one sample twice", VERIFY, "", lambda run: (
        drop("round_1/verdicts.jsonl")(run), add("round_1/probes.jsonl", 1)(run)),
         ("595d2ff15f2320d8", "remove")),
    Case("error seeds absent", EXPAND, "", drop("round_1/error_seeds.jsonl"),
         ("{run}/round_1/error_seeds.jsonl", "run the step")),
    Case("scenarios not YAML", EXPAND, "--scenarios {run}/s.yaml", put("s.yaml", "a: [\nb: {"),
         ("{run}/s.yaml", "line 2", "mend")),
    Case("scenario twice", EXPAND, "--scenarios {run}/s.yaml",
         put("s.yaml", "a: {x: one}\nb: {x: two}"), ("{run}/s.yaml", "'x'", "rename one")),
    Case("too few scenarios", EXPAND, "--scenarios {run}/s.yaml", put("s.yaml", "a: {x: one}"),
         ("{run}/s.yaml", "expand.per_seed", "add some")),
    Case("judge named twice", VERIFY, "--set teacher.judges=[a,b,a]",
         drop("round_1/verdicts.jsonl"), ("teacher.judges", "'a' twice", "votes_per_order")),
    Case("rollback of nothing", VERIFY, "--rollback", drop("round_1/label_changes.jsonl"),
         ("{run}/round_1/label_changes.jsonl", "--round")),
    Case("rollback and its contrary", VERIFY, "--rollback --replace", fine,
         ("--replace", "not allowed")),
    Case("rollback after training", VERIFY, "--rollback", folder("round_2/training"),
         ("{run}/round_2", "trained", "move")),
    Case("label changes truncated", VERIFY, "--rollback", cut("round_1/label_changes.jsonl"),
         ("{run}/round_1/label_changes.jsonl:1", "mend")),
    Case("preset unknown", VERIFY, "--set verify.preset=ours", fine, ("$.verify.preset", "'ours'")),
    Case("error seed without cause", EXPAND, "--output {run}/new.jsonl",
         swap("round_1/error_seeds.jsonl", '"cause"', '"reason"'),
         ("{run}/round_1/error_seeds.jsonl:1", "`reason`")),
    Case("scenarios absent", EXPAND, "--scenarios {run}/s.yaml", fine,
         ("{run}/s.yaml", "--scenarios")),
    Case("scenario of no length", EXPAND, "--scenarios {run}/s.yaml",
         put("s.yaml", "a: {x: {turns: 2, text: one}}"),
         ("{run}/s.yaml: a: x", "turns: one or several")),
    Case("part of the mix beyond the whole", NEXT, "--set mix.seed_new=1.5", fine,
         ("$.mix.seed_new", "1.0")),
    Case("benchmark absent", NEXT, "--set mix.benchmarks=[{run}/none]", fine,
         ("{run}/none", "check the path")),
    Case("no benchmark named", DECONTAMINATE, "", fine, ("--benchmark", "mix.benchmarks")),
    Case("benchmark without data", DECONTAMINATE, "--benchmark {run}/empty", folder("empty"),
         ("{run}/empty", ".json")),
    Case("benchmark is no JSON", DECONTAMINATE, "--benchmark {run}/b.json",
         put("b.json", "question"), ("{run}/b.json", "not JSON")),
    Case("benchmark of another form", DECONTAMINATE, "--benchmark {run}/b.json",
         put("b.json", '[{"prompt": "Hi"}]'), ("no tool and no request",)),
    Case("nothing to filter", FILTER, "--judge", drop("round_1/expanded.jsonl"),
         ("{run}/round_1/expanded.jsonl", "run the step")),
    Case("unknown variant", ABLATIONS, "--variants no_judge", fine, ("--variants", "no_jglv")),
    Case("no results yet", ABLATIONS, "--table", fine,
         ("{run}/ablations/results", "without --table")),
    Case("expanded truncated", FILTER, "", cut("round_1/expanded.jsonl"),
         ("{run}/round_1/expanded.jsonl:", "truncated")),
    Case("meta damaged", VERIFY, "", put("round_1/verdicts.jsonl.meta.json", "{"),
         ("{run}/round_1/verdicts.jsonl.meta.json", "remove it")),
    Case("output of unknown making", VERIFY, "", fine,
         ("{run}/round_1/verdicts.jsonl", ".meta.json", "--fresh")),
    Case("nothing to report", REPORT, "", drop("round_1/dataset.jsonl"),
         ("{run}/round_1/dataset.jsonl", "03_make_samples.sh")),
    Case("manifest damaged", REPORT, "", put("round_1/dataset.meta.json", "{"),
         ("{run}/round_1/dataset.meta.json", "08_next_round.sh")),
    # places that cannot be written: below a regular file, as permissions do not bind root
    Case("tools not writable", TOOLS, "--output {run}/config.yaml/tools.jsonl", fine,
         ("{run}/config.yaml/tools.jsonl", "cannot be written", "permissions")),
    Case("dialogs not writable", DIALOGS,
         "--tools_path {run}/tools.jsonl --set run_dir={run}/config.yaml/run", fine,
         ("{run}/config.yaml/run/dialogs.jsonl", "cannot be written", "run_dir")),
    Case("verdicts not writable", VERIFY, "--output {run}/config.yaml", fine,
         ("{run}/config.yaml/verdicts.jsonl", "cannot be written", "permissions")),
    Case("held-out not writable", HELDOUT, "--set run_dir={run}/config.yaml", fine,
         ("{run}/config.yaml/heldout.jsonl", "cannot be written", "run_dir")),
]


def make_run(run: Path) -> None:
    """A small run whose files are all good."""
    shutil.copytree(GOLDEN / "loop", run / "round_1")
    write_jsonl(run / "round_1" / "dataset.jsonl",
                [probe.sample for probe in read_jsonl(GOLDEN / "loop" / "probes.jsonl", Probe)])
    for name in ("tools", "dialogs", "conversations", "samples"):
        shutil.copy(GOLDEN / f"{name}.jsonl", run / f"{name}.jsonl")
    shutil.copy(GOLDEN / "samples.jsonl", run / "seed.jsonl")
    put("student/generation_config.json", '{"eos_token_id": 1}')(run)
    pq.write_table(pa.table({"row": [1, 2]}).replace_schema_metadata(METADATA),
                   run / "round_1" / "train.parquet")
    (run / "config.yaml").write_text(CONFIG.format(run=run), encoding="utf-8")


def snapshot(run: Path) -> dict[str, bytes | None]:
    """Every file's content and every folder."""
    return {str(path): path.read_bytes() if path.is_file() else None
            for path in sorted(run.rglob("*"))}


def call(module: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Exit code and standard error of a script's main."""
    for name in HEAVY:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(sys, "argv", [module.rpartition(".")[2] + ".py", *arguments])
    heard = io.StringIO()
    with contextlib.redirect_stderr(heard), pytest.raises(SystemExit) as end:
        run_main(importlib.import_module(module).main)
    return end.value.code, heard.getvalue()


def arguments_of(case: Case, run: Path) -> list[str]:
    given = case.arguments.format(run=run).split()
    return given if "--config" in given else [*given, "--config", str(run / "config.yaml")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_bad_input_is_refused(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROUND", raising=False)
    make_run(tmp_path)
    case.change(tmp_path)
    before = snapshot(tmp_path)
    code, heard = call(case.module, arguments_of(case, tmp_path), monkeypatch)
    assert code == 2 and heard.count("\n") == 1, heard
    for fragment in case.says:
        assert fragment.format(run=tmp_path) in heard
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("case",
                         [case for case in CASES
                          if case.name in ("unknown flag", "dialog truncated")],
                         ids=lambda case: case.name)
def test_bad_input_of_a_process(case: Case, tmp_path: Path) -> None:
    """The same from outside: no traceback, no second line."""
    make_run(tmp_path)
    case.change(tmp_path)
    before = snapshot(tmp_path)
    script = ROOT / f"{case.module.replace('.', '/')}.py"
    done = subprocess.run([sys.executable, str(script), *arguments_of(case, tmp_path)], cwd="/",
                          text=True, capture_output=True, timeout=120)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    for fragment in case.says:
        assert fragment.format(run=tmp_path) in done.stderr
    assert snapshot(tmp_path) == before
