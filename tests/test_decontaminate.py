"""Samples that a benchmark has: found by tool and by request, in the forms of BFCL and ACEBench, alone and in a round."""
from __future__ import annotations

import json
import sys

import pytest

from dataloop import decontaminate
from dataloop.contamination import RUN, Benchmark, benchmark_files, runs
from dataloop.mixing import Supply, mix_parts
from looptool.config import Mix
from looptool.records import InputError, Message, Sample, Tool, read_jsonl, write_jsonl

BOOK = {"type": "object", "properties": {"title": {"type": "string"}, "copies": {"type": "integer"}}, "required": ["title"]}
QUESTION = "Please order three copies of the second edition of the blue book for me today."
BFCL = {"id": "simple_0", "question": [[{"role": "system", "content": "You are a shop that sells books and sends them home."},
                                        {"role": "user", "content": QUESTION}]],
        "function": [{"name": "order_book", "description": "Order.", "parameters": {**BOOK, "type": "dict"}}]}
ACEBENCH = {"id": "a", "question": "user: \u8bf7\u5e2e\u6211\u8ba2\u4e24\u672c\u84dd\u8272\u5c01\u9762\u7684\u4e66\n", "function": []}


def sample(text: str, *tools: Tool) -> Sample:
    return Sample(id=text[:9], tools=list(tools), date="unknown", messages=[Message(role="user", content=text)],
                                  label=Message(role="assistant", content="Yes."))


@pytest.fixture
def benchmark(tmp_path) -> Benchmark:
    folder = tmp_path / "benchmark"
    folder.mkdir()
    (folder / "simple.json").write_text(json.dumps([BFCL]), encoding="utf-8")
    (folder / "chinese.jsonl").write_text(json.dumps(ACEBENCH) + "\n", encoding="utf-8")
    return Benchmark(benchmark_files([folder]))


@pytest.mark.parametrize("name, parameters, seen", [
    ("order_book", BOOK, True), ("Order_Book", BOOK, True), ("order_books", BOOK, False),
    ("order_book", {**BOOK, "properties": {**BOOK["properties"], "more": {"type": "string"}}}, False),
    ("order_book", {**BOOK, "properties": {"title": {"type": "string"}, "copies": {"type": "number"}}}, False)])
def test_a_tool_is_the_same_by_name_and_schema(benchmark, name, parameters, seen):
    found = benchmark.reason(sample("What is this?", Tool(name=name, parameters=parameters)))
    assert found == (f"seen_tool:{name}" if seen else None)


@pytest.mark.parametrize("text, seen", [
    (QUESTION, True), (QUESTION.upper().replace(".", "!"), True), ("Well. " + QUESTION, True),
    ("Please order three copies of the second edition of whatever else there might be on your long shelf.", False),
    ("You are a shop that sells books and sends them home.", False),
    ("\u8bf7\u5e2e\u6211\u8ba2\u4e24\u672c\u84dd\u8272\u5c01\u9762\u7684\u4e66", True), ("Thanks.", False)])
def test_a_request_is_the_same_by_its_runs_of_words(benchmark, text, seen):
    assert benchmark.reason(sample(text)) == ("seen_request" if seen else None)


def test_a_short_text_is_one_run():
    assert len(runs("a b c")) == 1 and runs("") == [] and len(runs("a " * (RUN + 2))) == 3


def test_a_json_file_may_hold_one_entry_a_line_as_those_of_bfcl_do(tmp_path):
    (tmp_path / "simple.json").write_text("\n".join([json.dumps(BFCL), json.dumps(ACEBENCH)]), encoding="utf-8")
    benchmark = Benchmark(benchmark_files([tmp_path]))
    assert benchmark.reason(sample(QUESTION)) == "seen_request" and len(benchmark.tools) == 1


def test_bad_benchmarks(tmp_path):
    with pytest.raises(InputError, match="holds no .json"):
        benchmark_files([tmp_path])
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="no tool and no request"):
        Benchmark(benchmark_files([tmp_path]))


def test_a_round_is_mixed_without_what_was_seen(benchmark):
    supply = Supply(error_seeds=[], expanded=[], high_ppl=[], seed_new=[sample(QUESTION), sample("Something else.")])
    mixture = mix_parts(supply.without(benchmark), Mix(size=5), 1, 0)
    assert [left.messages[0].content for left in mixture.samples] == ["Something else."]
    assert mixture.left_out == {"contaminated": 1}


def test_the_script_reports_and_filters(tmp_path, benchmark, monkeypatch, caplog):
    caplog.set_level("INFO")
    write_jsonl(tmp_path / "in.jsonl", [sample(QUESTION), sample("Something else.")])
    argv = ["decontaminate.py", "--benchmark", str(tmp_path / "benchmark"), "--input", str(tmp_path / "in.jsonl")]
    for more in ([], ["--output", str(tmp_path / "out.jsonl")]):
        monkeypatch.setattr(sys, "argv", argv + more)
        decontaminate.main()
        assert caplog.messages[-1] == "decontaminate: 2 in -> 1 seen_request, 1 unseen; against 1 tools"
    assert [left.messages[0].content for left in read_jsonl(tmp_path / "out.jsonl", Sample)] == ["Something else."]
    assert "seen_request" in (tmp_path / "out_refused.jsonl").read_text()
