"""Expansion of error seeds: scenarios, reading, both tiers of checks; a scripted generator, then
the simulated one."""
from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter

import pytest
from golden_files import check_golden
from hypothesis import given, settings
from hypothesis import strategies as st
from loop_world import Written, is_right, judged, loop_config, probed, says, task, weather, world
from scripted import call

from dataloop import error_data_expansion as script
from dataloop.expanding.generate import Family, candidate_faults, likeness, read_candidate, spoken
from dataloop.expanding.scenarios import (
    SCENARIOS, Scenario, draw_scenarios, read_scenarios, turns_of)
from dataloop.verifying.relabel import error_seed
from looptool.calling.sample_rules import sample_faults
from looptool.config import Expand, Simulation, Student
from looptool.errors import InputError
from looptool.ids import sample_id
from looptool.json_lines import encode_line, read_jsonl, write_jsonl
from looptool.models.completion import CallFailed
from looptool.prompts.render import render_conversation
from looptool.records import ErrorSeed, Message, Sample
from looptool.run_files import RoundFiles

SEED = error_seed(judged(probed(task("Rome"), says("", weather("Roma"))), "PRED_WRONG"), 1)
SCENARIO = Scenario("codes", "other data and formats", "Codes have to be taken over.")
ACCEPT, REFUSE = '{"analysis": "fine", "correct": true}', '{"analysis": "no", "correct": false}'


def user(text: str) -> Message:
    return Message(role="user", content=text)


def result(text: str = "{}") -> Message:
    return Message(role="tool", content=text)


def written(messages: list[Message], answer: Message) -> str:
    """A generator's reply."""
    return (
        f"Here it is.\n<conversation>\n{render_conversation(messages)}\n</conversation>\n<answer>\n"
        f"{render_conversation([answer])}\n</answer>\n")


OSLO = written([user("Oslo, please.")], says("", weather("Oslo")))


def expand(generator, checker=lambda draw: ACCEPT, count=1, index=0, check="c",
           fits=lambda sample: True):
    """The member `index` of a family, and the `ask` that wrote it; `generator` takes (scenario,
    draw)."""
    ask = Written(lambda role, blocks, draw: generator(blocks["scenario"], draw)
                  if role == "generator" else checker(draw))
    family = Family(SEED, [SCENARIO._replace(id=f"s{i}", text=f"{i}") for i in range(count)], 1,
                    Expand().near_copy)
    return asyncio.run(family.member(index, ask, "g", check, fits)), ask


# Scenarios


def test_the_shipped_scenarios_cover_the_four_kinds_and_lengths():
    scenarios = read_scenarios(SCENARIOS, 4)
    by_kind = Counter(scenario.kind for scenario in scenarios)
    assert all(by_kind[kind] >= 5 for kind in (
        "other complexity", "other persona", "other interaction style", "other data and formats",
        "other length"))
    assert len({scenario.kind for scenario in draw_scenarios(scenarios, 4, 0, SEED.sample)}) == 4


def test_a_seed_gets_different_scenarios_and_always_the_same():
    scenarios = read_scenarios(SCENARIOS, 4)
    suiting = [scenario for scenario in scenarios if scenario.suits(SEED.sample)]
    drawn = draw_scenarios(scenarios, len(suiting), 7, SEED.sample)
    assert len({scenario.id for scenario in drawn}) == len(suiting) < len(scenarios)
    assert drawn == draw_scenarios(scenarios, len(suiting), 7,
                                   SEED.sample) != draw_scenarios(scenarios, len(suiting), 8,
                                                                  SEED.sample)
    assert {draw_scenarios(scenarios, 1, 7, task(str(i)))[0].kind
            for i in range(40)} == {one.kind for one in scenarios}


def test_a_single_turn_may_become_several_and_back():
    scenarios = read_scenarios(SCENARIOS, 4)
    short, long = task("Rome"), task("Bern")
    long.messages += [says("Which day?"), user("Today.")]
    for seed, other in ((short, "several"), (long, "one")):
        drawn = draw_scenarios(scenarios, 20, 0, seed)
        lengths = {scenario.id: scenario.turns for scenario in drawn
                   if scenario.kind == "other length"}
        assert len(lengths) == 3 and other not in lengths.values()


@pytest.mark.parametrize("text, said", [
    ("a: {x: one}", "has 1 scenarios"), ("- a", "write it as"),
    ("a: {x: one}\nb: {x: two}", "'x' is there twice"), ("a: [", "cannot be read"),
    ("", "write it as"), ("a: {x: , y: two}", "a: x: write it as a text"),
    ("a: {x: [one], y: two}", "a: x:"), ("a: {x: {turns: many, text: one}, y: two}", "a: x:"),
    ("a: {x: ' ', y: two}", "a: x:"),
    ("a: {x: {turns: one, text: b}, y: two}", "has 1 scenarios for seeds of several turns"),
    ("a: \udcff", "cannot be read")])
def test_a_bad_file_of_scenarios_is_named(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(InputError, match=said) as error:
        read_scenarios(path, 2)
    assert str(path) in str(error.value)


# One new sample


def test_an_accepted_sample_has_the_seeds_tools_and_lineage():
    sample, ask = expand(lambda scenario, draw: OSLO)
    assert sample.tools == SEED.sample.tools and sample.date == SEED.sample.date
    assert (sample.origin, sample.round, sample.parent,
            sample.source) == ("expanded", 1, SEED.sample.id, "s0")
    assert sample.id == sample_id(sample.tools, sample.date, [user("Oslo, please.")],
                                  says("", weather("Oslo")))
    (blocks, draw, model), = ask.asked["generator"]
    assert model == "g" and json.loads(blocks["wrong"])["calls"][0]["arguments"] == {"city": "Roma"}
    assert blocks["analysis"] == "Wrong city.\nTake the city named."
    (blocks, draw, model), = ask.asked["checker"]
    assert (model == "c"
            and json.loads(blocks["answer"])["calls"][0]["arguments"] == {"city": "Oslo"})


@pytest.mark.parametrize("reply", [
    "", "Sorry.", OSLO[:-30], OSLO.replace("<answer>", ""), OSLO.replace('"user"', '"system"'),
    OSLO.replace('"Oslo, please."', '""'), OSLO.replace('{"role": "user"', '{"role": user'),
    written([], says("", weather("Oslo"))), written([user("Oslo?")], user("Oslo")),
    written([user("Oslo?")], says("")), OSLO.replace('{"city": "Oslo"}', '"Oslo"'),
    OSLO.replace('"Oslo, please."', '"Oslo, please.", "calls": [{"name": "get_weather", '
                                    '"arguments": {}}]'), "<answer><conversation></answer>"])
def test_what_cannot_be_read_is_asked_for_again_and_then_refused(reply):
    sample, ask = expand(lambda scenario, draw: reply if draw < 2 else OSLO)
    assert (isinstance(sample, Sample)
            and [draw for _, draw, _ in ask.asked["generator"]] == [0, 1, 2])
    assert expand(lambda scenario, draw: reply)[0] == "unreadable"


def test_results_may_be_json_and_fences_and_other_keys_do_not_matter():
    reply = ('<conversation>\n{"role": "user", "content": "Oslo, then wake me.", "name": '
             '"Ann"}\n\n{"role": "assistant", '
             '"calls": [{"name": "get_weather", "arguments": {"city": "Oslo"}}]}\n{"role": "tool", '
             '"content": {"t": 3}}\n'
             '</conversation>\n<answer>{"role": "assistant", "content": "At what time?"}</answer>')
    candidate = read_candidate(reply)
    assert candidate.messages[2] == result('{"t": 3}') and candidate.label == says("At what time?")
    assert candidate.messages[1].calls == [weather("Oslo")]


@pytest.mark.parametrize("messages, answer, reason", [
    ([user("Oslo?")], says("", weather("Oslo", days="3")), "wrong_type"),
    ([user("Oslo?")], says("", weather("Oslo", when="now")), "unknown_argument"),
    ([user("Oslo?")], says("", weather("Oslo")), None),
    ([user("Oslo?")], says("", call("get_wether")),
     "unknown_tool"),
    ([user("Oslo?"), says("Yes?")], says("", weather("Oslo")), "ends_with_assistant"),
    ([says("Hello"), user("Oslo?")], says("", weather("Oslo")), "not_user_first"),
    ([user("Oslo?"), result()], says("", weather("Oslo")), "stray_result"),
    ([user("Oslo?"), says("", weather("Oslo")), user("Well?")], says("Wait."), "missing_result"),
    ([user("Both?"), says("", weather("Oslo"), weather("Bern")), result()], says("Wait."),
     "missing_result"),
    ([user("Both?"), says("", weather("Oslo")), result(), result()], says("Fine."), "stray_result"),
    ([user("Both?"), says("", weather("Oslo"), weather("Bern")), result(), result()], says("Fine."),
     None),
    ([user("Oslo?"), says("", call("fly")), result()],
     says("Fine."), "unknown_tool_in_history"),
    ([user("How is THE weather, in Rome?!")], says("", weather("Rome")), "copy_of_seed"),
    ([user("How is the weather in Oslo?")], says("", weather("Oslo")), "copy_of_seed"),
    ([user("Hi, how is the weather in Oslo?")], says("", weather("Oslo")), "copy_of_seed"),
    ([user("Is the weather in Oslo fit for a walk?")], says("", weather("Oslo")), None)])
def test_the_rules_refuse_before_anybody_is_asked(messages, answer, reason):
    sample, ask = expand(lambda scenario, draw: written(messages, answer))
    if reason is None:
        assert isinstance(sample, Sample)
    else:
        assert sample == reason and not ask.asked["checker"] and len(ask.asked["generator"]) == 1


def test_of_siblings_that_say_the_same_the_first_one_stays_whoever_is_asked_first():
    def generator(scenario, draw):
        return OSLO if scenario != "1" else written([user("Bern, please.")],
                                                    says("", weather("Bern")))

    assert isinstance(expand(generator, count=3, index=0)[0], Sample)
    assert isinstance(expand(generator, count=3, index=1)[0], Sample)
    sample, ask = expand(generator, count=3, index=2)
    assert (sample == "copy_of_sibling" and not ask.asked["checker"]
            and len(ask.asked["generator"]) == 3)


def test_a_prompt_beyond_the_students_window_is_refused():
    assert expand(lambda *_: OSLO, fits=lambda sample: False)[0] == "too_long"


def test_the_checker_decides_and_its_silence_is_no_consent():
    assert expand(lambda *_: OSLO, checker=lambda draw: REFUSE)[0] == "refused_by_checker"
    sample, ask = expand(lambda *_: OSLO, checker=lambda draw: "I think so.")
    assert sample == "unchecked" and [draw for _, draw, _ in ask.asked["checker"]] == [0, 1, 2]
    assert isinstance(expand(lambda *_: OSLO, checker=lambda draw: "?" if draw < 2 else ACCEPT)[0],
                      Sample)
    sample, ask = expand(lambda *_: OSLO, check=None)
    assert isinstance(sample, Sample) and not ask.asked["checker"]


@pytest.mark.parametrize("reply",
                         ['{"correct": "true"}', '{"correct": 1}', '{"correct": null}', "{}",
                          "true"])
def test_only_a_plain_true_is_consent(reply):
    assert expand(lambda *_: OSLO, checker=lambda draw: reply)[0] == "unchecked"


@pytest.mark.parametrize("failing", ["generator", "checker"])
def test_a_call_without_answer_is_raised(failing):
    def reply(role, draw):
        return CallFailed("down") if role == failing else OSLO

    with pytest.raises(CallFailed):
        expand(lambda scenario, draw: reply("generator", draw),
               checker=lambda draw: reply("checker", draw))


@settings(max_examples=100, deadline=None)
@given(st.text() | st.builds("<conversation>\n{}\n</conversation><answer>{}</answer>".format,
                             st.text(), st.text())
       | st.lists(st.sampled_from(
           ["<conversation>", "</conversation>", "<answer>", "</answer>", "\n", '{"role":"user"',
            ',"content":"a"}', "[" * 3000])).map("".join))
def test_any_reply_is_read_without_an_exception(text):
    candidate = read_candidate(text)
    assert candidate is None or candidate.messages


def test_copies_are_compared_by_what_users_say():
    assert spoken([user("Hello, Zoë!"), says("hi"), user("42")]) == spoken(
        [user(" hello ZOË "), user("42.")])
    assert spoken([user("Rome")]) != spoken([user("Oslo")])
    assert likeness(spoken([user("明天罗马天气怎么样?")]),
                    spoken([user("明天巴黎天气怎么样")])) == 7 / 9
    assert (likeness("a b c d".split(), "a b x d".split()) == 0.75
            and likeness(["a"], ["a"]) == 1 > likeness(["a", "b"], ["b", "a"]))


# The script, with the simulated generator behind the real client


@pytest.fixture
def simulated(tmp_path, monkeypatch):
    """Runs the script over the seeds given, and returns the round's files."""
    def run(seeds, folder="run", expand=Expand(), fits=lambda sample: True, **rates) -> RoundFiles:
        files = RoundFiles(tmp_path / folder, 1)
        write_jsonl(files.error_seeds, seeds)
        config = loop_config(tmp_path / folder, expand=expand, simulation=Simulation(**rates))
        monkeypatch.setattr(script, "load_config", lambda *_: config)
        monkeypatch.setattr(script, "student_window", lambda config: fits)
        monkeypatch.setattr(sys, "argv", ["error_data_expansion.py", "--round", "1"])
        script.main()
        return files

    return run


def world_seeds(count: int) -> list[ErrorSeed]:
    wrong = [probe for probe in world(3 * count + 30, 0.0, 0.7) if not probe.matches]
    return [error_seed(judged(probe, "PRED_WRONG"), 1) for probe in wrong[:count]]


def test_expanded_samples_of_the_simulated_world_are_mostly_right_and_lead_back_to_their_seed(
        simulated, caplog):
    caplog.set_level("INFO")
    seeds = world_seeds(60)
    files = simulated(seeds)
    by_id = {seed.sample.id: seed.sample for seed in seeds}
    samples = list(read_jsonl(files.expanded, Sample))
    assert len(samples) > 160 and sum(is_right(sample, sample.label)
                                      for sample in samples) >= 0.95 * len(samples)
    for sample in samples:
        assert not sample_faults(sample) and not candidate_faults(sample)
        assert (sample.tools == by_id[sample.parent].tools
                and sample.messages != by_id[sample.parent].messages)
    assert {("one", "several"), ("several", "one")} < {
        (turns_of(by_id[sample.parent]), turns_of(sample)) for sample in samples}
    per_seed = Counter(sample.parent for sample in samples)
    assert max(per_seed.values()) == 4
    assert all(len({sample.source for sample in samples if sample.parent == id}) == n
               for id, n in per_seed.items())
    last = caplog.messages[-1]
    assert (last.startswith(f"expand: round 1: 60 seeds, 240 tries -> {len(samples)} accepted")
            and "by_checker" in last)


def test_two_runs_write_the_same_bytes(simulated):
    first = simulated(world_seeds(6), "a", malformed=0.3).expanded.read_bytes()
    assert first == simulated(world_seeds(6), "b", malformed=0.3).expanded.read_bytes() != b""


def test_a_generator_that_cannot_be_read_leaves_nothing(simulated, caplog):
    caplog.set_level("INFO")
    assert simulated(world_seeds(4), malformed=1.0).expanded.read_bytes() == b""
    assert "16 generator_cut" in caplog.messages[-1]


def test_the_second_tier_can_be_left_out_and_the_number_of_tries_set(simulated):
    seeds = world_seeds(8)
    samples = list(read_jsonl(simulated(seeds, expand=Expand(per_seed=2, check=False),
                                        generator_error=1.0).expanded, Sample))
    assert 0 < len(samples) <= 16 and not all(is_right(sample, sample.label) for sample in samples)


@pytest.mark.parametrize("changed", [{"instructions": "full"}, {"max_prompt_tokens": 99},
                                     {"max_user_turns": 3}, {"model": "o"}])
def test_one_file_is_of_one_window(tmp_path, changed):
    files = RoundFiles(tmp_path, 1)
    write_jsonl(files.error_seeds, world_seeds(1))
    student = {"model": "none", "instructions": "short", "max_prompt_tokens": 4096}

    def expand(**more):
        config = loop_config(tmp_path, student=Student(**student | more))
        asyncio.run(script.expand_seeds(config, files.error_seeds, SCENARIOS, files.expanded, 1,
                                        lambda sample: True))

    expand()
    with pytest.raises(InputError, match=f"settings.{next(iter(changed))}: "):
        expand(**changed)


def test_the_students_tokenizer_is_a_source(tmp_path):
    (tmp_path / "tokenizer.json").touch()
    config = loop_config(tmp_path, student=Student(model=str(tmp_path)))
    assert (script.tokenizer_files(config) == [tmp_path / "tokenizer.json"]
            and not script.tokenizer_files(loop_config(tmp_path)))


def test_no_seed_no_sample(simulated):
    assert simulated([]).expanded.read_bytes() == b""


def test_format(tmp_path):
    sample, _ = expand(lambda scenario, draw: written(
        [user("Wake me at 7."), says("", call("setAlarm", time="07:00")),
         result('{"ok": true}'), user("And Zürich?")], says("", weather("Zürich", days=2))))
    (tmp_path / "expanded.jsonl").write_bytes(encode_line(sample))
    check_golden(tmp_path / "expanded.jsonl", "loop/expanded.jsonl")
