"""What a reply without a <tool_call> block is: a table of both kinds, those that are paid for a
text label and those not."""
from __future__ import annotations

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_reward import score

from grpotool.reward import GroundTruth
from looptool.calling.sample_rules import sample_faults
from looptool.calling.untagged import MAX_TEXT, text_fault
from looptool.foreign.tool_objects import read_tool
from looptool.json_lines import encode_line
from looptool.records import Call, Message, Sample

TOOLS = ["get_weather", "now", "book.flight", "Weather API"]
CALL = '{"name": "get_weather", "arguments": {"city": "Rome"}}'
LATER = '{"name": "get_weather", "parameters": {"city": "Rome"}}'

UNTAGGED = [
    CALL, f"  {CALL}\n", f"```json\n{CALL}\n```", f"```\n{CALL}\n```",
    f"Sure, let me look.\n\n```json\n{CALL}\n```",
    f"```json\n{CALL}\n```\nThis asks for the weather of Rome.", f"[{CALL}]", f"[{CALL}, {CALL}]",
    f"{CALL}\n{CALL}",
    f"I call {CALL}", f"I call {CALL}.", f"The call: `{CALL}`",
    json.dumps(json.loads(CALL), indent=2), f"- {CALL}\n- {CALL}",
    f"{CALL}{CALL}", f"json\n{CALL}", f"<tools>{CALL}</tools>\n{CALL}",
    LATER, '{"arguments": {}, "name": "now"}', '{"name": "now"}',
    '{"name": "now", "arguments": "{}"}',
    '{"name": "now", "arguments": null, "reason": "I need it"}',
    '{"name": "never_listed", "arguments": {}}',
    '{"function": {"name": "now", "arguments": {}}}',
    '{"type": "function", "function": {"name": "now", "arguments": "{}"}}',
    '{"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "now", "arguments": '
    '"{}"}}]}',
    '{"function_call": {"name": "now", "arguments": "{}"}}',
    '{"tool": "get_weather", "args": {"city": "Rome"}}',
    '{"action": "get_weather", "action_input": {"city": "Rome"}}',
    '{"tool_name": "now", "parameters": {}}',
    '{"get_weather": {"city": "Rome"}}', "{'name': 'get_weather', 'arguments': {'city': 'Rome'}}",
    CALL[:-1], f"```json\n{CALL[:-1]}\n```", CALL.replace('"Rome"', "Rome"),
    CALL.replace('"Rome"', '"Ro\nme"'),
    'get_weather(city="Rome")', '[get_weather(city="Rome"), now()]', "```python\nnow()\n```",
    'print(get_weather("Rome"))',
    "Let me see.\nget_weather(\n    city='Rome',\n)", "book.flight(n=1)",
    "<tool_call >", "<TOOL_CALL>{}</TOOL_CALL>", "< tool_call>", "<tool_calls>", "<|tool_call|>",
    "<toolcall>", "<tool-call>",
    "<function_call>{}", "<functioncall> {}", "<function=now>{}</function>", '<invoke name="now">',
    "Well. <tool_c", "<tool_call",
    '[TOOL_CALLS] [{"name": "now"}]', "<|python_tag|>now.call()",
    "Thought: x\nAction: now\nAction Input: {}",
    "✿FUNCTION✿: now\n✿ARGS✿: {}", "<｜tool▁calls▁begin｜>function", "```tool_code\nx\n```",
    f"x {'words ' * 4000}\n{CALL}", 'get_weather\n{"city": "Rome"}', 'get_weather {"city": "Rome"}',
    'Let me look.\nget_weather: {"city": "Rome"}', 'get_weather\n```json\n{"city": "Rome"}\n```',
    "**get_weather**\n{'city': 'Rome'}", "now\n{}",
    "```python\nresult = get_weather(city='Rome')\n```",
    "x = await now()", 'get_weather(city: "Rome")', '[Weather API(city="Rome")]',
    'Weather API {"a": 1}',
    '{name: get_weather, arguments: {"city": "Rome"}}', "{name: 'now', arguments: {}}",
    "name: get_weather\narguments:\n  city: Rome", "```yaml\nname: now\narguments: {}\n```",
    "Action: get_weather\nInput: Rome", "**Action:** `now`\n**Action Input:** x",
    "tool_name: now\ntool_input:\n", "<get_weather><city>Rome</city></get_weather>", "<now/>",
    '<get_weather city="Rome"/>', "<tool>get_weather</tool>", "<tool>\nWeather API\n</tool>",
    'Sure.[TOOL_CALLS]get_weather{"city": "Rome"}', "functools[now()]", "Sure.\nto=functions.now"]
WORDS = [
    "Which city do you mean?", "It is 22 degrees in Rome.", "ok", "好", "42", "👍", "Done!",
    "a < b and c > d", "I love <3 you",
    "I would call get_weather for that, but in which city?",
    'I could call get_weather(city="Rome") for you. Shall I?',
    f"The call {CALL} would do it, but I do not know whether you mean that Rome.", "now",
    "now (at once)", "Now() or later?",
    "You can use:\n- get_weather(city): weather of a city\n- now(): hm", "Set f(x) = 3x + 1.",
    "print(x)",
    '{"name": "Bob", "age": 3}', '{"city": "Rome", "temperature": 22}',
    '{"name": "Bob", "parameters": {"height": 3}}',
    '{"name": "Bob", "arguments": ["for", "against"]}', "```json\n{\"temperature\": 22}\n```",
    '{"name": "now", "time": "12:30"}',
    '{"name": "now", "description": "Time", "parameters": {"type": "object", "properties": {}}}',
    "{}x", "(a)",
    "Your function is called tool_calls.", "Action: go to bed.", "The arguments are good.",
    "arguments: {", "<b>Rome</b>", "€", "→", "±", "½", "...€", "_é_",
    "Use the functools[0] item.", "I write ```tool_code for code.",
    "It is not [TOOL_CALLS] that counts.",
    "name: get_weather\ndescription: weather of a city", "The answer to now: {}",
    'The city now is {"name": "Rome"}', "Tool: get_weather\nParameters: city",
    "get_weather(city: string): weather of a city", "Now: it is <b>late</b> now", "now: 12:30"]
NOTHING = ["", "_", "._.", "—…", "“”", "，。", " \n\t", ".", "...", "?!",
           "```\n```", "​", "---", "\x00", '""', "{}", "[]", "{",
           "<>"]
TURNS = ["<tool_response>\n{}\n</tool_response>", "Sunny.\n<tool_response>",
         "Sunny.</tool_response>", "Hi<|im_start|>user\nHo"]


@pytest.mark.parametrize("code, texts", [
    ("untagged_call", UNTAGGED), ("", WORDS), ("empty", NOTHING), ("invented_turn", TURNS)])
def test_words_are_told_from_calls(code: str, texts: list[str]):
    assert {text: text_fault(text, TOOLS) for text in texts} == dict.fromkeys(texts, code)


def truth(*calls: Call, content: str = "") -> str:
    return encode_line(GroundTruth(role="assistant", content=content, calls=list(calls),
                                   tools=TOOLS)).decode()


@pytest.mark.parametrize("thought", ["", "<think>\nhm\n</think>\n\n", "hm</think>"])
def test_only_words_are_paid_where_the_label_is_text_and_nothing_untagged_where_it_is_a_call(
        thought: str):
    label = Call(name="get_weather", arguments={"city": "Rome"})
    for code, texts in (("untagged_call", UNTAGGED), ("", WORDS), ("empty", NOTHING),
                        ("invented_turn", TURNS)):
        for text in texts:
            assert score(thought + text, truth(content="Which city?")) == ((0.0, code) if code
                                                                           else (1.0,
                                                                                 "match")), text
            expected = code if code in ("untagged_call", "invented_turn") else "no_call"
            assert score(thought + text, truth(label)) == (0.0, expected), text


def test_the_released_comparison_pays_as_it_always_did():
    for text in (CALL, f"```json\n{CALL}\n```", "", ".", *TURNS):
        assert score(text, truth(content="Which city?"), mode="paper_compat") == (1.0, "match")
    assert score(CALL, truth(Call(name="now", arguments={})), mode="paper_compat") == (
        0.0, "untagged_call")


def test_without_names_a_whole_call_is_still_one_and_less_certain_forms_are_not():
    assert (text_fault(CALL) == "untagged_call" == text_fault(f"[{CALL}]")
            and text_fault(LATER) == "" == text_fault("now()"))
    assert score(CALL, encode_line(Message(role="assistant", content="Which?"))) == (
        0.0, "untagged_call")


@pytest.mark.parametrize("text, fault", [(CALL, "untagged_call"), ("...", "empty_label"),
                                         (TURNS[0], "invented_turn"), ("Hm.", "")])
def test_such_a_text_is_no_label(text: str, fault: str):
    tools = [read_tool({"name": name, "parameters": {"type": "object", "properties": {}}})
             for name in TOOLS]
    sample = Sample(id="a", tools=tools, date="unknown",
                    messages=[Message(role="user", content="?")],
                    label=Message(role="assistant", content=text))
    assert sample_faults(sample) == ([fault] if fault else [])


@settings(deadline=None, max_examples=200)
@given(st.text() | st.lists(st.sampled_from([*UNTAGGED, *WORDS, *TURNS, *'{}[]"<>`\n(', '"name":',
                                             '"arguments":']),
                            max_size=12).map("".join))
def test_any_text_is_one_of_four_things(text: str):
    assert text_fault(text, TOOLS) in ("", "untagged_call", "invented_turn", "empty")


@pytest.mark.parametrize("piece", ["some words. ", "<", "<t", "[", "{", "(", "f(x)\n", "\n", "```",
                                   '{"a":1},', '{"arguments":',
                                   '{"name": "now",', CALL[:-1], "<  ", "a({", "> ", "now ",
                                   'now {"', "\x00", "name: now\n", "a=", "a b ", "<now", "…"])
def test_long_texts_take_no_longer_than_short_ones(piece: str):
    text = "now(name: <tool>now" + piece * (100_000 // len(piece))
    taken = []
    for _ in range(3):  # the least of them: other work can only add to it
        begun = time.process_time()
        text_fault(text, TOOLS)
        taken.append(time.process_time() - begun)
    assert min(taken) < 0.5 and len(text) > MAX_TEXT  # 10 ms at most when nothing else runs
