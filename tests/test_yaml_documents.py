"""YAML 1.2: what is text, what is a number, and what is no JSON value."""
from __future__ import annotations

import pytest

from looptool.yaml_documents import read_yaml


@pytest.mark.parametrize("written, value", [
    ("NO", "NO"), ("on", "on"), ("off", "off"), ("yes", "yes"), ("y", "y"), ("12:30", "12:30"),
    ("=", "="), ("2024-05-01", "2024-05-01"), ("2024-05-01T10:00:00Z", "2024-05-01T10:00:00Z"),
    ("1_000", "1_000"), ("0b11", "0b11"), ("1.0.0", "1.0.0"), ("014", 14), ("0o14", 12),
    ("0x1F", 31), ("+1", 1), ("3.1", 3.1), ("1e-6", 1e-6), (".5", 0.5), ("5.", 5.0), ("true", True),
    ("False", False), ("~", None), ("null", None), ("", None), ("'true'", "true"), ("!!str 3", "3"),
    ("!!int '3'", 3)])
def test_scalars_of_the_core_schema(written: str, value: object):
    found = read_yaml(f"a: {written}\n")
    assert found == {"a": value} and type(found["a"]) is type(value)
    if written:
        assert read_yaml(f"[{written}]") == [value]


@pytest.mark.parametrize("key, name", [
    ("on", "on"), ("NO", "NO"), ("200", "200"), ("1.10", "1.10"), ("true", "true"), ("~", "~"),
    ("12:30", "12:30"), ("2024-05-01", "2024-05-01"), ("'a b'", "a b"), ("=", "=")])
def test_a_key_is_the_text_that_is_written(key: str, name: str):
    assert read_yaml(f"{key}: 1") == {name: 1}


def test_anchors_and_merge_keys():
    assert read_yaml("b: &x {on: 1, q: 2}\na: {<<: *x, q: 3}\nc: *x") == {
        "b": {"on": 1, "q": 2}, "a": {"on": 1, "q": 3}, "c": {"on": 1, "q": 2}}


def test_a_key_that_is_there_twice_is_said_without_advice_for_programs():
    with pytest.raises(ValueError) as error:
        read_yaml("a: 1\na: 2")
    assert "suppress" not in str(error.value)


@pytest.mark.parametrize("content, reason", [
    ("a: 1\na: 2", 'duplicate key "a"'), ("2: x\n'2': y", "duplicate key"),
    ("a: 1\n---\nb: 2", "another document"), ("a: [", "flow node"), ("a: &x\n  b: *x", "Circular"),
    ("a: .nan", "not JSON"), ("a: -.inf", "not JSON"), ('a: "\\ud800"', "surrogates"),
    ("a: !!bool x", "x"),
    ("a: !!python/object:os.system {}", "python"), ("a: !x 1", "!x"),
    ("? [1]\n: 2", "keys must be"), ("a: !!binary aGk=", "binary"), (b"a: \xff", "x00ff"),
    ("a: " + "[" * 5000 + "]" * 5000, "nested")])
def test_what_json_cannot_hold(content: str | bytes, reason: str):
    with pytest.raises(ValueError, match=f"^not YAML.*{reason}"):
        read_yaml(content)
