"""Reading replies: what is content, reasoning and call, which fault a broken block gives, and
linear time."""
from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looptool.calling.match import paper_compat_match, tool_match
from looptool.calling.reply import MAX_BLOCK, MAX_DEPTH, MAX_TAGS, Reply, parse_reply, render_calls
from looptool.calling.schema_check import check_calls
from looptool.foreign.tool_objects import read_tool
from looptool.json_lines import encode_line
from looptool.prompts.render import render_answer
from looptool.records import Call, Message

SAMPLES = Path(__file__).resolve().parents[2] / "shared" / "data" / "xlam_style_samples.jsonl"

F = Call(name="f", arguments={"x": "a"})
G = Call(name="g", arguments={})
BLOCK = '<tool_call>\n{"name": "f", "arguments": {"x": "a"}}\n</tool_call>'
GBLOCK = '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>'


def test_render_is_the_format_of_the_system_prompt():
    assert render_calls([]) == ""
    assert render_calls(
        [Call(name="get weather", arguments={"city": "Zürich", "days": [1, 2.5, None, True]}),
         G]) == (
        '<tool_call>\n{"name": "get weather", "arguments": {"city": "Zürich", "days": [1, 2.5, '
        'null, true]}}\n'
        '</tool_call>\n'
        '<tool_call>\n{"name": "g", "arguments": {}}\n</tool_call>')


@pytest.mark.parametrize("text, reply", [
    ("", Reply()),
    ("  Hello.\n", Reply(content="Hello.")),
    ("Hello.<|im_end|>\n<|endoftext|>", Reply(content="Hello.")),
    ("say <|im_end|> twice", Reply(content="say <|im_end|> twice")),
    (BLOCK, Reply(calls=[F])),
    (f"<think>\nhm\n</think>\n\nSure.\n{BLOCK}", Reply(reasoning="hm", content="Sure.", calls=[F])),
    (f"hm\n</think>\n{BLOCK}", Reply(reasoning="hm", calls=[F])),
    (f"before {BLOCK} after", Reply(content="before\nafter", calls=[F])),
    (f"<think>{BLOCK}</think>text", Reply(reasoning=BLOCK, content="text")),
    (f"{BLOCK}</think>text", Reply(reasoning="", content="text", faults=["erased_call"])),
    (f"no {BLOCK} yes</think>text",
     Reply(reasoning="no\nyes", content="text", faults=["erased_call"])),
    (f"no {BLOCK} yes</think>{GBLOCK}", Reply(reasoning="no\nyes", calls=[G])),
    (f"<think>a</think>{BLOCK}</think>{GBLOCK}",
     Reply(reasoning="a", calls=[G], faults=["erased_call"])),
    ("</tool_call></think>text",
     Reply(reasoning="</tool_call>", content="text", faults=["erased_call"])),
    ("<think>a <think> b</think>c", Reply(reasoning="a <think> b", content="c")),
    ("<think>a</think>b<think>c</think>d", Reply(reasoning="a\nc", content="b\nd")),
    ("a</think>b</think>c", Reply(reasoning="a\nb", content="c")),
    ("text <think>cut", Reply(content="text", reasoning="cut", faults=["unclosed_think"])),
    ("<THINK><Tool_Call>", Reply(content="<THINK><Tool_Call>")),
    ("<tool_call", Reply(content="<tool_call")),
])
def test_parts_of_a_reply(text: str, reply: Reply):
    assert parse_reply(text) == reply


@pytest.mark.parametrize("text, faults", [
    ("<tool_call>", ["unclosed"]),
    ("</tool_call>", ["unopened"]),
    ("<think>", ["unclosed_think"]),
    (BLOCK[:-5], ["unclosed"]),
    (BLOCK[:25], ["unclosed"]),
    ('<tool_call>{"name": "f", "arguments": {"x": "</tool_call>', ["bad_json"]),
    ("<tool_call></tool_call>", ["bad_json"]),
    ("<tool_call>f(x='a')</tool_call>", ["bad_json"]),
    ("<tool_call>{'name': 'f'}</tool_call>", ["bad_json"]),
    (BLOCK.replace("}}", "}} x"), ["bad_json"]),
    (BLOCK.replace('"a"', "NaN"), ["bad_json"]),
    (BLOCK.replace('"a"', "-Infinity"), ["bad_json"]),
    (BLOCK.replace('"a"', "01"), ["bad_json"]),
    (BLOCK.replace('"a"', '"a\nb"'), ["bad_json"]),
    (BLOCK.replace('"a"', '"\\x41"'), ["bad_json"]),
    (BLOCK.replace('"a"', "<b>"), ["bad_json"]),
    (BLOCK.replace('"a"', "1e400"), ["number_out_of_range"]),
    (BLOCK.replace('"a"', "-1e999999999999"), ["number_out_of_range"]),
    (BLOCK.replace('"a"', "1e-400"), ["number_out_of_range"]),
    (BLOCK.replace('"a"', "9" * 5000), ["number_out_of_range"]),
    (BLOCK.replace('"a"', '"a", "x": "b"'), ["duplicate_key"]),
    (BLOCK.replace('"a"', '{"y": 1, "y": 1}'), ["duplicate_key"]),
    (BLOCK.replace('"a"', '"\\ud800"'), ["lone_surrogate"]),
    (BLOCK.replace('"a"', '"\ud800"'), ["lone_surrogate"]),
    (BLOCK.replace('"x"', '"\\udfff"'), ["lone_surrogate"]),
    (BLOCK.replace('"a"', "[" * 9_000), ["too_deep"]),
    (BLOCK.replace('"a"', "[" * 9_000 + "]" * 9_000), ["too_deep"]),
    (BLOCK.replace('"a"', f'"{"a" * MAX_BLOCK}"'), ["too_long"]),
    (BLOCK.replace('"a"', "[" * 100_000), ["too_long"]),
    ("</think>" * 200_000, ["too_many_tags"]),
    (BLOCK.replace('"a"', "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)), ["too_deep"]),
    ("<tool_call>[]</tool_call>", ["not_object"]),
    ('<tool_call>"f"</tool_call>', ["not_object"]),
    ("<tool_call>null</tool_call>", ["not_object"]),
    ('<tool_call>{"arguments": {}}</tool_call>', ["no_name"]),
    ('<tool_call>{"name": "", "arguments": {}}</tool_call>', ["no_name"]),
    ('<tool_call>{"name": 1, "arguments": {}}</tool_call>', ["no_name"]),
    ('<tool_call>{"name": "f"}</tool_call>', ["no_arguments"]),
    ('<tool_call>{"name": "f", "arguments": "{}"}</tool_call>', ["arguments_not_object"]),
    ('<tool_call>{"name": "f", "arguments": null}</tool_call>', ["arguments_not_object"]),
    ('<tool_call>{"name": "f", "arguments": []}</tool_call>', ["arguments_not_object"]),
    (BLOCK.replace("}}", '}, "id": 1}'), ["unknown_key"]),
    (f"<tool_call>{BLOCK}</tool_call>", ["unclosed", "unopened"]),
    (f"<tool_call>x</tool_call>{BLOCK}<tool_call>[]</tool_call></tool_call>",
     ["bad_json", "not_object", "unopened"]),
    ("<tool_call>{<think>hm</think>}</tool_call>", ["unclosed", "unopened"]),
])
def test_every_broken_block_has_its_fault(text: str, faults: list[str]):
    reply = parse_reply(text)
    assert reply.faults == faults
    assert reply.calls == ([F] if text.count(BLOCK) else [])
    assert "<tool_call>" not in text or reply.content.startswith("<tool_call>")


def test_reading_stops_after_so_many_tags():
    assert parse_reply(BLOCK * MAX_TAGS).faults == []
    reply = parse_reply(BLOCK * (MAX_TAGS + 2))
    assert (reply.faults == ["too_many_tags"] and reply.calls == [F] * MAX_TAGS
            and reply.content == BLOCK * 2)


@pytest.mark.parametrize("arguments",
                         ['{"x": 1, "x": 1}', '{"x": 1e-400}', '{"x": {"y": 1, "y": 2}}',
                          '{"x": [1e-400]}', '{"x": "a:b", "x": 1}', '{"x": "\\ud800"}'])
def test_the_fast_decoder_does_not_hide_a_fault(arguments: str):
    assert parse_reply(f'<tool_call>{{"name": "f", "arguments": {arguments}}}</tool_call>').faults


PAIRS = ['"x": 1', '"x": 2', '"y":"a"', '"y" : "b:c"', '"z": 0.0', '"z": -0', '"z": false',
         '"z": 1e-400', '"z": 1e400', '"o": {"a": 1, "a": 2}', '"o": {}', '"l": [1e-400]',
         '"l": []', '"s": "<b>"', '"s": "</tool_call>"', '"s": "\\u0041"', '"s": "é"', '"s": "{["',
         '"s": "a\tb"', '"s": "', "NaN", '"": null', '"q": 12345678901234567890123', "x"]


@settings(deadline=None, max_examples=300)
@given(st.lists(st.sampled_from(PAIRS), max_size=4).map(", ".join),
       st.sampled_from(['"name": "f", "arguments": {%s}', '"name":"f","name":"g","arguments":{%s}',
                        '"arguments": {%s}, "name": ""', '"name": "f", "arguments": {%s}, "id": '
                                                         '1', '"arguments": {%s}']))
def test_the_fast_decoder_reads_what_the_strict_one_reads(arguments: str, call: str):
    text = f"so\n<tool_call> {{{call % arguments}}}\n</tool_call>\n{BLOCK} and"
    quick = repr(parse_reply(text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("looptool.calling.reply._read_plain_call", lambda body: None)
        assert repr(parse_reply(text)) == quick


def test_faults_in_reasoning_do_not_count():
    assert parse_reply(f"<tool_call>x</tool_call></think>{BLOCK}") == Reply(
        reasoning="<tool_call>x</tool_call>", calls=[F])


def test_the_deepest_allowed_value_and_what_hides_in_strings():
    levels = MAX_DEPTH - 2  # the block and its arguments are two
    reply = parse_reply(BLOCK.replace('"a"', "[" * levels + "]" * levels))
    assert not reply.faults and json.dumps(reply.calls[0].arguments).count("[") == levels
    deep_and_wide = "[" * (levels - 1) + ",".join(["[]"] * 100) + "]" * (levels - 1)
    assert not parse_reply(BLOCK.replace('"a"', deep_and_wide)).faults
    assert parse_reply(BLOCK.replace('"a"', json.dumps("[" * 1000))).calls[0].arguments == {
        "x": "[" * 1000}


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(min_value=10 ** 30, max_value=10 ** 400)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12)
NAMES = st.text(min_size=1)
CALLS = st.lists(st.builds(Call, name=NAMES,
                           arguments=st.dictionaries(st.text(), JSON_VALUES, max_size=4)),
                 max_size=4)
PLAIN = st.text(alphabet=st.characters(exclude_characters="<", exclude_categories=["Cs"])).map(
    str.strip)


@settings(max_examples=50, deadline=None)
@given(PLAIN, PLAIN, CALLS)
def test_what_is_written_is_read_back(content: str, reasoning: str, calls: list[Call]):
    message = Message(role="assistant", content=content, calls=calls)
    reply = parse_reply(f"<think>\n{reasoning}\n</think>\n\n{render_answer(message)}<|im_end|>")
    assert (reply.content, reply.reasoning, reply.faults) == (content, reasoning, [])
    assert repr(reply.calls) == repr(calls)  # repr tells 1 from 1.0 and True
    assert reply.message() == Message(role="assistant", content=content, reasoning=reasoning,
                                      calls=calls)
    assert encode_line(reply.message())


@settings(deadline=None)
@given(st.lists(
    st.sampled_from(["<think>", "</think>", "<tool_call>", "</tool_call>", BLOCK, *'"\\{}[x'])
    | st.text(alphabet=st.characters(), max_size=5), max_size=12).map("".join))
def test_any_text_is_read_and_nothing_is_invented(text: str):
    reply = parse_reply(text)
    assert len(reply.calls) <= text.count("</tool_call>")
    assert all(call.name in text for call in reply.calls)
    assert (bool(reply.faults)
            or "tool_call>" not in text.rpartition("</think>")[2].replace(BLOCK, ""))


PIECES = ["<tool_call>", "</tool_call>", "<think>", "</think>", '<tool_call>"', '<tool_call>{"a',
          '<tool_call>["', '"<tool_call>[",', '<tool_call>\\"', '"\\"<tool_call>',
          "<tool_call>x</tool_call>", "<tool_call>\n\n\n</tool_call>", BLOCK, f"<think>{BLOCK}",
          f"{BLOCK}</think>", "<tool_call>1e99999", "<|im_end|>", '""', '"\\a', "[", '{"a":', "<",
          " ", "\n", "<tool_call><think>", "<think><tool_call></think></tool_call>"]


@pytest.mark.parametrize("start", ["", "<tool_call>", '<tool_call>{"name": "'])
def test_hostile_repetition_takes_linear_time(start: str):
    for piece in PIECES:
        text = start + piece * (100_000 // len(piece))
        begin = time.process_time()
        parse_reply(text)
        # ten milliseconds when nothing else runs
        assert time.process_time() - begin < 1, repr(piece)


@pytest.mark.skipif(not SAMPLES.exists(), reason="the shared data folder is not here")
def test_real_samples_round_trip_and_their_schema_faults():
    faults: dict[str, int] = {}
    clean = unreadable = 0
    for line in SAMPLES.read_text(encoding="utf-8").splitlines():
        sample = json.loads(line)
        calls = [Call(**answer) for answer in sample["answers"]]
        text = render_calls(calls) or "No function fits."
        reply = parse_reply(text)
        assert repr(reply.calls) == repr(calls) and not reply.faults
        assert tool_match(reply.message(), Message(role="assistant", calls=calls),
                          reply.faults) == "match"
        assert paper_compat_match(text, text)
        try:
            found = check_calls(calls, [read_tool(tool) for tool in sample["tools"]])
        except ValueError:
            unreadable += 1
            continue
        clean += not found
        for fault in found:
            code = fault.split(":")[0]
            faults[code] = faults.get(code, 0) + 1
    assert (clean, unreadable) == (212, 1)
    assert faults == {"wrong_type": 97, "missing_required": 72, "unknown_argument": 17,
                      "unknown_tool": 2}
