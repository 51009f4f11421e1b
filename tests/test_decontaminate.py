"""Samples that a benchmark has: found by tool and by request, in the forms of BFCL and ACEBench,
alone and in a round."""
from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from loop_world import supply_of, taken

from dataloop import decontaminate
from dataloop.mixing.contamination import Benchmark, benchmark_files
from dataloop.mixing.equation_5 import mix_parts
from looptool.config import Mix
from looptool.errors import InputError
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Message, Refused, Sample, Tool

BOOK = {"type": "object", "properties": {"title": {"type": "string"}, "copies": {"type": "number"}},
        "required": ["title"]}
QUESTION = "Please order three copies of the second edition of the blue book for me today."
BFCL = [{"id": "simple_0", "question": [[{"role": "system", "content": "You are a shop that sells "
                                                                       "books and sends them "
                                                                       "home."},
                                         {"role": "user", "content": QUESTION}], [],
                                        [{"role": "user", "content": "How are you?"}]],
         "function": [{"name": "shop.order_book", "description": "Order.",
                       "parameters": {"type": "dict", "properties": {
             "title": {"type": "string"}, "copies": {"type": "float"}}, "required": ["title"]}}]},
        {"id": "simple_1", "question": [[{"role": "user", "content": "Find the prime factors of "
                                                                     "450"}]], "function": []}]
CHINESE = "\u8bf7\u5e2e\u6211\u8ba2\u4e24\u672c\u84dd\u8272\u5c01\u9762\u7684\u4e66"
ACEBENCH = [{"id": "a", "question": f"user: {CHINESE}\nsystem: Which of the many blue books do you "
                                    "want me to order?\nuser: "
                                    "The one that my old friend Tom wrote about his dog.\n",
             "function": [{"name": "open_door", "description": "", "arguments": {
                 "type": "object", "properties": {"door": {"type": "string"}}}, "results": {}}]},
            {"id": "b", "question": "You are Ann and want the shop to send a parcel to Bob.",
             "function": []}]


def sample(text: str, *tools: Tool) -> Sample:
    return Sample(id=text[:9], tools=list(tools), date="unknown",
                  messages=[Message(role="user", content=text)],
                  label=Message(role="assistant", content="Yes."))


@pytest.fixture
def folder(tmp_path) -> Path:
    """BFCL's and ACEBench's files are JSON lines, whatever they are called; other benchmarks have
    lists."""
    folder = tmp_path / "benchmark"
    folder.mkdir()
    (folder / "BFCL_v3_simple.json").write_text("\n".join(map(json.dumps, BFCL)), encoding="utf-8")
    (folder / "list.json").write_text(json.dumps(ACEBENCH), encoding="utf-8")
    return folder


@pytest.fixture
def benchmark(folder) -> Benchmark:
    return Benchmark(benchmark_files([folder]))


def test_all_of_a_benchmark_is_read(benchmark):
    assert benchmark.found == {"tools": 2, "requests": 6} and len(benchmark.tools) == 2


@pytest.mark.parametrize("name, parameters, seen", [
    ("shop.order_book", BOOK, True), ("Shop_Order_Book", BOOK, True),
    ("shop_order_books", BOOK, False),
    ("shop_order_book", {**BOOK, "properties": {**BOOK["properties"], "more": {"type": "string"}}},
     False),
    ("shop_order_book",
     {**BOOK, "properties": {"title": {"type": "string"}, "copies": {"type": "integer"}}}, False),
    ("open_door", {"type": "object", "properties": {"door": {"type": "string"}}}, True)])
def test_a_tool_is_the_same_by_name_and_schema(benchmark, name, parameters, seen):
    found = benchmark.reason(sample("What is this?", Tool(name=name, parameters=parameters)))
    place = "list.json[0]" if name == "open_door" else "BFCL_v3_simple.json:1"
    assert found == (f"seen_tool:{name}, {place}" if seen else None)


@pytest.mark.parametrize("text, place", [
    (QUESTION, "BFCL_v3_simple.json:1"),
    (QUESTION.upper().replace(".", "!"), "BFCL_v3_simple.json:1"),
    ("Well. " + QUESTION, "BFCL_v3_simple.json:1"),
    (QUESTION + " " + "And many more words that nobody asked for. " * 3,
     "BFCL_v3_simple.json:1"),
    (QUESTION.replace("three", "nine"), "BFCL_v3_simple.json:1"),
    (QUESTION.replace("today", "now"), "BFCL_v3_simple.json:1"), ("Please order three copies of "
                                                                  "the second edition of whatever "
                                                                  "else there might be on your "
                                                                  "long shelf.", None),
    ("You are a shop that sells books and sends them home.", None), ("How are you?", None),
    ("Thanks.", None), ("", None), ("Find the prime factors of 450.", "BFCL_v3_simple.json:2"),
    ("Find the prime factors of 460.", None), (CHINESE, "list.json[0]"),
    ("Which of the many blue books do you want me to order?", None),
    ("The one that my old friend Tom wrote about his cat.", "list.json[0]"),
    ("You are Ann and want the shop to send a parcel to Bob.", "list.json[1]")])
def test_a_request_is_the_same_by_its_runs_of_words(benchmark, text, place):
    assert benchmark.reason(sample(text)) == (place and f"seen_request:{place}")


def test_phrases_that_several_requests_have_do_not_add_up(tmp_path):
    (tmp_path / "x.jsonl").write_text("\n".join(json.dumps({"question": text}) for text in (
        "Could you please tell me the way to a quiet place where nobody has ever been before us?",
        "What is the weather like in the old town of a city with many bridges this week?")))
    both = "Could you please tell me the weather like in the old town"
    assert Benchmark([tmp_path / "x.jsonl"]).reason(sample(both)) is None


def test_later_turns_and_what_the_assistant_says(benchmark):
    later = sample("Good morning to you.")
    later.messages += [Message(role="assistant", content=QUESTION),
                       Message(role="user", content="A book, please.")]
    assert benchmark.reason(later) is None
    later.messages += [Message(role="assistant", content="Which?"),
                       Message(role="user", content=QUESTION)]
    assert benchmark.reason(later) == "seen_request:BFCL_v3_simple.json:1"


@pytest.mark.skipif("LOOPTOOL_BFCL_DATA" not in os.environ,
                    reason="LOOPTOOL_BFCL_DATA names no folder with BFCL's data: "
                    "pip download --no-deps bfcl-eval==2025.6.14, unzip it, and name "
                    "bfcl_eval/data")
def test_bfcl_itself():
    data = Path(os.environ["LOOPTOOL_BFCL_DATA"])
    files = [*sorted(data.glob("*.json")), *sorted((data / "multi_turn_func_doc").glob("*.json"))]
    benchmark = Benchmark(files)
    assert benchmark.found == {"tools": 8855, "requests": 6842}
    for path in files:
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            for raw in entry.get("function", [entry] if "name" in entry else []):
                assert benchmark.reason(
                    sample("x", Tool(name=raw["name"], parameters=raw["parameters"])))
            for message in (message for turn in entry.get("question", []) for message in turn):
                if message["role"] == "user" and len(message["content"].split()) > 9:
                    assert benchmark.reason(sample("By the way: " + message["content"])), message


@pytest.mark.parametrize("tool", [
    {"name": "x", "parameters": {"type": "dict", "properties": [1]}},
    {"name": "x", "parameters": {"type": "dict"}}, {"name": 3},
    {"name": "x",
     "parameters": {"type": "dict", "properties": {"a": 3, "b": {"type": ["Java", 2]}}}},
    {"name": "x", "parameters": 1}])
def test_odd_tools_and_questions_are_read_as_far_as_they_go(tmp_path, tool):
    (tmp_path / "x.jsonl").write_text(
        "\n".join(json.dumps({"question": question, "function": [tool]}) for question in (
        None, 5, [], [[{"role": "user"}]], [["Where is the next bus stop?"]],
        {"role": "user", "content": ["a"]})))
    benchmark = Benchmark([tmp_path / "x.jsonl"])
    assert benchmark.reason(sample("Where is the next bus stop?")) == "seen_request:x.jsonl:5"
    if isinstance(tool.get("parameters"), dict):
        assert benchmark.reason(
            sample("x", Tool(name="x", parameters=tool["parameters"]))) == "seen_tool:x, x.jsonl:1"


def test_bad_benchmarks(tmp_path):
    with pytest.raises(InputError, match="holds no file with records"):
        benchmark_files([tmp_path])
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(InputError, match="no tool and no request"):
        Benchmark(benchmark_files([tmp_path]))


def test_a_round_is_mixed_without_what_was_seen(benchmark):
    supply = supply_of(seed_new=[sample(QUESTION), sample("Something else.")])
    is_seen = [benchmark.reason(left) is not None
               for left in supply.listing.samples(supply.seed_new)]
    mixture = mix_parts(supply.without(supply.seed_new[is_seen]), Mix(size=5), 1, 0)
    assert [left.messages[0].content for left in taken(supply, mixture)] == ["Something else."]
    assert mixture.left_out == {"contaminated": 1}


def test_the_script_reports_and_filters(tmp_path, benchmark, monkeypatch, caplog):
    caplog.set_level("INFO")
    write_jsonl(tmp_path / "in.jsonl", [sample(QUESTION), sample("Something else.")])
    argv = ["decontaminate.py", "--benchmark", str(tmp_path / "benchmark"), "--input",
            str(tmp_path / "in.jsonl")]
    for more in ([],
                 ["--output", str(tmp_path / "out.jsonl"), "--report",
                  str(tmp_path / "report.jsonl")]):
        monkeypatch.setattr(sys, "argv", argv + more)
        decontaminate.main()
        assert caplog.messages[-1] == (
            "decontaminate: 2 in -> 1 seen_request, 1 unseen; against 2 tools and 6 requests of "
            "2 files")
    assert [left.messages[0].content
            for left in read_jsonl(tmp_path / "out.jsonl", Sample)] == ["Something else."]
    assert "seen_request" in (tmp_path / "out_refused.jsonl").read_text()
    (seen,) = read_jsonl(tmp_path / "report.jsonl", Refused)
    assert (seen.code, seen.reason) == ("seen_request", "seen_request:BFCL_v3_simple.json:1")


def test_the_configs_benchmarks_are_the_default_and_none_is_an_error(tmp_path, folder, monkeypatch,
                                                                     caplog):
    caplog.set_level("INFO")
    write_jsonl(tmp_path / "in.jsonl", [sample(QUESTION)])
    argv = ["decontaminate.py", "--input", str(tmp_path / "in.jsonl")]
    monkeypatch.setattr(sys, "argv", [*argv, "--set", f"mix.benchmarks=[{folder}]"])
    decontaminate.main()
    assert "1 in -> 1 seen_request" in caplog.messages[-1]
    monkeypatch.setattr(sys, "argv", argv)
    with pytest.raises(InputError, match="mix.benchmarks"):
        decontaminate.main()
