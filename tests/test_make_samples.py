"""From conversations, and from the tasks of others, to D_seed."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from golden_files import FOLDER, check_golden
from scripted import MENU, TOOLS, call, script
from test_json2parquet import characters, fits

from dialog_generation import run
from grpotool.dataset.steps import loses_values, samples_of, step_kind
from grpotool.dataset.utils import conversation_transform_grpo_qwen, filter_grpo_sample
from grpotool.dataset.utils.conversation_transform_grpo_qwen import (
    SampleMaker, StepReader, read_stored, transform)
from grpotool.dataset.utils.filter_grpo_sample import filter_samples
from grpotool.dataset.xlam_samples import NO_CALL, read_task
from looptool.calling.sample_rules import keep_valid
from looptool.config import Config, Dialogs, Student, Teacher
from looptool.errors import InputError
from looptool.foreign.conversations import Conversation, read_messages
from looptool.foreign.files import read_foreign
from looptool.ids import sample_id
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.prompts.length import StudentFits
from looptool.prompts.render import render_sample
from looptool.records import Message, Refused, Sample

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"
CONVERSATIONS = FOLDER / "conversations.jsonl"


def config(**student) -> Config:
    return Config(run_dir="unused", teacher=Teacher(models=["m"]), dialogs=Dialogs(text_share=0.5),
                  student=Student(**{"model": "", "max_prompt_tokens": 10**6,
                                     "instructions": "short"} | student))


def user(text: str) -> Message:
    return Message(role="user", content=text)


def assistant(*calls, text: str = "", **flags) -> Message:
    return Message(role="assistant", content=text, calls=list(calls), **flags)


def result(text: str = "{}", failed: bool = False) -> Message:
    return Message(role="tool", content=text, failed=failed)


A, B = call("getMenu", restaurant="A"), call("getMenu", restaurant="B")


# Which steps are samples


@pytest.mark.parametrize("messages, kind", [
    ([user("x"), assistant(A)], "call"),
    ([user("x"), assistant(A), result()], "call"),
    ([user("x"), assistant(A, suspect=True), result()], "suspect"),
    ([user("x"), assistant(text="y", suspect=True)], "suspect"),
    ([user("x"), assistant(A), result(failed=True)], "failed_result:is_error"),
    ([user("x"), assistant(A, B), result(), result(failed=True)], "failed_result:is_error"),
    ([user("x"), assistant(A), result(), assistant(B), result(failed=True)], "call"),
    ([user("x"), assistant(text="y")], "text_first"),
    ([assistant(text="Hello"), user("x")], "before_any_user"),
    ([user("x"), assistant(A)], "call"),
])
def test_kinds_of_steps(messages, kind):
    assert step_kind(messages,
                     next(i for i, m in enumerate(messages) if m.role == "assistant")) == kind


def test_kinds_of_later_steps():
    messages = [user("x"), assistant(A), result(failed=True), assistant(A), result(),
                assistant(text="z"), assistant(text="more")]
    assert [step_kind(messages, i) for i in (1, 3, 5, 6)] == ["failed_result:is_error", "call",
                                                              "text_after_results",
                                                              "after_own_turn"]


def test_a_sample_holds_all_that_came_before_and_nothing_else():
    messages = [user("x"), assistant(A, text="Wait.", reasoning="secret"), result(), user("y"),
                assistant(B)]
    first, second = samples_of("d7", TOOLS, "2024-05-01", messages, 0, Counter())
    assert (first.messages, second.messages) == (messages[:1], messages[:4])
    assert first.label == assistant(A, text="Wait.") and (first.source,
                                                          second.source) == ("d7#1", "d7#4")
    assert first.id == sample_id(TOOLS, "2024-05-01", first.messages, first.label)


def test_samples_golden(tmp_path):
    meta = transform(config(), CONVERSATIONS, False, tmp_path / "samples.jsonl", fits)
    check_golden(tmp_path / "samples.jsonl", "samples.jsonl")
    assert meta.counts == {"call": 2, "failed_result:error": 1, "suspect": 1, "text": 2,
                           "text_left_out": 2}
    assert not (tmp_path / "samples_refused.jsonl").exists()
    filter_samples(tmp_path / "samples.jsonl", tmp_path / "seed.jsonl")
    assert (tmp_path / "seed.jsonl").read_bytes() == (tmp_path / "samples.jsonl").read_bytes()


class Maker(SampleMaker):
    """From conversations in memory."""

    def __init__(self, config: Config):
        super().__init__(config, StepReader(config, fits))

    def from_conversations(self, conversations):
        return self.let_in(read_stored(self._reader, conversations))


def dialog_of(turns: int) -> Conversation:
    """A conversation whose every turn asks, is called for, and is answered."""
    messages = []
    for turn in range(turns):
        made = {"id": f"c{turn}",
                "function": {"name": "getMenu",
                             "arguments": json.dumps({"restaurant": f"R{turn}"})}}
        messages += [{"role": "user", "content": f"Menu of R{turn}?"},
                     {"role": "assistant", "content": None, "tool_calls": [made]},
                     {"role": "tool", "tool_call_id": f"c{turn}", "content": "{}"},
                     {"role": "assistant", "content": "Soup."}]
    tools = [{"type": "function", "function": {"name": tool.name, "parameters": tool.parameters}}
             for tool in TOOLS]
    return msgspec.convert({"id": "long", "tools": tools, "messages": messages}, Conversation)


def test_contexts_keep_the_last_turns_and_all_tools():
    maker = Maker(config(max_user_turns=8))
    calls = [sample for sample in maker.from_conversations([dialog_of(12)]) if sample.label.calls]
    turns = [sum(message.role == "user" for message in sample.messages) for sample in calls]
    assert turns == [*range(1, 9), 8, 8, 8, 8]
    assert all(sample.tools == calls[0].tools and len(sample.tools) == 2 for sample in calls)
    assert calls[-1].messages[0] == user("Menu of R4?")


def test_long_prompts_lose_old_turns_then_the_sample():
    whole = [sample for sample in Maker(config()).from_conversations([dialog_of(3)])
             if sample.label.calls]
    lengths = [characters(render_sample(sample, "short")) for sample in whole]
    maker = Maker(config(max_prompt_tokens=lengths[0]))
    fitted = [sample for sample in maker.from_conversations([dialog_of(3)]) if sample.label.calls]
    assert [len(sample.messages) for sample in fitted] == [1, 1, 1] and maker.counts["call"] == 3
    assert len({sample.id for sample in fitted}) == 3
    assert all(one.id == sample_id(one.tools, one.date, one.messages, one.label) for one in fitted)
    maker = Maker(config(max_prompt_tokens=lengths[0] - 1))
    assert not list(maker.from_conversations([dialog_of(3)])) and maker.counts["too_long"] >= 3


def test_a_sample_whose_values_are_cut_off_is_no_sample():
    dropped, kept = [user("I live in Ulm, flat 42, True or None.")], [user("Menu at home?")]
    assert loses_values(dropped, kept, assistant(call("f", city="Ulm")))
    assert loses_values(dropped, kept, assistant(call("f", home={"flat": [42]})))
    assert not loses_values(dropped, [*kept, user("In Ulm.")], assistant(call("f", city="Ulm")))
    assert not loses_values(dropped, [*kept, assistant(call("g", city="Ulm"))],
                            assistant(call("f", city="Ulm")))
    assert not loses_values([], kept, assistant(call("f", city="Ulm")))
    assert not loses_values(dropped, kept, assistant(call("f", city="Bonn", open=True, x=None)))


@pytest.mark.parametrize("share", [0, 0.1, 0.3])
def test_texts_keep_to_their_share(share):
    options = config()
    options.dialogs.text_share = share
    maker = Maker(options)
    chatty = [msgspec.structs.replace(dialog_of(2), id=f"d{index}") for index in range(60)]
    for conversation in chatty[::2]:
        conversation.messages[0:0] = dialog_of(1).messages[:1] + dialog_of(1).messages[3:]
    texts = calls = 0
    for sample in maker.from_conversations(chatty):
        texts, calls = texts + (not sample.label.calls), calls + bool(sample.label.calls)
        assert texts <= share * (texts + calls)
    assert calls == 120 and texts == pytest.approx(share / (1 - share) * 120,
                                                   abs=2 if share < 0.2 else 30)
    assert maker.counts["text"] == texts and texts + maker.counts["text_left_out"] == 150


# What others wrote


def test_foreign_conversations(tmp_path):
    good = msgspec.to_builtins(dialog_of(1))
    two = [
        {"id": name, "function": {"name": "getMenu", "arguments": json.dumps({"restaurant": name})}}
        for name in "AB"]
    mixed = {"tools": good["tools"], "source": "elsewhere", "messages": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Menus?", "name": "me"},
        {"role": "assistant", "tool_calls": two, "refusal": None},
        {"role": "tool", "tool_call_id": "B", "content": "b"},
        {"role": "tool", "tool_call_id": "A", "content": "a"}]}
    faulty = [
        {**mixed, "messages": mixed["messages"][:4] + [{"role": "user", "content": "?"}]},
        {**mixed, "messages": [{"role": "tool", "content": "x"}]},
        {**mixed, "messages": [{"role": "assistant", "tool_calls": [
            {"id": "A", "function": {"name": "f", "arguments": "[1]"}}]}]},
        {**mixed, "messages": [{"role": "critic", "content": "x"}]},
        {**mixed, "tools": [{"name": "f", "parameters": {"x": {"type": "Callable[[int], int]"}}}]},
    ]
    source = tmp_path / "in.jsonl"
    source.write_text("\n".join(json.dumps(raw) for raw in [good, mixed, *faulty]))
    meta = transform(config(), source, True, tmp_path / "samples.jsonl", fits)
    assert meta.counts["call"] == 2 and meta.counts["unreadable"] == len(faulty)
    assert list(read_jsonl(tmp_path / "samples.jsonl", Sample))[-1].messages == [user("Menus?")]
    assert [message.content
            for message in read_messages(msgspec.convert(mixed, Conversation))[2:]] == ["a", "b"]
    reasons = [refused.reason
               for refused in read_jsonl(tmp_path / "samples_refused.jsonl", Refused)]
    for reason, part in zip(reasons,
                            ["1 of the calls before have no result", "without its call",
                             "no JSON object", "'critic'", "Callable"], strict=True):
        assert part in reason
    transform(config(), CONVERSATIONS, False, tmp_path / "samples.jsonl", fits)
    assert not (tmp_path / "samples_refused.jsonl").exists()


def test_tasks_of_others():
    answers = [{"name": "getMenu", "arguments": {"restaurant": "A"}}]
    tools = [{"name": "getMenu", "description": "", "parameters": {"restaurant": {"type": "str"}}}]
    sample = read_task({"id": "x-1", "query": "Menu of A?", "answers": answers, "tools": tools})
    assert sample.label == assistant(A) and sample.messages == [user("Menu of A?")]
    assert (sample.source, sample.date,
            sample.tools[0].parameters) == ("x-1", "unknown", MENU.parameters)
    as_text = {"query": "Menu of A?", "answers": json.dumps(answers), "tools": json.dumps(tools)}
    assert read_task(as_text).id == sample.id
    assert read_task({"query": "Hi", "answers": [], "tools": tools}).label == assistant(
        text=NO_CALL)


@pytest.mark.parametrize("change, reason", [
    ({"query": " "}, "query"), ({"query": 3}, "query"), ({"answers": None}, "answers"),
    ({"tools": "{"}, "tools"), ({"answers": [{"name": "f", "arguments": 1}]}, "arguments"),
    ({"answers": [{"arguments": {}}]}, "no call with a name"),
    ({"answers": [{"name": "f", "arguments": {}, "x": 1}]}, 'the key "x"'),
    ({"answers": "{}"}, "must be a list"), ({"tools": [{"name": ""}]}, "name"),
])
def test_tasks_that_cannot_be_represented(change, reason):
    with pytest.raises(ValueError, match=reason):
        read_task({"query": "q", "answers": [], "tools": []} | change)
    with pytest.raises(ValueError):
        read_task([change])


@pytest.mark.skipif(not SHARED.exists(), reason="no real data beside the checkout")
def test_real_tasks_are_imported_or_refused_with_a_reason(tmp_path):
    samples = tmp_path / "samples.jsonl"
    meta = transform(config(max_prompt_tokens=12000), SHARED / "xlam_style_samples.jsonl", True,
                     samples, fits)
    assert meta.inputs == 280 and meta.counts["text"] == 26 and meta.counts["call"] >= 250
    assert meta.counts["unreadable"] + meta.counts.get("too_long", 0) == 280 - meta.records
    seed = filter_samples(samples, tmp_path / "seed.jsonl")
    assert seed.inputs == meta.records and seed.records > 200
    assert (len(list(read_jsonl(tmp_path / "seed_refused.jsonl", Refused))) == seed.inputs
            - seed.records)
    for sample in read_jsonl(tmp_path / "seed.jsonl", Sample):
        assert render_sample(sample)[1]["content"]


# The filter


def sample(label: Message, text: str = "Menu?") -> Sample:
    messages = [user(text)]
    return Sample(id=sample_id(TOOLS, "unknown", messages, label), tools=TOOLS, date="unknown",
                  messages=messages, label=label)


def test_the_filter_counts_what_it_refuses():
    samples = [sample(assistant(A)), sample(assistant(B)), sample(assistant(A)),
               sample(assistant(A), "Again?"), sample(assistant(call("cook"))),
               sample(assistant(call("getMenu"))), sample(assistant(text="Which one?")),
               sample(assistant(call("book_table", restaurant="A", guests="2")))]
    counts: Counter[str] = Counter()
    refused: list[Refused] = []
    kept = list(keep_valid(samples, counts, refused))
    assert kept == [samples[0], samples[1], samples[3], samples[6]]
    assert counts == {"kept": 4, "duplicate": 1, "unknown_tool": 1, "missing_required": 1,
                      "wrong_type": 1}
    assert [entry.reason for entry in refused] == ["duplicate", "unknown_tool:cook",
                                                   "missing_required:restaurant",
                                                   "wrong_type:guests"]


# Bad input and the scripts


@pytest.mark.parametrize("content, message", [
    (None, "cannot be read"), ("", "is empty"), ('{"tools": [], "messages": [', ":1: "),
    ('{"tools": []}', ":1: .*messages"),
    ('{"tools": [], "messages": [{"role": "king"}]}', ":1: .*role"),
    ('{"tools": [], "messages": []}\n', "no record is left"),
    ('{"tools": [], "messages": [{"role": "tool"}]}\n', "a result without its call"),
])
def test_bad_conversations(tmp_path, content, message):
    source, output = tmp_path / "conversations.jsonl", tmp_path / "samples.jsonl"
    if content is not None:
        source.write_text(content)
    with pytest.raises(InputError, match=message):
        transform(config(), source, False, output, fits)
    assert not list(tmp_path.glob("samples*"))


@pytest.mark.parametrize("name, content, message", [
    ("a.json", "[1, ", "a.json: not JSON"), ("b.json", "{}\n{", "b.json:2: not JSON"),
    ("a.jsonl", "{}\n{", "a.jsonl:2: not JSON"), ("a.json", "[]", "is empty"),
    ("a.txt", "", "is empty"), ("gone.json", None, "cannot be read"),
])
def test_bad_foreign_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        list(read_foreign(tmp_path / name))


def test_the_scripts_take_their_paths_from_the_config(tmp_path, monkeypatch):
    monkeypatch.setattr(conversation_transform_grpo_qwen, "StudentFits", lambda config: fits)
    (tmp_path / "conversations.jsonl").write_bytes(CONVERSATIONS.read_bytes())
    script(monkeypatch, conversation_transform_grpo_qwen, tmp_path, "--set",
           "student.max_prompt_tokens=5000")
    script(monkeypatch, filter_grpo_sample, tmp_path)
    assert 0 < len(list(read_jsonl(tmp_path / "seed.jsonl", Sample))) <= 4
    write_jsonl(tmp_path / "own.jsonl", [sample(assistant(A))])
    output = tmp_path / "o.jsonl"
    script(monkeypatch, filter_grpo_sample, tmp_path, "--input", tmp_path / "own.jsonl", "--output",
           output)
    assert list(read_jsonl(output, Sample)) == [sample(assistant(A))]


def test_imported_samples_are_not_replaced_by_those_of_dialogs(tmp_path, monkeypatch):
    monkeypatch.setattr(conversation_transform_grpo_qwen, "StudentFits", lambda config: fits)
    theirs, samples = tmp_path / "theirs.jsonl", tmp_path / "samples.jsonl"
    theirs.write_bytes(CONVERSATIONS.read_bytes())
    limit = ("--set", "student.max_prompt_tokens=5000")
    script(monkeypatch, conversation_transform_grpo_qwen, tmp_path, "--input", theirs, *limit)
    imported = samples.read_bytes()
    (tmp_path / "conversations.jsonl").write_bytes(CONVERSATIONS.read_bytes())
    for module in (run, conversation_transform_grpo_qwen):  # 02 and 03
        with pytest.raises(InputError, match=r"\(of theirs.jsonl\).*run_round.sh --round 1"):
            script(monkeypatch, module, tmp_path, *limit)
    assert samples.read_bytes() == imported
    for flags in (("--input", theirs), ("--output", tmp_path / "own.jsonl")):
        script(monkeypatch, conversation_transform_grpo_qwen, tmp_path, *flags, *limit)
    samples.unlink()
    script(monkeypatch, conversation_transform_grpo_qwen, tmp_path, *limit)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["no/such/folder", "."])
def test_a_student_without_tokenizer_is_named(tmp_path, monkeypatch, model):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(InputError, match="student.model"):
        StudentFits(config(model=model))([], 1)


@pytest.mark.slow
def test_the_numbered_scripts_make_the_first_dataset_from_any_folder(tmp_path):
    from grpotool.tiny_student.tokenizer import build_tokenizer
    from looptool.run_files import RoundFiles

    build_tokenizer(path.read_text()
                    for path
                    in SCRIPTS.parent.glob("looptool/simulation/world/catalogue/train/*.yaml")
                    ).save_pretrained(tmp_path / "student")
    values = (f"run_dir={tmp_path}/run", f"student.model={tmp_path}/student", "dialogs.count=40",
              "mix.size=30", "mix.seed_new=5", "student.max_prompt_tokens=2000")
    flags = [part for value in values for part in ("--set", value)]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                   "CI": "1"}
    for name in ("01_synthesize_tools.sh", "02_generate_dialogs.sh", "03_make_samples.sh"):
        done = subprocess.run(["bash", SCRIPTS / name, *flags], cwd=tmp_path, env=environment,
                              capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    seed = list(read_jsonl(tmp_path / "run" / "seed.jsonl", Sample))
    assert (len(seed) > 60
            and len(list(read_jsonl(RoundFiles(tmp_path / "run", 1).dataset, Sample))) == 30)
    for entry in ("tools", "dialogs", "conversations", "samples", "seed"):
        assert (tmp_path / "run" / f"{entry}.jsonl.meta.json").exists()
