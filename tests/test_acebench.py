"""ACEBench's adapters without a checkout: brackets, replies, prompts, containment, figures, the
checkout's check."""
from __future__ import annotations

import ast
from pathlib import Path

import pytest
from acebench_world import PLAN, make_benchmark
from hypothesis import given, settings
from hypothesis import strategies as st

from bfcl.acebench import checkout as checkout_module
from bfcl.acebench.answers import make_answer, read_reply
from bfcl.acebench.brackets import read_brackets, write_brackets
from bfcl.acebench.checkout import AGENT, NORMAL, SPECIAL, Row, open_checkout
from bfcl.acebench.containment import arithmetic, method_caller
from bfcl.acebench.figures import COLUMNS, PAPER, category_table, difference, figures, table
from bfcl.acebench.measuring import HANDLER
from bfcl.acebench.prompting import (
    PROMPTS, kind_of, prompt_id, read_conversation, read_date, read_tools, render_task)
from bfcl.acebench.scorer_process import KEEPS, STRIPS, corrected
from bfcl.official.scores import Tally
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.models.completion import Reply
from looptool.records import Call, Message

STUDENT = str(ROOT / "grpotool" / "tiny_student" / "checkpoint")


def call(name: str = "f", **arguments) -> Call:
    return Call(name=name, arguments=arguments)


# Brackets

@pytest.mark.parametrize("calls, text", [
    ([call("f")], "[f()]"),
    ([call("a.b_c", x=1, y=-2.5)], "[a.b_c(x=1, y=-2.5)]"),
    ([call(s="it's"), call("g", s='say "hi"')], "[f(s=\"it's\"), g(s='say \"hi\"')]"),
    ([call(s="both ' and \"")], "[f(s='both \\' and \"')]"),
    ([call(v={"a": [True, None, {"b c": "d"}]})], "[f(v={'a': [True, None, {'b c': 'd'}]})]"),
    ([call(s="two\nlines\tand  spaces")], "[f(s='two\\nlines\\tand  spaces')]"),
    ([call("查询", 城市="北京")], "[查询(城市='北京')]")])
def test_calls_are_written_as_the_benchmark_reads_them(calls, text):
    assert write_brackets(calls) == text and read_brackets(text) == calls


@pytest.mark.parametrize("wrong", [
    Call(name="5G_Finder", arguments={}), Call(name="a b", arguments={}),
    Call(name="f-g", arguments={}), Call(name="f", arguments={"from": "Rome"}),
    Call(name="f", arguments={"a b": 1}), Call(name="f", arguments={"": 1}),
    Call(name="f", arguments={"x=1, y": 2}), Call(name="f()]+[g", arguments={}),
    Call(name="ﬁnd", arguments={}), Call(name="f", arguments={"n": 10 ** 5000})])
def test_what_brackets_cannot_express_is_not_written(wrong):
    assert write_brackets([wrong]) is None and write_brackets([call(), wrong]) is None


VALUES = st.recursive(st.none() | st.booleans() | st.integers()
                      | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
                      lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.text(), inner, max_size=3), max_leaves=8)


@given(
    st.lists(st.builds(Call, name=st.from_regex(r"[a-z_]\w{0,6}(\.[a-z]\w{0,3})?", fullmatch=True)
                       | st.text(), arguments=st.dictionaries(
                           st.from_regex(r"[a-z]\w{0,6}", fullmatch=True) | st.text(), VALUES,
                           max_size=3)),
             min_size=1, max_size=3))
@settings(max_examples=200, deadline=None)
def test_what_is_written_reads_back_as_the_same_calls(calls):
    text = write_brackets(calls)
    assert text is None or read_brackets(text) == calls


@pytest.mark.parametrize("text", [
    "", "Hello", "[]", "[f]", "[f(1)]", "[f(**{'a': 1})]", "[f(x=g(y=1))]", "[f(x=1+1)]",
    "[f(x=__import__)]", "[f(x={1: 2})]", "[f(x=1)", "f(x=1)", "[f().g()]", "[f(x={**y})]",
    "[" * 500, "[f(x='a' 'b'), 3]", "[f(x=lambda: 1)]", "[f(x=(yield))]"])
def test_other_text_is_no_call(text):
    assert read_brackets(text) is None


def test_history_is_read_with_its_json_words():
    calls = read_brackets('[f(a=true, b=[false, null], c={"d": "e"}, g=-1)]')
    assert calls == [call(a=True, b=[False, None], c={"d": "e"}, g=-1)]


# Replies

CALL = '<tool_call>\n{"name": "plan", "arguments": {"cities": ["New York"]}}\n</tool_call>'


@pytest.mark.parametrize("reply, kind, result", [
    (Reply(text=CALL), "calls", "[plan(cities=['New York'])]"),
    (Reply(text=f"<think>No: {CALL}</think>\n\nSure.\n{CALL}\n"), "calls", "[plan(cities=['New "
                                                                           "York'])]"),
    (Reply(text="<think>so</think>Which city?"), "text", "Which city?"),
    (Reply(text=CALL.splitlines()[1]), "untagged_call", CALL.splitlines()[1]),
    (Reply(text="<tool_call>{oops}</tool_call>"), "unreadable", "<tool_call>{oops}</tool_call>"),
    (Reply(text=f"{CALL}<tool_call>"), "unreadable", f"{CALL}<tool_call>"),
    (Reply(text=CALL, finish="length"), "cut", CALL),
    (Reply(text=CALL.replace("plan", "5G")), "inexpressible", CALL.replace("plan", "5G"))])
def test_replies_become_what_the_scorer_reads(reply, kind, result):
    answer = make_answer("normal_atom_bool_0", reply)
    assert (answer.kind, answer.result, answer.reply) == (kind, result, reply.text)


def test_text_beside_calls_counts_in_special_tasks_only():
    reply = Reply(text=f"There is incorrect value (x)\n{CALL}")
    assert make_answer("special_error_param_0",
                       reply).result == "There is incorrect value (x)\n[plan(cities=['New York'])]"
    assert make_answer("normal_preference_0", reply).result == "[plan(cities=['New York'])]"


def test_an_unreadable_turn_stays_in_the_history_as_it_was():
    assert read_reply(Reply(text="<tool_call>{oops}</tool_call>")).message == Message(
        role="assistant", content="<tool_call>{oops}</tool_call>")


# Prompts

def task(id: str = "normal_atom_bool_0", **fields) -> Row:
    return Row(**{"id": id, "question": "user: Plan Rome.\n", "function": [PLAN], **fields})


def test_a_conversation_is_a_chat_with_its_calls():
    question = ("user: Plan Rome:\n- two days\n- no museums\nsystem: Which days?\nuser: All.\n"
                "system: [plan(cities=[\"Rome\"], days=2)]\nsystem: Done.\nuser: Thanks. The "
                "system: is good.\n")
    assert read_conversation(question) == [
        Message(role="user", content="Plan Rome:\n- two days\n- no museums"),
        Message(role="assistant", content="Which days?"), Message(role="user", content="All."),
        Message(role="assistant", calls=[call("plan", cities=["Rome"], days=2)]),
        Message(role="assistant", content="Done."),
        Message(role="user", content="Thanks. The system: is good.")]


def test_a_text_without_turns_is_the_users():
    assert read_conversation("Just do it.\nuser: no") == [
        Message(role="user", content="Just do it.\nuser: no")]


@pytest.mark.parametrize("time, date", [
    ("Today is 2025-03-20, Thursday.", "2025-03-20, Thursday"),
    ("The current time is June 13, 2024, Thursday。", "June 13, 2024, Thursday"),
    ("今天是2020年05月01日，星期五。", "2020年05月01日，星期五"),
    ("", "unknown"), ("Monday", "Monday")])
def test_dates_lose_their_sentence(time, date):
    assert read_date(time) == date


@pytest.mark.parametrize("id, kind", [
    ("normal_atom_object_deep_3", "normal"), ("normal_multi_turn_user_switch_0_1", "normal"),
    ("normal_preference_1", "preference"),
    ("special_error_param_2", "special"), ("agent_multi_step_0", "multi_step"),
    ("agent_multi_turn_0", "multi_turn")])
def test_each_category_has_its_prompt(id, kind):
    assert kind_of(task(id)) == kind and (PROMPTS / "zh" / f"{kind}.md").exists()


def test_functions_become_json_schema_wherever_they_keep_their_parameters():
    short = {"type": "object", "properties": {"n": {"type": "int"}}, "required": ["n"]}
    one, two, three = read_tools(task(function=[
        PLAN,
        {"name": "a.b", "description": "d", "arguments": short, "results": {"type": "object"},
         "tags": []},
        {"name": "odd", "description": "d",
         "parameters": {"type": "object", "properties": {}, "required": ["ghost"]}}]))
    assert (one.parameters["properties"]["cities"]["type"] == "array"
            and one.parameters["type"] == "object")
    assert two.parameters == {"type": "object", "properties": {"n": {"type": "integer"}},
                              "required": ["n"]}
    assert three.parameters == {"type": "object", "properties": {}, "required": ["ghost"]}


@pytest.mark.parametrize("language", ["en", "zh"])
def test_special_tasks_are_told_the_sentences_that_are_scored(language):
    system = render_task(task("special_error_param_0"), language, [], "full")[0]["content"]
    for sentence in ("Missing necessary parameters", "There is incorrect value",
                     "the limitations of the function"):
        assert sentence in system
        for kind in ("normal_atom_bool_0", "agent_multi_step_0"):
            assert sentence not in render_task(task(kind), language, [], "full")[0]["content"]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_kind_has_its_values_and_no_open_place(language):
    for id in ("normal_atom_bool_0", "normal_preference_0", "special_incomplete_0",
               "agent_multi_step_0", "agent_multi_turn_0"):
        chat = render_task(task(id, profile={"diet": "{{rules}} <|im_end|>"}), language,
                           [Message(role="user", content="hi")], "short", "Rule one. {{profile}}")
        system = chat[0]["content"]
        assert (("Rule one. {{profile}}" in system) == id.startswith("agent_multi_turn")
                and "<|im_end|>" not in system)
        assert ('{"diet": "{{rules}}' in system) == id.startswith("normal_preference")
        assert ("finish conversation" in system) == id.startswith("agent_multi_step")
        assert chat[1:] == [{"role": "user", "content": "hi"}]


def test_the_prompts_hash_changes_with_what_is_shown():
    hashes = {prompt_id(language, form) for language in ("en", "zh") for form in ("full", "short")}
    assert len(hashes) == 4 and prompt_id("en", "full") in hashes


def test_a_model_trained_with_another_system_text_gets_it_from_a_file(tmp_path):
    other = tmp_path / "other.md"
    other.write_text("On {{date}} you have\n{{tools}}\n")
    system = render_task(task(time="Today is Monday."), "en", [], str(other))[0]["content"]
    assert (system.startswith('On Monday you have\n{"name": "plan"')
            and "reply to the user's last message" in system)
    assert prompt_id("en", str(other)).startswith("other.md ")
    (tmp_path / "none.md").write_text("no place")
    for file, reason in (("none.md", "has no {{tools}}"),
                         ("absent.md", "No such file.*a file with {{tools}}")):
        with pytest.raises(InputError, match=reason):
            render_task(task(), "en", [], str(tmp_path / file))


# The handler's hash

AROUND = {"bfcl.acebench.evaluate", "bfcl.acebench.figures", "bfcl.acebench.measuring"}
"""What calls the handler, and what averages its scores."""
CARRIES = {"bfcl.card", "bfcl.serving.fetch", "looptool.config", "looptool.config_file",
           "looptool.errors", "looptool.ids", "looptool.json_lines", "looptool.models.answer_cache",
           "looptool.models.endpoint", "looptool.models.structured_outputs", "looptool.records",
           "looptool.stages.llm_stage", "looptool.stages.workers"}
"""Modules that the handler's import to hold, send, hash or store what they make; no schema is
sent."""


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def test_whatever_makes_an_answer_or_a_score_is_in_the_handlers_hash():
    code = [path for path in HANDLER if path.suffix == ".py"]
    hashed = {module_name(path) for path in code}
    imports = [node for path in code for node in ast.walk(ast.parse(path.read_text()))
               if isinstance(node, ast.ImportFrom)]
    names = {name for node in imports
             for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))}
    assert {name for name in names
            if (ROOT / f"{name.replace('.', '/')}.py").is_file()} - hashed == CARRIES
    assert {module_name(path)
            for path in (ROOT / "bfcl" / "acebench").glob("*.py")} - hashed == AROUND


# Containment

@pytest.mark.parametrize("text, value",
                         [("1+2", 3), ("60*60*24", 86400), ("-(1/4)", -0.25), ("2.5-1", 1.5)])
def test_sums_of_numbers_are_computed(text, value):
    assert arithmetic(text) == value


@pytest.mark.parametrize("text", [
    "__import__('os').getpid()", "9**9**9", "'a'*9", "[1]*9", "1 if True else 2", "a+1", "True+1",
    "1<<9", "1j*1", "(lambda: 1)()"])
def test_nothing_else_is(text):
    with pytest.raises((ValueError, TypeError)):
        arithmetic(text)


class Phone:
    def __init__(self):
        self.said = []

    def say(self, text, loud=False):
        self.said.append((text, loud))
        return len(self.said)

    def _secret(self):
        self.said.append("secret")


def test_a_method_is_called_with_literals():
    phone = Phone()
    assert method_caller({"phone": phone})("phone.say(text='a', loud=True)") == 1
    assert method_caller({"phone": phone})("phone.say('b')") == 2
    assert phone.said == [("a", True), ("b", False)]


@pytest.mark.parametrize("text", [
    "phone._secret()", "phone.__class__()", "phone.say.__self__()",
    "phone.say(text=open('/etc/passwd'))", "open('x')", "phone.say(text=phone)",
    "phone.say(**{'text': 'a'})", "phone.say", "phone.said.append(1)", "other.say(text='a')",
    "phone.say(text='a') or 1", "phone.say(text=1+1j.real)"])
def test_nothing_but_a_method_of_the_environment_is_called(text):
    phone = Phone()
    with pytest.raises((ValueError, KeyError, AttributeError, SyntaxError)):
        method_caller({"phone": phone})(text)
    assert phone.said == []


def test_the_correction_is_one_statement():
    source = f"a = 1\n    {STRIPS}\nb = 2\n"
    assert corrected(source) == f"a = 1\n    {KEEPS}\nb = 2\n"
    with pytest.raises(SystemExit, match="nothing to correct"):
        corrected("a = 1\n")


# Figures

def tallies(normal: float, special: float, agent: float) -> dict[str, Tally]:
    return {category: Tally(round(rate * 100), 100)
            for group, rate in ((NORMAL, normal), (SPECIAL, special), (AGENT, agent))
            for category in group}


@pytest.mark.parametrize("name", PAPER)
def test_the_formula_gives_the_papers_overall(name):
    summary, special, agent, overall = PAPER[name][5:]
    found = figures({category: Tally(round(rate * 10), 1000) for group, rate in (
        (NORMAL, summary), (SPECIAL, special), (AGENT, agent)) for category in group})
    assert found["overall"][0] == pytest.approx(overall, abs=0.06)
    # the paper's own columns: its summary is the mean of twelve categories, of which it shows means
    # of groups
    atom, single, multi, similar, preference = PAPER[name][:5]
    assert (6 * atom + 2 * single + 2 * multi + similar
            + preference) / 12 == pytest.approx(summary, abs=0.2)


def test_a_figure_without_all_its_categories_is_left_out():
    some = tallies(0.5, 1.0, 0.0)
    del some["agent_multi_turn"]
    assert figures(some).keys() == COLUMNS.keys() - {"agent", "overall"}


def test_intervals_shrink_with_counts_and_add_up_in_a_difference():
    few, many = (figures({"normal_preference": Tally(5, 10)}),
                 figures({"normal_preference": Tally(500, 1000)}))
    assert few["preference"][1] > 25 and many["preference"][1] == pytest.approx(3.1, abs=0.05)
    both = difference(many, figures({"normal_preference": Tally(600, 1000)}))["preference"]
    assert both[0] == pytest.approx(10) and both[1] == pytest.approx(4.35, abs=0.05)


def test_the_table_shows_both_ways_and_the_paper_beside_the_whole_only():
    ways = {"official": tallies(0.8, 0.7, 0.6), "corrected": tallies(0.9, 0.7, 0.6)}
    text = table({"round 1": ways}, paper=True, draws={})
    assert "paper: LoopTool-8B" in text and "difference" not in text
    assert [line.split()[0:3] for line in text.splitlines()[1:3]] == [["round", "1,", "official"],
                                                                      ["round", "1,", "corrected"]]
    base = {way: tallies(0.5, 0.7, 0.6) for way in ways}
    text = table({"base": base, "round 1": ways}, paper=False, draws={})
    assert ("paper" not in text and "+30.0" in text.splitlines()[5]
            and "+40.0" in text.splitlines()[6])
    assert "80 of 100, 80.0%" in category_table(ways)


# The checkout

def test_a_folder_without_the_benchmark_is_refused_with_the_command(tmp_path):
    with pytest.raises(InputError, match=f"git clone {checkout_module.REPOSITORY} .* checkout "
                                         f"{checkout_module.COMMIT}"):
        open_checkout(tmp_path)


def test_another_commit_is_refused_and_taken_only_by_a_flag(tmp_path):
    folder = make_benchmark(tmp_path)
    with pytest.raises(InputError, match="not those of commit 9f340f9 .*--any-commit"):
        open_checkout(folder)
    assert "NOT the pinned 9f340f9" in open_checkout(folder, any_commit=True).commit


def test_the_pinned_content_is_taken_and_an_edited_one_is_not(tmp_path, monkeypatch):
    folder = make_benchmark(tmp_path)
    monkeypatch.setattr(checkout_module, "CONTENT", open_checkout(folder, any_commit=True).content)
    assert open_checkout(folder).commit == checkout_module.COMMIT
    path = folder / "data_all" / "data_en" / "possible_answer" / "data_agent_multi_step.json"
    path.write_bytes(path.read_bytes().replace(b"hi", b"ho"))
    with pytest.raises(InputError, match="was edited"):
        open_checkout(folder)


def test_rows_that_are_none_are_named(tmp_path):
    folder = make_benchmark(tmp_path)
    (folder / "data_all" / "data_en" / "data_special_incomplete.json").write_text('{"id": 5}\n')
    with pytest.raises(InputError, match="data_special_incomplete.json"):
        open_checkout(folder, any_commit=True).rows("en", "special_incomplete")
