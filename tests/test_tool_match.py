"""The conformance suite of ToolMatch: what a reply is worth against a label, strict and in the
released comparison.

Read a row as: this reply, to a label with these calls, gives this strict reason and this
paper_compat result. Where the two differ, the strict one is what section 4.1 says.
"""
from __future__ import annotations

import copy
import json
import random
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looptool.calling.match import paper_compat_match, same_value, tool_match
from looptool.calling.reply import parse_reply, render_calls
from looptool.records import Call, Message


def block(arguments: str, name: str = "f") -> str:
    return f'<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>'


def calls(*arguments: dict, name: str = "f") -> list[Call]:
    return [Call(name=name, arguments=each) for each in arguments]


COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "é"), unicodedata.normalize("NFD", "é")
TWO_NAMES = [Call(name="f", arguments={}), Call(name="g", arguments={})]
A, B = block('{"x": "a"}'), block('{"x": "b"}')
BARE = '{"name": "f", "arguments": {"x": "a"}}'
LABEL_A, LABEL_AB = calls({"x": "a"}), calls({"x": "a"}, {"x": "b"})
LABEL_AAB = calls({"x": "a"}, {"x": "a"}, {"x": "b"})
BIG = 12345678901234567890123

CONFORMANCE = [
    # what is compared               reply                                  label
    # strict reason   compat
    ("equal", A, LABEL_A, "match", True),
    ("other value", B, LABEL_A, "wrong_value", False),
    ("other name", block('{"x": "a"}', "g"), LABEL_A, "wrong_name", False),
    ("name in other case", block('{"x": "a"}', "F"), LABEL_A, "wrong_name", False),
    ("value in other case", block('{"x": "A"}'), LABEL_A, "wrong_value", False),
    ("value with a space", block('{"x": "a "}'), LABEL_A, "wrong_value", False),
    ("missing argument", block("{}"), LABEL_A, "missing_argument", False),
    ("extra argument", block('{"x": "a", "y": 1}'), LABEL_A, "extra_argument", False),
    ("renamed argument", block('{"y": "a"}'), LABEL_A, "missing_argument", False),
    ("no arguments at all", block("{}"), calls({}), "match", True),
    ("key order", block('{"b": 2, "a": 1}'), calls({"a": 1, "b": 2}), "match", True),
    ("nested key order", block('{"o": {"b": 2, "a": 1}}'), calls({"o": {"a": 1, "b": 2}}), "match",
     True),
    ("keys of the block in other order",
     '<tool_call>\n{"arguments": {"x": "a"}, "name": "f"}\n</tool_call>', LABEL_A,
     "match", True),

    ("calls in other order", f"{B}\n{A}", LABEL_AB, "match", True),
    ("one call too few", A, LABEL_AB, "missing_call", False),
    ("one call too many", f"{A}\n{B}", LABEL_A, "extra_call", False),
    ("a call twice", f"{A}\n{A}", LABEL_A, "extra_call", False),
    ("a call once, asked twice", A, calls({"x": "a"}, {"x": "a"}), "missing_call", False),
    ("A A B for A A B", f"{A}\n{B}\n{A}", LABEL_AAB, "match", True),
    ("A B B for A A B", f"{A}\n{B}\n{B}", LABEL_AAB, "wrong_value", True),
    ("two tools, other order", block("{}", "g") + "\n" + block("{}"), TWO_NAMES, "match", True),
    ("two tools, one of them twice", block("{}") + "\n" + block("{}"), TWO_NAMES, "wrong_name",
     False),
    ("two tools, other order, both values wrong", block('{"x": 1}', "g") + "\n" + block('{"x": 1}'),
     TWO_NAMES, "extra_argument", False),
    ("values swapped between two calls",
     block('{"x": 1, "y": 2}') + "\n" + block('{"x": 2, "y": 1}'),
     calls({"x": 1, "y": 1}, {"x": 2, "y": 2}), "wrong_value", False),

    ("list order", block('{"x": [2, 1]}'), calls({"x": [1, 2]}), "wrong_value", True),
    ("list multiplicity", block('{"x": [1, 2]}'), calls({"x": [1, 1, 2]}), "wrong_value", True),
    ("list length", block('{"x": [1]}'), calls({"x": [1, 2]}), "wrong_value", False),
    ("list of lists", block('{"x": [[1, 2], [3]]}'), calls({"x": [[3], [1, 2]]}), "wrong_value",
     True),
    ("list for its only item", block('{"x": "a"}'), calls({"x": ["a"]}), "wrong_type", False),
    ("nested value", block('{"o": {"p": {"q": 2}}}'), calls({"o": {"p": {"q": 1}}}), "wrong_value",
     False),
    ("nested key missing", block('{"o": {}}'), calls({"o": {"p": 1}}), "wrong_value", False),
    ("objects in a list", block('{"x": [{"a": 1}, {"b": 2}]}'), calls({"x": [{"a": 1}, {"b": 2}]}),
     "match", True),
    ("empty list for empty object", block('{"x": []}'), calls({"x": {}}), "wrong_type", True),
    ("empty list for empty text", block('{"x": []}'), calls({"x": ""}), "wrong_type", False),

    ("true for 1", block('{"x": true}'), calls({"x": 1}), "wrong_type", True),
    ("true for 1.0", block('{"x": true}'), calls({"x": 1.0}), "wrong_type", True),
    ("1 for true", block('{"x": 1}'), calls({"x": True}), "wrong_type", True),
    ("0 for false", block('{"x": 0}'), calls({"x": False}), "wrong_type", True),
    ("1 for true in a list", block('{"x": [1]}'), calls({"x": [True]}), "wrong_value", True),
    ("1.0 for true", block('{"x": 1.0}'), calls({"x": True}), "wrong_type", True),
    ('"true" for true', block('{"x": "true"}'), calls({"x": True}), "wrong_type", False),
    ("1.0 for 1", block('{"x": 1.0}'), calls({"x": 1}), "match", True),
    ("1 for 1.0", block('{"x": 1}'), calls({"x": 1.0}), "match", True),
    ("1e2 for 100", block('{"x": 1e2}'), calls({"x": 100}), "match", True),
    ("-0 for 0", block('{"x": -0.0}'), calls({"x": 0}), "match", True),
    ("0.10 for 0.1", block('{"x": 0.10}'), calls({"x": 0.1}), "match", True),
    ("0.3 for 0.30000000000000004", block('{"x": 0.3}'), calls({"x": 0.1 + 0.2}), "wrong_value",
     False),
    ('"1" for 1', block('{"x": "1"}'), calls({"x": 1}), "wrong_type", False),
    ("big integer", block(f'{{"x": {BIG}}}'), calls({"x": BIG}), "match", True),
    ("big integer, last digit off", block(f'{{"x": {BIG + 1}}}'), calls({"x": BIG}), "wrong_value",
     False),
    ("2**53 + 1 for 2.0**53", block(f'{{"x": {2 ** 53 + 1}}}'), calls({"x": 2.0 ** 53}),
     "wrong_value", False),
    ("1e400 for 1e999, both beyond a double", block('{"x": 1e400}'), calls({"x": float("inf")}),
     "malformed", True),
    ("1e-400 for 0", block('{"x": 1e-400}'), calls({"x": 0}), "malformed", True),
    ("1e999999999", block('{"x": 1e999999999}'), calls({"x": 1}), "malformed", False),
    ("5,000 digits", block('{"x": ' + "1" * 5000 + "}"), calls({"x": 1}), "malformed", False),
    ("NaN", block('{"x": NaN}'), calls({"x": 1}), "malformed", False),

    ("null for absent", block('{"x": null}'), calls({}), "extra_argument", False),
    ("absent for null", block("{}"), calls({"x": None}), "missing_argument", False),
    ("null for null", block('{"x": null}'), calls({"x": None}), "match", True),
    ('"null" for null', block('{"x": "null"}'), calls({"x": None}), "wrong_type", False),
    ("null for false", block('{"x": null}'), calls({"x": False}), "wrong_type", False),

    ("unicode escaped", block('{"x": "caf\\u00e9"}'), calls({"x": "café"}), "match", True),
    ("emoji as a surrogate pair", block('{"x": "\\ud83d\\ude00"}'), calls({"x": "😀"}), "match",
     True),
    ("NFD for NFC", block(f'{{"x": "{DECOMPOSED}"}}'), calls({"x": COMPOSED}), "wrong_value",
     False),
    ("NFD key for NFC key", block(f'{{"{DECOMPOSED}": 1}}'), calls({COMPOSED: 1}),
     "missing_argument", False),
    ("full-width digits", block('{"x": "１"}'), calls({"x": "1"}), "wrong_value", False),
    ("half a surrogate pair", block('{"x": "\\ud83d"}'), calls({"x": "\ud83d"}), "malformed", True),
    ("same key twice", block('{"x": "b", "x": "a"}'), LABEL_A, "malformed", True),
    ("same key twice, nested", block('{"o": {"x": 1, "x": 1}}'), calls({"o": {"x": 1}}),
     "malformed", True),
    ("arguments twice", '<tool_call>\n{"name": "f", "arguments": {"x": "b"}, "arguments": {"x": '
                        '"a"}}\n</tool_call>',
     LABEL_A, "malformed", True),

    ("text around the call", f"Let me look.\n{A}\nDone.", LABEL_A, "match", True),
    ("text after the call, no newline", f"{A}Done.", LABEL_A, "match", True),
    ("end-of-turn marker", f"{A}<|im_end|>\n", LABEL_A, "match", True),
    ("no newlines in the block", A.replace("\n", ""), LABEL_A, "match", False),
    ("spaces and tabs in the block", A.replace("\n", " \t "), LABEL_A, "match", False),
    ("windows newlines in the block", A.replace("\n", "\r\n"), LABEL_A, "match", False),
    ("JSON over several lines", '<tool_call>\n{\n "name": "f",\n "arguments": {\n  "x": "a"\n '
                                '}\n}\n</tool_call>',
     LABEL_A, "match", True),
    ("calls without a newline between", A + A.replace('"a"', '"b"'), LABEL_AB, "match", True),
    ("junk in the block", A.replace("}}", "}} please"), LABEL_A, "malformed", False),
    ("two objects in one block", A.replace("\n</", '\n{"name": "f", "arguments": {"x": "b"}}\n</'),
     LABEL_AB, "malformed", False),
    ("a list of calls in one block",
     '<tool_call>\n[{"name": "f", "arguments": {"x": "a"}}]\n</tool_call>', LABEL_A,
     "malformed", False),
    ("a good and a broken block", f"{A}\n<tool_call>\n{{broken\n</tool_call>", LABEL_A, "malformed",
     False),
    ("arguments as text", block('"{\\"x\\": \\"a\\"}"'), LABEL_A, "malformed", False),
    ("parameters for arguments", A.replace("arguments", "parameters"), LABEL_A, "malformed", False),
    ("a key beside name and arguments", A.replace("}}", '}, "id": "call_1"}'), LABEL_A, "malformed",
     False),
    ("python literals", "<tool_call>\n{'name': 'f', 'arguments': {'x': 'a'}}\n</tool_call>",
     LABEL_A, "malformed", False),
    ("trailing comma", block('{"x": "a",}'), LABEL_A, "malformed", False),
    ("code fence", f"```json\n{A}\n```", LABEL_A, "match", True),
    ("code fence in the block", '<tool_call>\n```json\n{"name": "f", "arguments": {"x": '
                                '"a"}}\n```\n</tool_call>',
     LABEL_A, "malformed", False),

    ("unclosed block", A.removesuffix("\n</tool_call>"), LABEL_A, "malformed", False),
    ("cut in the JSON", A[:30], LABEL_A, "malformed", False),
    ("good, then cut", f"{A}\n{B[:30]}", LABEL_A, "malformed", True),
    ("unclosed before a good one", f'{B.removesuffix("</tool_call>")}{A}', LABEL_AB, "malformed",
     False),
    ("closing tag alone", f"</tool_call>\n{A}", LABEL_A, "malformed", True),
    ("block in a block", f"<tool_call>\n{A}\n</tool_call>", LABEL_A, "malformed", False),
    ("tags in a value", block('{"x": "</tool_call><tool_call>"}'),
     calls({"x": "</tool_call><tool_call>"}), "match", True),
    ("a whole block in a value", block(json.dumps({"x": A})), calls({"x": A}), "match", True),
    ("think tags in a value", block('{"x": "<think></think>"}'), calls({"x": "<think></think>"}),
     "match", True),

    ("thinking first", f"<think>\nhm\n</think>\n\n{A}", LABEL_A, "match", True),
    ("empty thinking", f"<think></think>{A}", LABEL_A, "match", True),
    ("thinking opened in the prompt", f"hm\n</think>\n{A}", LABEL_A, "match", True),
    ("call only in thinking", f"<think>\n{A}\n</think>\nHere you are.", LABEL_A, "no_call", True),
    ("call quoted in thinking, then made", f"<think>\n{A}\n</think>\n{A}", LABEL_A, "match", False),
    ("another call quoted in thinking", f"<think>\n{B}\n</think>\n{A}", LABEL_A, "match", False),
    ("quoted, thinking opened in the prompt", f"I could say {B}\n</think>\n{A}", LABEL_A, "match",
     False),
    ("tag named in thinking", f"<think>\nuse <tool_call> now\n</think>\n{A}", LABEL_A, "match",
     True),
    ("tag named in thinking opened in the prompt", f"use <tool_call> now\n</think>\n{A}", LABEL_A,
     "match", True),
    ("broken block in thinking", f"<think>\n<tool_call>\n{{x\n</tool_call>\n</think>\n{A}", LABEL_A,
     "match", False),
    ("thinking twice", f"<think>a</think>\n<think>{B}</think>\n{A}", LABEL_A, "match", False),
    ("thinking between calls", f"{A}\n<think>and</think>\n{B}", LABEL_AB, "match", True),
    ("cut while thinking", f"<think>\nI should call\n{A}", LABEL_A, "malformed", True),

    ("text for text", "Which city?", [], "match", True),
    ("thinking and text for text", "<think>hm</think>\nWhich city?", [], "match", True),
    ("nothing for text", "", [], "empty", True),
    ("thinking alone for text", "<think>hm</think>", [], "empty", True),
    ("a dot for text", "...", [], "empty", True),
    ("spaces and a fence for text", " \u200b\n```\n```", [], "empty", True),
    ("a symbol for text", "\U0001f44d", [], "match", True),
    ("bare call for text", BARE, [], "untagged_call", True),
    ("bare call for a call", BARE, LABEL_A, "untagged_call", False),
    ("call taken back", f"{A}</think>", [], "malformed", False),
    ("call taken back before a text", f"{A}</think>\nWhich city?", [], "malformed", False),
    ("broken call taken back", "<tool_call>\n{</think>Which city?", [], "malformed", False),
    ("call taken back after thinking", f"<think>a</think>{B}</think>{A}", LABEL_A, "malformed",
     False),
    ("call taken back before another", f"maybe {B}</think>{A}", LABEL_A, "match", False),
    ("text taken back", f"hm</think>{A}", LABEL_A, "match", True),
    ("call and its result", f"{A}\n<tool_response>\n{{}}\n</tool_response>\nSunny.", LABEL_A,
     "invented_turn", True),
    ("result without a call", "<tool_response>\n{}\n</tool_response>\nSunny.", [], "invented_turn",
     True),
    ("call for text", A, [], "unexpected_call", False),
    ("call quoted in thinking for text", f"<think>{A}</think>Which city?", [], "match", False),
    ("broken block for text", "<tool_call>\n{broken\n</tool_call>", [], "malformed", False),
    ("tag named in the text for text", "I have no <tool_call> for that.", [], "malformed", False),
    ("closing tag alone for text", "Which city?</tool_call>", [], "malformed", False),
    ("cut while thinking for text", "<think>\nWhich", [], "malformed", True),
    ("text for a call", "It is sunny.", LABEL_A, "no_call", False),
    ("nothing for a call", "", LABEL_A, "no_call", False),
    ("thinking for a call", "<think>call f</think>", LABEL_A, "no_call", False),
]


@pytest.mark.parametrize("reply, label, strict, compat", [row[1:] for row in CONFORMANCE],
                         ids=[row[0] for row in CONFORMANCE])
def test_conformance(reply: str, label: list[Call], strict: str, compat: bool):
    read = parse_reply(reply)
    assert tool_match(read.message(), Message(role="assistant", calls=label), read.faults) == strict
    assert paper_compat_match(reply, render_calls(label)) is compat


LEAVES = st.sampled_from([0, 1, True, False, 1.0, 0.0, 2 ** 53, 2.0 ** 53, 2 ** 53 + 1, "1", "",
                          None, COMPOSED, DECOMPOSED])
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.sampled_from("ab"), inner),
                      max_leaves=6)
CALLS = st.lists(st.builds(Call, name=st.sampled_from("fg"),
                           arguments=st.dictionaries(st.sampled_from("xy"), VALUES)),
                 max_size=4)


def assistant(calls: list[Call]) -> Message:
    return Message(role="assistant", content="" if calls else "Which city?", calls=calls)


def canonical(value) -> str:
    """An independent notion of equality: one text for each JSON value."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{canonical(child)}"
                              for name, child in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def same_multiset(some: list[Call], others: list[Call]) -> bool:
    return sorted(call.name + canonical(call.arguments) for call in some) == sorted(
        call.name + canonical(call.arguments) for call in others)


@settings(deadline=None)
@given(CALLS, CALLS)
def test_match_is_multiset_equality_and_symmetric(some: list[Call], others: list[Call]):
    expected = same_multiset(some, others)
    assert (tool_match(assistant(some), assistant(others)) == "match") is expected
    assert (tool_match(assistant(others), assistant(some)) == "match") is expected


@settings(deadline=None)
@given(CALLS, st.randoms(use_true_random=False))
def test_match_is_reflexive_and_free_of_order(some: list[Call], rng: random.Random):
    others = copy.deepcopy(some)
    rng.shuffle(others)
    assert tool_match(assistant(some), assistant(others)) == "match"
    assert paper_compat_match(render_calls(some), render_calls(others))


def mutate(value, rng: random.Random):
    """A JSON value that differs from `value` in one place."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        name = rng.choice(sorted(value))
        if rng.random() < 0.3:
            return {key: child for key, child in value.items() if key != name}
        return {**value, name: mutate(value[name], rng)}
    if isinstance(value, list) and value and rng.random() < 0.8:
        index = rng.randrange(len(value))
        if rng.random() < 0.3:
            return [*value[:index], value[index], *value[index:]]
        return [*value[:index], mutate(value[index], rng), *value[index + 1:]]
    return rng.choice(
        [other for other in [0, 1, True, False, "1", "", None, [], {}, [0], {"a": 0}, 0.5, 2 ** 70]
         if canonical(other) != canonical(value)])


@settings(deadline=None)
@given(CALLS.filter(bool), st.randoms(use_true_random=False))
def test_one_mutation_never_matches(label: list[Call], rng: random.Random):
    index = rng.randrange(len(label))
    call = label[index]
    mutated = {name: mutate(value, rng) for name, value in call.arguments.items()} or {"x": 0}
    changed = rng.choice([
        [Call(name=call.name + "s", arguments=call.arguments)], [], [call, call],
        [Call(name=call.name, arguments={**call.arguments, "new": None})],
        [Call(name=call.name, arguments=mutated)]])
    prediction = [*label[:index], *changed, *label[index + 1:]]
    rng.shuffle(prediction)
    reply = parse_reply(render_calls(prediction) or "Which city?")
    assert tool_match(reply.message(), assistant(label), reply.faults) != "match"
    assert tool_match(assistant(label), reply.message()) != "match"


@settings(deadline=None)
@given(VALUES, VALUES)
def test_same_value_agrees_with_the_canonical_text(a, b):
    assert same_value(a, b) is (canonical(a) == canonical(b))


def test_many_equal_calls_in_reverse_take_no_time():
    label = [Call(name="f", arguments={"x": index}) for index in range(500)]
    start = time.process_time()
    assert tool_match(assistant(label[::-1]), assistant(label)) == "match"
    assert tool_match(assistant(label * 100), assistant(label)) == "extra_call"
    assert time.process_time() - start < 2


def test_values_nested_beyond_the_stack_are_no_exception():
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    message = assistant([Call(name="f", arguments={"x": deep})])
    assert tool_match(message, message) == "too_deep"
    text = ('<tool_call>\n{"name": "f", "arguments": {"x": ' + "[" * 100_000 + "]" * 100_000
            + "}}\n</tool_call>")
    # no JSON for the released code: the same text on both sides
    assert paper_compat_match(text, text)
    for levels in (300, 600, 900):  # JSON may be able to read it where the comparison is not
        text = block('{"x":' * levels + "1" + "}" * levels)
        assert not paper_compat_match(text, A)
        paper_compat_match(text, text)


def test_paper_compat_reads_the_last_turn_up_to_its_end():
    assert paper_compat_match(
        f"<|im_start|>assistant\n{B}<|im_end|>\n<|im_start|>assistant\n{A}<|im_end|>{B}",
        render_calls(LABEL_A))


def test_paper_compat_compares_equal_broken_bodies_as_text():
    broken = "<tool_call>\n{broken\n</tool_call>"
    assert paper_compat_match(f"so: {broken}", broken)
    assert not paper_compat_match("<tool_call>\n{other\n</tool_call>", broken)
    assert paper_compat_match("<tool_call></tool_call>", "<tool_call>no newline</tool_call>")
    assert not paper_compat_match("no tag", "<tool_call>no newline</tool_call>")
