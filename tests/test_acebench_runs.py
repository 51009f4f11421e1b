"""Whole evaluations of a benchmark of our own, by the command, behind a server: scores, errors,
resume, episodes."""
from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from acebench_world import make_benchmark
from fake_vllm import fake_vllm
from local_server import LocalServer, completion
from programs import until

from bfcl.acebench.answers import Answer
from bfcl.card import read_card
from bfcl.serving.ask import drawing
from looptool.config_file import ROOT
from looptool.json_lines import read_jsonl

pytestmark = pytest.mark.slow
STUDENT = str(ROOT / "grpotool" / "tiny_student" / "checkpoint")
ENVIRONMENT = os.environ | {"CI": "1", "PYTHONPATH": str(ROOT), "OPENAI_API_KEY": "secret"}
CATEGORIES = ["normal_atom_list", "normal_multi_turn_user_switch", "special_incomplete",
              "agent_multi_step", "agent_multi_turn"]


def call(name: str, **arguments: Any) -> str:
    return f'<tool_call>\n{json.dumps({"name": name, "arguments": arguments})}\n</tool_call>'


def model(payload: dict[str, Any]) -> dict[str, Any]:
    """Right but for Ghent, for turn 1.1 and for one special task; sends hi when the wifi is on."""
    chat = payload["messages"]
    last = chat[-1]["content"]
    if payload["model"] == "user":
        return completion("Send hi." if len(chat) == 1 else "finish conversation")
    if last.startswith("Plan something"):
        return completion("Missing necessary parameters (cities) for the api (plan)" if "0" in last
                          else "Sure!")
    if last.startswith("Plan"):
        city = last.removeprefix("Plan ").removesuffix(".")
        return completion(call("plan", cities=[{"Ghent": "Gent", "1.1": "1.0"}.get(city, city)]))
    steps = [call("send", text="hi"), call("turn_on_wifi"), call("send", text="hi"),
             "finish conversation"]
    return completion(steps[sum(message["role"] == "assistant" for message in chat)])


def saying(reply: str | None = None, steps: list[str] | None = None) -> LocalServer:
    """A server whose policy says one thing, or in an agent task one step after the other."""
    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        if payload["model"] == "user" or not steps:
            return (model(payload) if reply is None or payload["model"] == "user"
                    else completion(reply))
        return completion(
            steps[sum(message["role"] == "assistant" for message in payload["messages"])])

    return LocalServer(answer)


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> Path:
    return make_benchmark(tmp_path_factory.mktemp("acebench"))


def command(benchmark: Path, out: Path, url: str, *flags: str, only: str = "") -> list[str]:
    return [sys.executable, str(ROOT / "bfcl" / "acebench" / "evaluate.py"), "--acebench",
            str(benchmark), "--any-commit", "--model", STUDENT, "--endpoint", url, "--user-model",
            "user", "--user-endpoint", url, "--out", str(out), "--served-name", "m", "--categories",
            *([only] if only else CATEGORIES), *flags]


def evaluate(benchmark: Path, out: Path, url: str, *flags: str,
             only: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(benchmark, out, url, *flags, only=only), capture_output=True,
                          text=True, env=ENVIRONMENT)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def run(benchmark, tmp_path_factory):
    """One whole run: its folder, what it printed, what was asked."""
    out = tmp_path_factory.mktemp("run") / "out"
    before = tree(benchmark)
    with LocalServer(model) as server:
        done = evaluate(benchmark, out, server.url)
        assert done.returncode == 0, done.stderr
        again = evaluate(benchmark, out, server.url)
        assert again.stdout == done.stdout and server.count == len(server.payloads)
    assert tree(benchmark) == before, "something was written into the checkout"
    return out, done.stdout, server.payloads


def answers(out: Path) -> dict[str, Answer]:
    return {answer.id: answer for file in out.glob("*_answers.jsonl")
            for answer in read_jsonl(file, Answer)}


def test_both_ways_of_scoring_and_why_they_differ(run):
    out, printed, _ = run
    official, corrected = read_card(out), read_card(out / "corrected")
    assert official.correct[
        "normal_atom_list"] == 2, "whitespace is taken out of New York, and Ghent is wrong"
    assert corrected.correct["normal_atom_list"] == 3
    for card in (official, corrected):
        assert (card.card.counts["normal_multi_turn_user_switch"] == 2
                and card.card.counts["normal_atom_list"] == 4)
        assert card.correct[
            "normal_multi_turn_user_switch"] == 1, "a conversation is right as a whole"
        assert {card.correct[name]
                for name in ("special_incomplete", "agent_multi_step", "agent_multi_turn")} == {1}
        assert (card.scores["agent"] == 100 and card.scores["agent_multi_step, process"] == 50
                and "overall" not in card.scores)
    assert "2 of 4, 50.0%" in printed and "3 of 4, 75.0%" in printed
    assert "replaced by" in corrected.card.notes[1] and "replaced by" not in official.card.notes[1]


def test_the_card_is_printed_with_the_score(run):
    out, printed, _ = run
    assert (out / "card.txt").read_text() in printed and (out / "table.txt").read_text() == printed
    for words in ("NOT the pinned 9f340f9", "only normal_atom_list", "played by user",
                  "temperature 0, ", "handler", STUDENT):
        assert words in printed
    assert "paper" not in printed, "a part of a benchmark does not stand beside the paper's whole"
    assert {"eval_main.log", "result.json",
            "data_normal_atom_list_score.json"} <= set(os.listdir(out / "official"))


def test_the_policy_is_asked_as_by_bfcl_and_its_user_as_any_api_takes_it(run):
    out, printed, payloads = run
    asked = drawing(read_card(out).card.sampling)
    assert (asked["top_k"] == -1 and "repetition_penalty 1, " in printed
            and asked["skip_special_tokens"] is False)
    for payload in payloads:
        if payload["model"] == "m":
            assert asked.items() <= payload.items()
        else:
            assert payload.keys() == {"model", "messages", "temperature", "top_p", "max_tokens",
                                      "seed"}


def test_prompts_are_the_renderers(run):
    _, _, payloads = run
    policy = [payload for payload in payloads if payload["model"] == "m"]
    assert {(payload["max_tokens"], payload["temperature"]) for payload in policy} == {(4096, 0)}
    systems = [payload["messages"][0]["content"] for payload in policy]
    assert (all(text.startswith("Date: ") for text in systems)
            and any("Date: 2025-03-20, Thursday\n" in text for text in systems))


def test_an_agent_sees_its_own_calls_and_their_results(run):
    out, _, payloads = run
    answer = answers(out)["agent_multi_step_0"]
    assert answer.result == [{"Phone": {"wifi": True, "sent": ["hi"]}}]
    assert answer.process == ["[send(text='hi')]", "[turn_on_wifi()]", "[send(text='hi')]"]
    assert answer.kind == "ended" and answer.dialogue[-1]["message"] == "finish conversation"
    assert [message["role"] for message in answer.chat] == ["system", "user",
                                                            *["assistant", "user"] * 3]
    assert answer.chat[2][
        "content"] == '<tool_call>\n{"name": "send", "arguments": {"text": "hi"}}\n</tool_call>'
    assert answer.chat[3]["content"] == "<tool_response>\nno wifi\n</tool_response>"
    assert answer.chat[5]["content"] == '<tool_response>\n{"status": true}\n</tool_response>'


def test_rules_of_the_environment_reach_the_model_and_its_user_is_another_one(run):
    out, _, payloads = run
    answer = answers(out)["agent_multi_turn_0"]
    assert ("Rules:\nBe brief." in answer.chat[0]["content"]
            and "turn in brackets" not in answer.chat[0]["content"])
    users = [payload for payload in payloads if payload["model"] == "user"]
    assert users and users[0]["messages"] == [{"role": "system", "content": "You want to send hi."}]


# What goes wrong

def no_oslo(payload: dict[str, Any], tries: int) -> tuple[int, bytes] | None:
    return (422, b"no") if "Oslo" in payload["messages"][-1]["content"] else None


def test_tasks_without_an_answer_are_never_scored_silently(benchmark, tmp_path):
    with LocalServer(model, fault=no_oslo) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, only="normal_atom_list")
        assert (done.returncode == 2
                and "1 tasks got no answer, so nothing is scored" in done.stderr
                and done.stdout == "")
        assert not (tmp_path / "out" / "card.json").exists()
        counted = evaluate(benchmark, tmp_path / "out", server.url, "--failed-as-wrong",
                           only="normal_atom_list")
        assert (counted.returncode == 0 and "1 no_answer" in counted.stdout
                and "1 of 4" in counted.stdout)
        assert sum("Rome" in payload["messages"][-1]["content"] for payload in server.payloads) == 1
        server.fault = lambda payload, tries: None
        mended = evaluate(benchmark, tmp_path / "out", server.url, only="normal_atom_list")
        assert (mended.returncode == 0 and "2 of 4" in mended.stdout
                and "no_answer 1" not in mended.stdout)
        assert sum("Oslo" in payload["messages"][-1]["content"] for payload in server.payloads) == 3


def test_a_server_that_is_down_is_said_at_once(benchmark, tmp_path):
    started = time.monotonic()
    done = evaluate(benchmark, tmp_path / "out", "http://127.0.0.1:9/v1")
    assert (done.returncode == 2 and "no list of models" in done.stderr
            and time.monotonic() - started < 30)


def test_another_prompt_or_sampling_is_refused_until_fresh(benchmark, tmp_path):
    with LocalServer(model) as server:
        assert evaluate(benchmark, tmp_path / "out", server.url,
                        only="special_incomplete").returncode == 0
        for flags in (["--temperature", "0.7"], ["--prompt", "full"], ["--no-thinking"]):
            done = evaluate(benchmark, tmp_path / "out", server.url, *flags,
                            only="special_incomplete")
            assert (done.returncode == 2 and "was begun with other settings" in done.stderr
                    and "--fresh" in done.stderr)
        done = evaluate(benchmark, tmp_path / "out", server.url, "--no-thinking", "--fresh",
                        only="special_incomplete")
        assert done.returncode == 0 and "thinking off" in done.stdout
        assert server.payloads[-1]["chat_template_kwargs"] == {"enable_thinking": False}
        assert server.payloads[0]["chat_template_kwargs"] == {"enable_thinking": True}


def test_a_model_that_was_downloaded_meanwhile_is_gone_on_with(benchmark, tmp_path):
    reference = tmp_path / "models--some--one" / "refs" / "main"
    with LocalServer(model, fault=no_oslo) as server:
        words = command(benchmark, tmp_path / "out", server.url, "--model", "some/one",
                        only="normal_atom_list")
        for code in (2, 0):
            done = subprocess.run(words, capture_output=True, text=True,
                                  env=ENVIRONMENT | {"HF_HUB_CACHE": str(tmp_path)})
            assert done.returncode == code, done.stderr
            reference.parent.mkdir(parents=True, exist_ok=True)
            reference.write_text("abc")
            server.fault = lambda payload, tries: None
        assert sum("Rome" in payload["messages"][-1]["content"] for payload in server.payloads) == 1
    assert read_card(tmp_path / "out").card.revision == "commit abc"


def test_replies_of_each_bad_kind_are_counted_and_scored_as_they_are(benchmark, tmp_path):
    replies = {"Rome": "<tool_call>{oops}</tool_call>", "York": call("5G"), "Oslo": call("crash"),
               "Ghent": "[plan(cities=['Ghent'])]"}

    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        last = payload["messages"][-1]["content"]
        return completion(next(reply for city, reply in replies.items() if city in last))

    with LocalServer(answer) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, only="normal_atom_list")
    assert done.returncode == 0, done.stderr
    assert read_card(tmp_path / "out").card.errors.counts == {"unreadable": 1, "inexpressible": 1,
                                                              "scorer_crash": 1}
    assert read_card(tmp_path / "out").correct == {
        "normal_atom_list": 1}, "brackets that a model wrote itself are read too"


def test_code_in_a_reply_is_not_run_by_the_scorer(benchmark, tmp_path):
    mark = tmp_path / "mark"
    reply = f"[plan(days=1 + __import__('os').mkdir('{mark}'))]"
    with saying(reply) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, only="normal_atom_list")
    assert done.returncode == 0 and "0 of 4" in done.stdout and not mark.exists()
    assert "neither a value nor a sum" in (tmp_path / "out" / "official"
                                           / "data_normal_atom_list_score.json").read_text()


def test_what_an_agent_may_call_and_see_is_the_environment_only(benchmark, tmp_path):
    steps = [call("_hidden"), call("variables"), f"[send(text=open('{tmp_path}/mark', 'w'))]",
             "finish conversation"]
    with saying(steps=steps) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, only="agent_multi_step")
    assert done.returncode == 0, done.stderr
    answer = answers(tmp_path / "out")["agent_multi_step_0"]
    said = [str(turn["message"]) for turn in answer.dialogue if turn["sender"] == "execution"]
    assert ("no call of a listed function" in said[0] and "malformed node" in said[2]
            and not (tmp_path / "mark").exists())
    assert "PYTHONPATH" in said[1] and "OPENAI" not in said[1]
    assert answer.result == [{"Phone": {"wifi": False, "sent": []}}]


@pytest.mark.parametrize("steps, kind, counted", [
    (["Hm."] * 30, "out_of_turns", {"out_of_turns": 1}),
    ([call("explode")], "environment_error", {"environment_error": 1}),
    (["<tool_call>", call("send", text="x"), "<tool_call>", "finish conversation"], "ended",
     {"unreadable in agent tasks": 2})])
def test_how_an_episode_ends_is_counted(benchmark, tmp_path, steps, kind, counted):
    with saying(steps=steps) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, only="agent_multi_step")
    assert done.returncode == 0, done.stderr
    answer = answers(tmp_path / "out")["agent_multi_step_0"]
    assert answer.kind == kind and read_card(tmp_path / "out").card.errors.counts == counted
    assert read_card(tmp_path / "out").correct == {"agent_multi_step": 0}


def test_a_prompt_beyond_the_context_gets_a_shorter_reply_or_none(benchmark, tmp_path):
    def fault(payload: dict[str, Any], tries: int) -> tuple[int, bytes] | None:
        room = 300 if "Rome" in payload["messages"][-1]["content"] else 0
        return ((400, b"the request exceeds the available context size")
                if payload["max_tokens"] > room else None)

    with LocalServer(model, fault=fault) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, only="normal_atom_list")
    assert done.returncode == 0, done.stderr
    card = read_card(tmp_path / "out")
    assert (card.correct == {"normal_atom_list": 1}
            and card.card.errors.counts == {"context_full": 3})


def test_without_a_user_its_tasks_are_left_out_and_said_so(benchmark, tmp_path):
    flags = command(benchmark, tmp_path / "out", "URL")
    cut = flags.index("--user-model")
    with LocalServer(model) as server:
        words = [server.url if word == "URL" else word for word in flags[:cut] + flags[cut + 4:]]
        done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
        assert (done.returncode == 0
                and "without agent_multi_turn, whose user nobody played" in done.stdout)
        assert ("agent_multi_turn" not in read_card(tmp_path / "out").correct
                and "no agent_multi_turn" in done.stdout)
        asked = server.count
        later = evaluate(benchmark, tmp_path / "out", server.url)
        assert (later.returncode == 0
                and read_card(tmp_path / "out").correct["agent_multi_turn"] == 1)
        assert {payload["model"] for payload in server.payloads[asked:]} == {"m", "user"}
        assert not any("Plan" in payload["messages"][-1]["content"]
                       for payload in server.payloads[asked:])
    alone = [word for word in words if word not in CATEGORIES] + ["agent_multi_turn"]
    assert "name a model with --user-model" in subprocess.run(alone, capture_output=True, text=True,
                                                              env=ENVIRONMENT).stderr


@pytest.mark.parametrize("said, words, flags", [
    (completion("Send h", "length"), "simulated user was cut at its limit of tokens", ["--fresh"]),
    (completion(" ", reasoning_content="I am done."), "simulated user is empty", ["--fresh"]),
    (None, "simulated user has no room for a reply; start it with a larger context", [])])
def test_a_user_that_says_nothing_whole_is_not_charged_to_the_policy(benchmark, tmp_path, said,
                                                                     words, flags):
    def fault(payload: dict[str, Any], tries: int) -> tuple[int, bytes] | None:
        return (400, b"context length") if payload["model"] == "user" and said is None else None

    with LocalServer(lambda payload: said if payload["model"] == "user" else model(payload),
                     fault=fault) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, only="agent_multi_turn")
        assert (done.returncode == 2 and words in done.stderr
                and not (tmp_path / "out" / "card.json").exists()), done.stderr
        server.answer, server.fault = model, lambda payload, tries: None
        mended = evaluate(benchmark, tmp_path / "out", server.url, *flags, only="agent_multi_turn")
    assert mended.returncode == 0 and read_card(tmp_path / "out").correct == {"agent_multi_turn": 1}


def test_another_user_is_another_measurement(benchmark, tmp_path):
    def fault(payload: dict[str, Any], tries: int) -> tuple[int, bytes] | None:
        return (422, b"no") if payload["model"] == "user" else None

    with LocalServer(model, fault=fault) as server:
        words = command(benchmark, tmp_path / "out", server.url, only="agent_multi_turn")
        done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 2, done.stderr
        assert ("every input failed (1)" in done.stderr
                and not (tmp_path / "out" / "card.json").exists())
        server.fault = lambda payload, tries: None
        assert subprocess.run(words, capture_output=True, env=ENVIRONMENT).returncode == 0
        meta = json.loads(
            (tmp_path / "out" / "agent_multi_turn_answers.jsonl.meta.json").read_text())
        assert (meta["usage"]["user"]["calls"] == 1
                and meta["usage"]["agent_multi_turn"]["calls"] == 4)
        server.models.append({"id": "other"})
        words[words.index("--user-model") + 1] = "other"
        done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT)
        assert done.returncode == 2 and 'user: "user" -> "other"' in done.stderr
    del words[words.index("--user-endpoint"):words.index("--user-endpoint") + 2]
    bare = {name: value for name, value in ENVIRONMENT.items() if name != "OPENAI_BASE_URL"}
    assert "name its server too" in subprocess.run(words, capture_output=True, text=True,
                                                   env=bare).stderr


@pytest.mark.parametrize("sign, code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_server_that_was_started_is_ended_with_the_run(benchmark, tmp_path, sign, code):
    pid, asked = fake_vllm(tmp_path)
    words = command(benchmark, tmp_path / "out", "", only="normal_atom_list")
    for flag in ("--endpoint", "--served-name", "--user-model", "--user-endpoint"):
        del words[words.index(flag):words.index(flag) + 2]
    process = subprocess.Popen([*words, "--", "--dtype", "float32"], stderr=subprocess.DEVNULL,
                               env=ENVIRONMENT | {"SERVE_PYTHON": str(tmp_path / "python")})
    until(asked.exists)
    server = Path("/proc") / pid.read_text().strip()
    assert server.exists()
    process.send_signal(sign)
    assert process.wait(30) == code and not server.exists()


def test_a_subset_has_fixed_tasks_and_whole_conversations(benchmark, tmp_path):
    with LocalServer(model) as server:
        done = evaluate(benchmark, tmp_path / "out", server.url, "--subset", "1")
        assert done.returncode == 0 and "SUBSET, 1 entries of each category" in done.stdout
        first = answers(tmp_path / "out")
        assert (read_card(tmp_path / "out").card.counts == dict.fromkeys(CATEGORIES, 1)
                and len(first) == 6)
        assert evaluate(benchmark, tmp_path / "other", server.url, "--subset", "2").returncode == 0
        assert first.keys() <= answers(tmp_path / "other").keys()


def test_the_base_is_measured_by_the_same_command(benchmark, tmp_path):
    runs, base = f"run_dir={tmp_path}", "grpotool/tiny_student/checkpoint"
    with LocalServer(model) as server, saying("Sure!") as untrained:
        flags = ["--set", runs, "--base", base, "--base-endpoint", untrained.url, "--served-name",
                 ""]
        done = evaluate(benchmark, tmp_path / "out", server.url, *flags, only="normal_atom_list")
    assert done.returncode == 0, done.stderr
    folders = [tmp_path / "acebench_en_subset" / base.replace("/", "--"), tmp_path / "out"]
    assert [read_card(folder).correct["normal_atom_list"] for folder in folders] == [0, 2]
    assert done.stdout.count("; handler ") == 2 and f"base {base}, official" in done.stdout
    assert "The two differ in more" not in done.stdout
    own = evaluate(benchmark, folders[0], untrained.url, *flags, only="normal_atom_list")
    assert own.returncode == 2 and "--base: is the model that is measured" in own.stderr


def test_each_draw_is_asked_and_scored_by_itself(benchmark, tmp_path):
    """The second of three draws knows nothing."""
    def answer(payload: dict[str, Any]) -> dict[str, Any]:
        second = payload["model"] == "m" and payload["seed"] == 1
        return completion("Sure!") if second else model(payload)

    with LocalServer(answer) as server:
        once = evaluate(benchmark, tmp_path / "out", server.url)
        one, asked = read_card(tmp_path / "out"), server.count
        done = evaluate(benchmark, tmp_path / "out", server.url, "--repeats", "3")
        assert done.returncode == 0, done.stderr
        assert {payload["seed"] for payload in server.payloads[asked:]} == {1, 2}
    three = read_card(tmp_path / "out")
    assert three.draws == [one.correct, dict.fromkeys(CATEGORIES, 0), one.correct]
    assert three.card.draws == 3 and three.correct == one.correct
    assert three.scores["agent"] == pytest.approx(one.scores["agent"] * 2 / 3, abs=1e-3)
    row = next(line for line in done.stdout.splitlines()
               if line.startswith("spread of") and "corrected" in line)
    assert "57.7" in row and "spread" not in once.stdout and "1.3 of 4, 33.3%" in done.stdout
    assert "--repeats 3 at temperature 0 shows little" in done.stderr


def test_a_killed_run_goes_on_where_it_was(benchmark, tmp_path, run):
    held = {"open": False}
    def wait(server: LocalServer) -> bool:
        return server.count > 6 and not held["open"]

    with LocalServer(model, hold=wait) as server:
        process = subprocess.Popen(
            command(benchmark, tmp_path / "out", server.url, "--in-flight", "1"), env=ENVIRONMENT,
            stderr=subprocess.DEVNULL, start_new_session=True)
        until(lambda: server.count >= 7)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        held["open"] = True
        done = evaluate(benchmark, tmp_path / "out", server.url)
        assert done.returncode == 0, done.stderr
        # one of each model
        assert (max(server.requests.values()) <= 2
                and sum(count - 1 for count in server.requests.values()) <= 2)
    whole, _, _ = run
    assert answers(whole) == answers(tmp_path / "out")
    assert read_card(whole).scores == read_card(tmp_path / "out").scores
