"""From a round's dataset to the rows that verl reads."""
from __future__ import annotations

import json
import subprocess
import sys
from array import array
from pathlib import Path

import msgspec
import pyarrow.parquet as pq
import pytest
from golden_files import FOLDER, check_golden
from tiny_policy import make_policy

from grpotool.dataset.utils import json2parquet
from grpotool.dataset.utils.json2parquet import convert, last_tested, rank
from looptool.config import Config, Student, Teacher, Train
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.prompts.render import ChatMessage, render_sample
from looptool.records import Call, Message, Sample, Tool
from looptool.run_files import RoundFiles
from looptool.stages.meta import read_meta


def characters(chat: list[ChatMessage]) -> int:
    """A stand-in for tokens."""
    return sum(len(message["content"]) for message in chat)


def fits(chat: list[ChatMessage], limit: int) -> bool:
    return characters(chat) <= limit


def config(max_prompt: int = 10**6, share: float = 0.02) -> Config:
    return Config(run_dir="unused", teacher=Teacher(models=["m"]),
                  train=Train(test_share=share),
                  student=Student(model="", instructions="short", max_prompt_tokens=max_prompt))


def sample(number: int, text: str = "", **arguments) -> Sample:
    label = (Message(role="assistant", calls=[Call(name="find", arguments=arguments)]) if arguments
             else Message(role="assistant", content="Fine."))
    return Sample(id=f"{number:04d}", tools=[Tool(name="find")], date="unknown", label=label,
                  messages=[Message(role="user", content=f"task {number} {text}")])


def converted(folder: Path, samples: list[Sample],
              settings: Config | None = None) -> dict[str, list[dict]]:
    """The rows of both files."""
    write_jsonl(folder / "dataset.jsonl", samples)
    paths = {split: folder / f"{split}.parquet" for split in ("train", "test")}
    convert(folder / "dataset.jsonl", paths["train"], paths["test"], settings or config(), fits)
    return {split: pq.read_table(path).to_pylist() for split, path in paths.items()}


def test_row_is_what_verl_reads(tmp_path):
    rows = converted(tmp_path, list(read_jsonl(FOLDER / "samples.jsonl", Sample)))
    lines = [json.dumps(row, ensure_ascii=False, indent=1) + "\n" for row in rows["train"][:2]]
    (tmp_path / "rows").write_text("".join(lines), encoding="utf-8")
    check_golden(tmp_path / "rows", "verl_rows.json")


def test_labels_and_prompts_come_back_whole(tmp_path):
    samples = [sample(1, city="Rome"), sample(2, day=None),
               sample(3, nested={"a": [1, {"b": True}], "c": 10**30}), sample(4),
               sample(5, text="größe 漢 \u2028 \x00")]
    rows = converted(tmp_path, samples)
    by_id = {row["extra_info"]["id"]: row for row in rows["train"] + rows["test"]}
    assert len(by_id) == 5
    for one in samples:
        row = by_id[one.id]
        truth = msgspec.json.decode(row["reward_model"]["ground_truth"])
        assert (truth.pop("tools") == [tool.name for tool in one.tools]
                and msgspec.convert(truth, Message) == one.label)
        assert row["prompt"] == render_sample(one, "short")
        assert row["ability"] == ("call" if one.label.calls else "text")
    assert [row["extra_info"]["index"] for row in rows["train"]] == list(range(4))


def test_a_long_prompt_is_left_out_whole(tmp_path):
    limit = characters(render_sample(sample(1), "short"))
    long = [sample(7, text="x"), sample(8, text="y" * 500)]
    rows = converted(tmp_path, [sample(1), *long, sample(2), sample(3)],
                     config(max_prompt=limit + 0))
    kept = rows["train"] + rows["test"]
    assert {row["extra_info"]["id"] for row in kept} == {"0001", "0002", "0003"}
    assert all(characters(row["prompt"]) <= limit for row in kept)
    meta = read_meta(tmp_path / "train.parquet")
    assert meta.counts == {"train": 2, "test": 1, "too long": 2} and meta.inputs == 5
    assert "2 too long" in meta.line()


@pytest.mark.parametrize("count, share, tested",
                         [(2, 0.02, 1), (10, 0.02, 1), (300, 0.02, 6), (1000, 0.02, 20),
                          (3, 0.9, 2)])
def test_share_of_test_rows(count, share, tested):
    assert len(drawn([str(i) for i in range(count)], share)) == tested


def drawn(ids: list[str], share: float = 0.02, seed: int = 0) -> set[str]:
    """Those of the ids that are drawn for testing."""
    last = last_tested(array("Q", [rank(id, seed) for id in ids]), share)
    return {id for id in ids if rank(id, seed) <= last}


def test_a_sample_stays_on_its_side_in_later_rounds():
    first = [f"id{i}" for i in range(1000)]
    tested = drawn(first)
    again = drawn(first[::2] + [f"new{i}" for i in range(500)])
    back = {name for name in again if name.startswith("id")}
    assert len(back) > 5 and len(back - tested) <= 4
    assert drawn(first, seed=1) != tested


def test_a_repeated_sample_is_on_one_side_only(tmp_path):
    rows = converted(tmp_path, [sample(i % 5) for i in range(40)], config(share=0.2))
    ids = {split: {row["extra_info"]["id"] for row in some} for split, some in rows.items()}
    assert not ids["train"] & ids["test"] and len(rows["train"]) + len(rows["test"]) == 40


def test_same_input_same_bytes(tmp_path):
    files = []
    for name in ("a", "b"):
        converted(tmp_path / name, [sample(i, city=str(i)) for i in range(30)])
        files.append([(tmp_path / name / f"{split}.parquet").read_bytes()
                      for split in ("train", "test")])
    assert files[0] == files[1]


def test_rows_are_written_in_groups_and_no_part_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(json2parquet, "ROW_GROUP", 8)
    converted(tmp_path, [sample(i) for i in range(31)])
    assert pq.ParquetFile(tmp_path / "train.parquet").num_row_groups == 4
    before = (tmp_path / "train.parquet").read_bytes()
    monkeypatch.setattr(json2parquet, "make_row", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        converted(tmp_path, [sample(i) for i in range(40)])
    assert (tmp_path / "train.parquet").read_bytes() == before


@pytest.mark.parametrize("samples, words", [([], "is empty"), ([sample(1)], "1 samples fit"),
                                            ([sample(1), sample(1)], "1 samples fit")])
def test_too_little_is_refused(tmp_path, samples, words):
    with pytest.raises(InputError, match=words):
        converted(tmp_path, samples)
    assert not list(tmp_path.glob("*.parquet"))


def test_rows_of_a_trained_round_stay_until_fresh(tmp_path, monkeypatch, caplog):
    files = RoundFiles(tmp_path, 1)
    monkeypatch.setattr(json2parquet, "StudentFits", lambda config: fits)

    def made(*flags: str) -> list[bytes]:
        monkeypatch.setattr(sys, "argv",
                            ["json2parquet.py", "--round", "1", "--config",
                             str(ROOT / "configs/laptop.yaml"), "--set", f"run_dir={tmp_path}",
                             "--set", "student.max_prompt_tokens=100000", *flags])
        with caplog.at_level("INFO"):
            json2parquet.main()
        return [path.read_bytes() for path in (files.train_parquet, files.test_parquet)]

    write_jsonl(files.dataset, [sample(i) for i in range(20)])
    before = made()
    files.policy.mkdir()
    assert (made("--set", "train.test_share=0.5") == before
            and "is trained already, so its rows stay" in caplog.text)
    assert made("--set", "train.test_share=0.5", "--fresh") != before
    files.test_parquet.unlink()
    assert made() == before


@pytest.mark.slow
def test_script_counts_with_the_students_tokenizer(tmp_path):
    policy = make_policy(tmp_path / "policy")
    write_jsonl(tmp_path / "round_1" / "dataset.jsonl",
                [sample(i, text="x" * 10 * i) for i in range(10)])
    command = [sys.executable, ROOT / "grpotool/dataset/utils/json2parquet.py", "--round", "1",
               "--set", f"run_dir={tmp_path}", "--set", f"student.model={policy}", "--set",
               "student.max_prompt_tokens=270"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    meta = read_meta(tmp_path / "round_1" / "train.parquet")
    assert 0 < meta.counts["too long"] < 9
    assert done.stderr.strip().splitlines()[-1] == meta.line()
