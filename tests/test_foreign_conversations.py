"""Conversations and tasks as others write them: every form gives the same messages, or is refused
with its reason."""
from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_make_samples import config, fits

from grpotool.dataset.foreign_records import read_record
from grpotool.dataset.text_calls import read_assistant_text, read_call
from grpotool.dataset.utils.conversation_transform_grpo_qwen import transform
from looptool.errors import InputError
from looptool.foreign.conversations import Conversation, from_dialog, read_messages, read_tools
from looptool.foreign.files import read_foreign
from looptool.json_lines import read_jsonl
from looptool.records import Call, Dialog, Message, Refused, Sample
from looptool.stages.meta import read_meta

WEATHER = {"name": "get_weather", "description": "Weather of a city.", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}
NOW = {"name": "now", "description": "Time.", "parameters": {"type": "object", "properties": {},
                                                             "required": []}}
TOOLS = [WEATHER, NOW]
WRAPPED = [{"type": "function", "function": tool} for tool in TOOLS]
CALL = {"name": "get_weather", "arguments": {"city": "Rome"}}
ROME, TIME = Call(name="get_weather", arguments={"city": "Rome"}), Call(name="now", arguments={})
TEXT = json.dumps(CALL)


def user(text: str = "Rome?") -> Message:
    return Message(role="user", content=text)


def says(text: str = "", *calls: Call, **flags: Any) -> Message:
    return Message(role="assistant", content=text, calls=list(calls), **flags)


def result(text: str = "22", **flags: Any) -> Message:
    return Message(role="tool", content=text, **flags)


def chat(*turns: dict, tools: Any = TOOLS, **rest: Any) -> dict:
    return {"messages": [{"role": "user", "content": "Rome?"}, *turns], "tools": tools, **rest}


def share(*turns: tuple[str, Any], tools: Any = TOOLS, **rest: Any) -> dict:
    """ShareGPT's form."""
    return {"conversations": [{"from": "human", "value": "Rome?"},
                              *({"from": role, "value": value} for role, value in turns)],
            **({"tools": tools} if tools is not None else {}), **rest}


def openai(arguments: Any, **more: Any) -> dict:
    return {"role": "assistant", "content": None,
            "tool_calls": [{"type": "function", **more, "function": {
        "name": "get_weather", "arguments": arguments}}]}


SYSTEM = ("Functions are inside <tools></tools> "
          f"tags:\n<tools>\n{json.dumps(WRAPPED)}\n</tools>\nCall them.")
PYTHON_SYSTEM = f"<tools> {WRAPPED} </tools>"
ACE_SYSTEM = ("Here are functions in "
              f"JSON:\n{json.dumps([WEATHER | {'name': 'Weather API'}, NOW])}. \nUse [func(a=b)].")
GLAIVE_SYSTEM = ("SYSTEM: You have these functions "
                 f"-\n{json.dumps(WEATHER, indent=1)}\n{json.dumps(NOW)}")
BLOCK = f"<tool_call>\n{TEXT}\n</tool_call>"
PYTHON_BLOCK = f"<tool_call>\n{CALL}\n</tool_call>"
STEP = [user(), says("", ROME)]
WHOLE = [*STEP, result(), says("22 degrees.")]
ANSWER = {"role": "assistant", "content": "22 degrees."}
TWO = [user(), says("", ROME, TIME), result("22"), result("12:30")]
PARTS = [{"type": "text", "text": "22 "}, {"type": "text", "text": "degrees."}]

FORMS = {
    "arguments as text": (chat(openai(TEXT[TEXT.index("{", 1):-1], id="a"),
                               {"role": "tool", "tool_call_id": "a", "content": "22"},
                               ANSWER), WHOLE),
    "arguments as an object": (chat(openai({"city": "Rome"})), STEP),
    "no ids": (chat(openai({"city": "Rome"}), {"role": "tool", "content": "22"}, ANSWER), WHOLE),
    "calls as JSON text": (chat({"role": "assistant", "content": "",
                                 "tool_calls": json.dumps([CALL])}), STEP),
    "a call without its function": (chat({"role": "assistant", "tool_calls": [CALL]}), STEP),
    "tools as JSON text": (chat(openai({"city": "Rome"}), tools=json.dumps(WRAPPED)), STEP),
    "tools as JSON texts": (chat(openai({"city": "Rome"}),
                                 tools=[json.dumps(tool) for tool in WRAPPED]), STEP),
    "function_call": (chat({"role": "assistant", "content": None, "function_call": CALL},
                           {"role": "function", "name": "get_weather", "content": "22"}, ANSWER),
                           WHOLE),
    "functions": ({**{key: value for key, value in chat(openai('{"city": "Rome"}')).items()
                      if key != "tools"},
                   "functions": TOOLS}, STEP),
    "empty arguments": (chat({"role": "assistant",
                              "tool_calls": [{"function": {"name": "now", "arguments": ""}}]}),
                        [user(), says("", TIME)]),
    "absent arguments": (chat({"role": "assistant", "tool_calls": [{"function": {"name": "now"}}]}),
                         [user(), says("", TIME)]),
    "developer": ({"messages": [{"role": "developer", "content": "Be brief."},
                                *chat(openai({"city": "Rome"}))["messages"]],
                   "tools": TOOLS}, STEP),
    "content parts": (chat(openai({"city": "Rome"}), {"role": "tool", "content": "22"},
                           {"role": "assistant", "content": PARTS}),
                      WHOLE),
    "Hermes in content": (chat({"role": "assistant", "content": f"Let me see.\n{BLOCK}"}),
                          [user(), says("Let me see.", ROME)]),
    "thinking before the call": (chat({"role": "assistant",
                                       "content": f"<think>hm {BLOCK}</think>\n{BLOCK}"}), STEP),
    "Python in a block": (chat({"role": "assistant", "content": PYTHON_BLOCK}), STEP),
    "a list in a block": (chat({"role": "assistant",
                                "content": f"<tool_call>[{TEXT}]</tool_call>"}), STEP),
    "results in a user's blocks": (chat({"role": "assistant", "content": BLOCK},
                                        {"role": "user",
                                         "content": "<tool_response>\n22\n</tool_response>"},
                                         ANSWER), WHOLE),
    "ms-swift": (chat({"role": "tool_call", "content": TEXT},
                      {"role": "tool_call", "content": '{"name": "now", "arguments": {}}'},
                      {"role": "tool_response", "content": "22"},
                      {"role": "tool_response", "content": "12:30"}), TWO),
    "text, then a call at once": (chat({"role": "assistant", "content": "Let me see."},
                                       {"role": "tool_call", "content": TEXT}),
                                  [user(), says("Let me see.", ROME)]),
    "Anthropic": (chat({"role": "assistant", "content": [{"type": "tool_use", "id": "t",
                                                          "name": "get_weather",
                                                          "input": {"city": "Rome"}}]},
                       {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t",
                                                     "content": [
                           {"type": "text", "text": "22"}]}]}, ANSWER), WHOLE),
    "Anthropic, an error": (chat({"role": "assistant", "content": [
        {"type": "tool_use", "id": "t", "name": "get_weather", "input": {"city": "Rome"}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "is_error": True,
                                      "content": "no such city"}]}),
        [*STEP, result("no such city", failed=True)]),
    "LangChain, an error": (chat(openai({"city": "Rome"}), {"role": "tool", "status": "error",
                                                            "content": "no such city"}),
                            [*STEP, result("no such city", failed=True)]),
    "MCP, an error": (chat(openai({"city": "Rome"}), {"role": "tool", "isError": True,
                                                      "content": "no such city"}),
                      [*STEP, result("no such city", failed=True)]),
    "a result that is no error": (chat(openai({"city": "Rome"}),
                                       {"role": "tool", "is_error": False, "status": "success",
                                        "content": "22"}, ANSWER), WHOLE),
    "one result that is a list": (chat(openai({"city": "Rome"}),
                                       {"role": "tool", "content": [{"t": 1}, {"t": 2}]}),
                                  [*STEP, result('[{"t": 1}, {"t": 2}]')]),
    "one result that is a list, as text": (chat(openai({"city": "Rome"}),
                                                {"role": "tool",
                                                 "content": '[{"t": 1}, {"t": 2}]'}),
                                           [*STEP, result('[{"t": 1}, {"t": 2}]')]),
    "masked": (chat({"role": "assistant", "content": "Hm.", "weight": 0}),
               [user(), says("Hm.", suspect=True)]),
    "masked as in ms-swift": (chat({"role": "assistant", "content": "Hm.", "loss": False}),
                              [user(), says("Hm.", suspect=True)]),
    "results as JSON": (chat(openai({"city": "Rome"}), {"role": "tool", "content": {"t": 22}}),
                        [*STEP, result('{"t": 22}')]),
    "LLaMA-Factory": (share(("function_call", TEXT), ("observation", "22"), ("gpt", "22 degrees."),
                            tools=json.dumps(TOOLS)), WHOLE),
    "LLaMA-Factory, two calls": (share(("function_call",
                                        json.dumps([CALL, {"name": "now", "arguments": {}}])),
                                       ("observation", '["22", "12:30"]')), TWO),
    "Hermes": (share(("gpt", BLOCK), ("tool", "<tool_response>\n22\n</tool_response>"),
                     ("gpt", "22 degrees."), tools=None,
                     system=SYSTEM), WHOLE),
    "Hermes, system as a turn": ({"conversations": [{"from": "system", "value": SYSTEM},
                                                    *share(("gpt", BLOCK))["conversations"]]},
                                 STEP),
    "Hermes, Python's quotes": (share(("gpt", PYTHON_BLOCK), tools=None, system=PYTHON_SYSTEM),
                                STEP),
    "Python's quotes, one a line": (share(("gpt", BLOCK), tools=None,
                                          system=f"<tools>\n{WRAPPED[0]}\n{WRAPPED[1]}\n</tools>"),
                                    STEP),
    "both quotes, one a line": (share(("gpt", BLOCK), tools=None,
                                      system=f"<tools>\n{json.dumps(WEATHER)},\n{NOW}\n</tools>"),
                                STEP),
    "an empty field, tools in the system text": (share(("gpt", BLOCK), tools=[], system=SYSTEM),
                                                 STEP),
    "an empty field beside a filled one": ({**chat(openai({"city": "Rome"}), tools=[]),
                                            "functions": TOOLS}, STEP),
    "Glaive": (share(("gpt",
                      "<functioncall> {\"name\": \"get_weather\", \"arguments\": '{\"city\": "
                      "\"Rome\"}'} <|endoftext|>"),
                     tools=None, system=GLAIVE_SYSTEM), STEP),
    "ToolACE": (share(("assistant", '[Weather API(city="Rome"), now()]'),
                      ("tool", json.dumps([{"name": "Weather API", "results": {"t": 1}},
                                           {"name": "now", "results": "12:30"}])),
                      tools=None, system=ACE_SYSTEM),
                [user(), says("", Call(name="Weather API", arguments={"city": "Rome"}), TIME),
                 result('{"t": 1}'),
                 result("12:30")]),
    "the release": (share(("assistant", json.dumps([CALL])), ("tool", ["22"]),
                          ("assistant", "22 degrees."), date="2024-05-01",
                          user_turns=1, plan=[{"kind": "chat"}], initial_config="None"), WHOLE),
    "the released code's results": (share(("assistant", json.dumps([CALL])),
                                          ("tool", [{"name": "get_weather", "results": "22"}]),
                                          ("assistant", "22 degrees.")), WHOLE),
}


def messages_of(raw: Any, passed_over: Counter[str] | None = None) -> list[Message]:
    record = read_record(raw, Counter() if passed_over is None else passed_over)
    return read_messages(record) if isinstance(record, Conversation) else [*record.messages,
                                                                           record.label]


@pytest.mark.parametrize("raw, messages", FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_messages(raw: dict, messages: list[Message]):
    assert messages_of(raw) == messages
    known = {"get_weather", "Weather API", "now"}
    assert all(call.name in known for message in messages for call in message.calls)
    assert len(read_tools(read_record(raw, Counter()))) == 2


@pytest.mark.parametrize("raw, reason", [
    (chat({"role": "narrator", "content": "x"}), "role 'narrator'"),
    (chat({"content": "x"}), "role None"),
    (chat({"role": "assistant", "content": BLOCK[:-5]}), "cannot be read"),
    (chat({"role": "assistant", "content": "<tool_call>"}), "cannot"),
    (chat({"role": "assistant", "content": f"I call it.\n```json\n{TEXT}\n```\nThere."}),
     "untagged_call"),
    (chat({"role": "assistant", "content": 'get_weather(city="Rome")'}), "untagged_call"),
    (chat({"role": "assistant", "content": "[get_weather(city=x)]"}), "brackets"),
    (chat({"role": "assistant", "content": '[get_weather("Rome")]'}), "without its name"),
    (chat({"role": "assistant", "content": "<tool_response>x</tool_response>"}), "invented_turn"),
    (chat({"role": "assistant", "content": BLOCK, "tool_calls": [CALL]}),
     "own field and in the text"),
    (chat({"role": "assistant", "content": "x", "function_call": "get_weather"}),
     "no call with a name"),
    (chat({"role": "assistant", "content": "x", "actions": [CALL]}),
     'the key "actions" is not read'),
    (chat({"role": "assistant", "tool_calls": [CALL | {"extra": 1}]}), 'the key "extra"'),
    (chat(openai("[1]")), "no JSON object"), (chat(openai("{")), "no JSON object"),
    (chat(openai(3)), "no JSON object"), (chat(openai('"Rome"')), "no JSON object"),
    (chat(openai(json.dumps(json.dumps('{"city": "Rome"}')))), "no JSON object but"),
    (chat({"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}),
     "a part of the content is no text"),
    (chat({"role": "assistant", "content": {"text": "x"}}), "no text but"),
    (chat("x"), "no object"),
    (chat({"role": "function", "name": "now", "content": "x"}), "without its call"),
    (chat({"role": "assistant", "tool_calls": [CALL]},
          {"role": "function", "name": "now", "content": "x"}), "a result of 'now'"),
    (chat({"role": "tool_call", "content": TEXT}, {"role": "tool_call", "content": TEXT},
          {"role": "tool_response", "content": "1"}),
     "1 of the calls before have no result"),
    (chat({"role": "tool_call", "content": "f(x)"}), "no JSON"),
    (chat({"role": "tool_call", "content": "[]"}), "empty list"),
    (chat(ANSWER, tools="none"), "no JSON"), (chat(ANSWER, tools={"a": 1}), "no list"),
    (chat(ANSWER, rubric=[1]), 'the key "rubric" is not read'),
    ({"messages": "x", "tools": []}, "no JSON"),
    (share(("gpt", "x"), tools=None), 'no "tools"'),
    (share(("gpt", "x"), tools=None,
           system=f"<tools>\n{json.dumps(WEATHER)[:-1]}\n{json.dumps(NOW)}\n</tools>"), "no JSON"),
    (share(("gpt", "x"), tools=None, system=f"<tools>{WEATHER} and {json.dumps(NOW)}</tools>"),
     "no JSON"),
    (share(("gpt", "x"), tools=None, system=f"Use\n{WEATHER}\n{json.dumps(NOW)}"),
     "cannot be read"),
    (share(("gpt", "x"), tools=None, system=f"{json.dumps(NOW)}\n{json.dumps(WEATHER)[:-1]}"),
     "cannot be read"),
    (share(("gpt", "x"), tools=None,
           system=f"{json.dumps(NOW)}\n{json.dumps({'title': 'f', 'inputSchema': {}})}"), "name"),
    (chat(ANSWER, functions=[NOW]), '"tools" and "functions" differ'),
    (chat({"role": "assistant", "content": f"<think>hm {PYTHON_BLOCK}"}), "unclosed_think"),
    (chat({"role": "assistant",
           "content": f"{PYTHON_BLOCK}<think>hm</think><tool_call>x</tool_call>"}),
     "no JSON"),
    (chat({"role": "assistant", "content": f"{BLOCK}</think><tool_call>x</tool_call>"}),
     "no JSON|erased"),
    (chat({"role": "assistant", "content": [{"type": "text", "text": "x", "calls": [CALL]}]}),
     'the key "calls"'),
    ({"question": "x"}, '"conversations" \\(ShareGPT\\)'), ([], "a record is"),
    ({"query": "x", "answers": [], "tools": [], "plan_of": {"a": 1}}, 'the key "plan_of"'),
    ({"instruction": "x", "input": "y", "output": "z"}, "inside <tools>")])
def test_what_has_no_certain_meaning_is_refused_with_its_place(raw: Any, reason: str):
    with pytest.raises(ValueError, match=reason):
        messages_of(raw)


def test_keys_that_say_nothing_are_counted_by_name():
    counts: Counter[str] = Counter()
    raw = chat({"role": "assistant", "content": "Which?", "refusal": "", "name": "bot"}, source="x",
               metadata={"a": 1}, score=None)
    raw["messages"].insert(0, {"role": "system", "content": "Be brief."})
    assert messages_of(raw, counts)[-1] == says("Which?")
    assert counts == {"source": 1, "metadata": 1, "refusal": 1, "system text": 1}


def test_the_samples_of_the_release_are_samples():
    lines = "\n".join(map(json.dumps, TOOLS))
    instruction = ("Compose functions.\n\nThe current time is 2024-05-01.\n# Tools\n\nInside "
                   "<tools></tools> XML tags:\n<tools>\n"
                   f"{lines}\n</tools>\n\nCall inside "
                   f"<tool_call></tool_call>:\n<tool_call>\n{{\"name\": "
                   f"<function-name>}}\n</tool_call>.")
    history = (
        f"Rome?<|im_end|>\n<|im_start|>assistant\n{BLOCK}<|im_end|>\n"
        "<|im_start|>user\n<tool_response>\n22\n"
        "</tool_response><|im_end|>\n<|im_start|>assistant\n22 degrees.<|im_end|>\n"
        "<|im_start|>user\nAnd the time?")
    raw = {"instruction": instruction, "input": history,
           "output": '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'}
    sample = read_record(raw, Counter())
    assert isinstance(sample, Sample) and sample.date == "2024-05-01" and [tool.name
                                                                           for tool
                                                                           in sample.tools] == [
                                                                               "get_weather", "now"]
    assert [*sample.messages, sample.label] == [*WHOLE, user("And the time?"), says("", TIME)]
    assert read_record(raw | {"output": "It is late."}, Counter()).label == says("It is late.")
    with pytest.raises(ValueError, match="is no chat"):
        read_record(raw | {"input": "a<|im_end|>b<|im_start|>user\nc"}, Counter())


def released(dialog: Dialog) -> dict[str, Any]:
    """A dialog as the released trans2conversation.py writes it."""
    turns: list[dict[str, Any]] = []
    for message in dialog.messages:
        calls = [{"name": call.name, "arguments": call.arguments} for call in message.calls]
        if message.role == "tool" and turns[-1]["from"] == "tool":
            turns[-1]["value"].append(message.content)
        else:
            value = json.dumps(calls) if calls else message.content
            turns.append({"from": message.role,
                          "value": [value] if message.role == "tool" else value})
    return {"tools": [{"name": tool.name, "description": tool.description,
                       "parameters": tool.parameters} for tool in dialog.tools],
            "conversations": turns, "date": dialog.date, "plan": []}


def test_what_this_project_writes_is_read_back_and_the_released_form_too():
    messages = [*WHOLE, user("Both?"), *TWO[1:], says("Well.")]
    dialog = Dialog(id="d1", tools=[*read_tools(Conversation(tools=TOOLS, messages=[]))],
                    date="2024-05-01", plan=[],
                    messages=messages)
    for written in (from_dialog(dialog), released(dialog)):
        raw = msgspec.json.decode(msgspec.json.encode(written))
        record = read_record(raw, Counter())
        assert (read_messages(record), read_tools(record), record.date) == (messages, dialog.tools,
                                                                            "2024-05-01")


@pytest.mark.parametrize("raw, arguments", [
    ({"name": "f"}, {}), ({"name": "f", "arguments": None}, {}),
    ({"name": "f", "arguments": " "}, {}),
    ({"name": "f", "arguments": '{"x": 1}'}, {"x": 1}),
    ({"name": "f", "parameters": {"x": 1}}, {"x": 1}),
    ({"id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": None}}},
     {"x": None}),
    ({"name": "f", "arguments": "{'x': True}"}, {"x": True}),
    ({"name": "f", "arguments": json.dumps('{"x": 1}')}, {"x": 1}),
    ({"name": "f", "arguments": '""'}, {}), ({"name": "f", "arguments": "null"}, {})])
def test_calls_with_their_arguments(raw: dict, arguments: dict):
    assert read_call(raw) == Call(name="f", arguments=arguments)


@pytest.mark.parametrize("text, calls", [
    ("[now()]", [TIME]), ('[get_weather(city="Rome")]', [ROME]),
    ("[get_weather(city='Rome'), now()]", [ROME, TIME]),
    ('[get_weather(city="a, b) (c]", days=[1, {"x": true}], x=null, y=-2.5)]',
     [Call(name="get_weather", arguments={"city": "a, b) (c]", "days": [1, {"x": True}], "x": None,
                                          "y": -2.5})]),
    ('[get_weather(city="now() or get_weather (x")]',
     [Call(name="get_weather", arguments={"city": "now() or get_weather (x"})]),
    ("[get_weather(city='it\\'s now()'), now()]",
     [Call(name="get_weather", arguments={"city": "it's now()"}), TIME]),
    ("[1] is a footnote (see below)", []), ("[unknown(x=1)]", []), ("[a, b]", []),
    ("Which city?", [])])
def test_calls_in_brackets(text: str, calls: list[Call]):
    assert read_assistant_text(text, {"get_weather", "now"}) == ("" if calls else text, calls)


# Files


def imported(tmp_path: Path, name: str, content: bytes) -> tuple[list[Sample], list[Refused],
                                                                 dict[str, int]]:
    (tmp_path / name).write_bytes(content)
    output = tmp_path / "samples.jsonl"
    transform(config(), tmp_path / name, True, output, fits)
    aside = tmp_path / "samples_refused.jsonl"
    return (list(read_jsonl(output, Sample)), list(read_jsonl(aside, Refused)) if aside.exists()
            else [], read_meta(output).counts)


GOOD = json.dumps(FORMS["LLaMA-Factory"][0]).encode()


@pytest.mark.parametrize("name, content, refused", [
    ("a.jsonl", b"\xef\xbb\xbf%b\n\n  \n%b" % (GOOD, GOOD), []),
    ("a.JSONL", b"%b\n%b\n" % (GOOD, GOOD), []),
    ("a.json", b"\xef\xbb\xbf[%b, %b]" % (GOOD, GOOD), []),
    ("a.JSON", b"[%b,\n%b]" % (GOOD, GOOD), []),
    ("a.json", b"\xef\xbb\xbf\n%b\n\n%b\n" % (GOOD, GOOD), []),
    ("a.YAML", b"- %b\n- %b\n" % (GOOD, GOOD), []),
    ("a.jsonl", b'%b\n{"x": NaN}\n{"x": "\\ud800"}\n{"x"\n\xff\n%b' % (GOOD, GOOD),
     ["not_json"] * 4),
    ("a.json", b'[%b, {"x": NaN}, {"x": "\\ud800"}, {"x": "\xff"}, {"x": 1e999}, [], %b]' % (GOOD,
                                                                                             GOOD),
     ["not_json"] * 4 + ["unreadable"]),
    ("a.yaml", b'- %b\n- {x: .nan}\n- {x: "\\ud800"}\n- {x: -.inf}\n- %b\n' % (GOOD, GOOD),
     ["not_json"] * 3),
    ("a.jsonl", b"%b\n[]\n3\n%b\n" % (GOOD, GOOD), ["unreadable"] * 2)])
def test_one_bad_spot_costs_one_record(tmp_path: Path, name: str, content: bytes,
                                       refused: list[str]):
    samples, aside, counts = imported(tmp_path, name, content)
    assert [sample.label for sample in samples if sample.label.calls] == [STEP[1]] * 2
    assert [entry.code for entry in aside] == refused and sum(counts.get(code, 0)
                                                              for code
                                                              in set(refused)) == len(refused)
    assert all(entry.reason and entry.place.startswith(name) for entry in aside)


def test_where_all_is_refused_the_reasons_are_written_and_told(tmp_path: Path):
    lines = b"\n".join([json.dumps(chat({"role": "narrator", "content": "x"})).encode()] * 2
                       + [b"{"])
    with pytest.raises(InputError,
                       match="2 unreadable, 1 not_json.*of 2, at a.jsonl:1.*'narrator' is none of"):
        imported(tmp_path, "a.jsonl", lines)
    assert len(list(read_jsonl(tmp_path / "samples_refused.jsonl", Refused))) == 3


def test_parquet_is_read_row_by_row_with_nulls_as_absent_keys(tmp_path: Path):
    no_arguments = chat({"role": "assistant", "tool_calls": [{"function": {"name": "now",
                                                                           "arguments": {}}}]},
                                                                           source="x")
    records = [no_arguments, FORMS["arguments as an object"][0], FORMS["developer"][0]]
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "train.parquet", row_group_size=1)
    assert [place for place,
            _ in read_foreign(tmp_path / "train.parquet")] == [f"train.parquet[{number}]"
                                                               for number in range(3)]
    output = tmp_path / "samples.jsonl"
    meta = transform(config(), tmp_path / "train.parquet", True, output, fits)
    assert [sample.label for sample in read_jsonl(output, Sample)] == [says("", TIME), STEP[1],
                                                                       STEP[1]]
    assert meta.passed_over == {"source": 1, "system text": 1}
    (tmp_path / "bad.parquet").write_bytes(b"PAR1x")
    with pytest.raises(InputError, match="bad.parquet: not Parquet"):
        list(read_foreign(tmp_path / "bad.parquet"))


def test_parquet_with_nan_costs_its_row(tmp_path: Path):
    rows = [{"x": 1.5, "raw": b"a"}, {"x": float("nan"), "raw": None}, {"x": float("inf")}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    bad: list[Refused] = []
    assert list(read_foreign(tmp_path / "a.parquet", bad.append)) == [
        ("a.parquet[0]", {"x": 1.5, "raw": b"a"})]
    assert [(entry.place, entry.code) for entry in bad] == [("a.parquet[1]", "not_json"),
                                                            ("a.parquet[2]", "not_json")]


def test_the_step_before_an_error_is_no_label(tmp_path: Path):
    samples, _, counts = imported(tmp_path, "a.jsonl", json.dumps(
        FORMS["Anthropic, an error"][0]).encode() + b"\n" + GOOD)
    assert [sample.label for sample in samples if sample.label.calls] == STEP[1:]
    assert counts["failed_result:is_error"] == 1


def test_a_folder_is_all_its_files(tmp_path: Path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jsonl").write_bytes(GOOD)
    (tmp_path / "in" / "b.JSON").write_bytes(b"[%b]" % GOOD)
    (tmp_path / "in" / "README.md").write_text("x")
    meta = transform(config(), tmp_path / "in", True, tmp_path / "samples.jsonl", fits)
    assert meta.counts["call"] == 2 and sorted(meta.sources) == ["in/a.jsonl", "in/b.JSON"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no file with records"):
        transform(config(), tmp_path / "empty", True, tmp_path / "samples.jsonl", fits)
