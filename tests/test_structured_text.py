"""Objects in what a model wrote: found wherever they stand, and never guessed."""
from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from looptool.calling.json_in_text import MAX_BROKEN, read_object, read_objects, read_only_objects


class Answer(msgspec.Struct):
    """What is asked for."""

    better: str
    note: str = ""


ONE = '{"better": "1"}'


@pytest.mark.parametrize("text", [
    ONE, f"  {ONE}\n", f"```json\n{ONE}\n```", f"So:\n```\n{ONE}\n```\nThat is all.", f"{{{ONE}}}",
    f"{{ {ONE} }}", f"[{ONE}]",
    f'Candidate 1 calls get_weather with {{"city": "Rome"}}.\n\n{ONE}',
    f"It calls {{city: Rome}} rightly. {ONE}",
    f'<tool_call>\n{{"name": "f", "arguments": {{"better": 2}}}}\n</tool_call>\n{ONE}',
    f"{ONE} with {{braces}} behind",
    f'It wrote {{"city": Rome}}. {ONE}', f'It wrote {{"city": {{"better": "2"}}, x}}. {ONE}',
    f'It wrote {{"city": "Ro. {ONE}',
    f'First {{"better": "2"}}; no, {ONE}', f'{{"verdict": {ONE}}}',
    f'{{"votes": [{{"better": "2"}}, {ONE}]}}',
    f'{ONE}\n{{"city": "Rome"}}', f"{ONE} {{", f"{ONE} }} {{}}"])
def test_an_object_is_read_wherever_it_stands(text: str):
    assert read_object(text, Answer) == Answer("1")


@pytest.mark.parametrize("text, note", [
    ('{"better": "1", "note": "a\nb\tc"}', "a\nb\tc"),
    ('{"better": "1", "note": "{\\"better\\": \\"2\\"}"}', '{"better": "2"}'),
    ('{"better": "1", "note": "a } b { c"}', "a } b { c"),
    ('{"note": "\\u00fc {", "better": "1"}', "ü {")])
def test_strings_hold_what_they_like(text: str, note: str):
    assert read_object(text, Answer) == Answer("1", note)


@pytest.mark.parametrize("text", [
    f'{{"name": "vote", "arguments": {ONE}}}',
    f'{{"function": {{"name": "vote", "arguments": {ONE}}}}}',
    "", "{", "{}", "1", '"better"', '{"better": 1}', '{"better": "1"',
    '{"better": "1", "note": "say "hi""}', "{'better': '1'}",
    '{"better": "1",}', '{"better": "1", "note": NaN}', '{"better": "\\ud800"}',
    '{"better": "\ud800"}',
    '{"note": {"better": "1"}, oops}', '{"a":' * 5_000 + "1" + "}" * 5_000])
def test_what_is_no_whole_object_of_the_type_is_none(text: str):
    assert read_object(text, Answer) is None


def test_objects_stand_in_their_order_and_the_outer_one_counts():
    assert read_objects(f'[{ONE}, {{"better": "2", "note": "n"}}] {{"x": 1}}',
                        Answer) == [Answer("1"), Answer("2", "n")]
    assert read_objects('{"a": {"b": 1}} {"c": 2}', dict[str, Any]) == [{"a": {"b": 1}}, {"c": 2}]


@pytest.mark.parametrize("text, count", [
    (f"{ONE}\n{ONE}", 2), (f"[{ONE}, {ONE}]", 2), (f"```json\n{ONE}\n\n{ONE}\n```\n", 2),
    (ONE.replace(" ", "\n"), 1),
    ("", None), (f"Here: {ONE}", None), (f"{ONE}\n{{}}", None), (f"{ONE}\n{ONE[:-1]}", None),
    (f"{ONE}\n...", None)])
def test_a_text_of_objects_holds_nothing_else(text: str, count: int | None):
    read = read_only_objects(text, Answer)
    assert read == (None if count is None else [Answer("1")] * count)


@settings(max_examples=100, deadline=None)
@given(st.text(), st.text(st.characters(exclude_characters="{}")), st.text())
def test_an_object_behind_any_text_is_read(before: str, after: str, note: str):
    text = json.dumps({"better": "1", "note": note})
    if before.count('{') < MAX_BROKEN and not before.rpartition("{")[2].strip().startswith('"'):
        assert read_object(f"{before}\n{text}\n{after}", Answer) == Answer("1", note)


@pytest.mark.parametrize("piece", ['{"a', '{"a":', "{", '{"a":[', '{"', "{ ", "}{", '{"a":1,',
                                   '{"a":"', f"{ONE},", '[{"a":',
                                   '{"a":{"b":1},'])
def test_time_is_linear(piece: str):
    begun = time.process_time()
    read_object(piece * (100_000 // len(piece)), Answer)
    assert time.process_time() - begun < 2  # a tenth of a second when nothing else runs
