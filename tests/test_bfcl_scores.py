"""Around the benchmark, without it: figures and tables, what is kept of a broken run, client,
server, curves."""
from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import msgspec
import pytest
from fake_vllm import fake_vllm
from golden_files import FOLDER
from local_server import LocalServer, completion

from bfcl.card import NEUTRAL, Sampling, Scored, write_card
from bfcl.curves import named, read_rounds
from bfcl.official.results import check_results, read_results, remove_failures
from bfcl.official.scores import V3, Tally, accuracy, figures, read_tallies, score_table, tallies_of
from bfcl.serving import fetch as fetching
from bfcl.serving.ask import Asker, ContextFull, ServerGone
from bfcl.serving import served_model
from bfcl.serving.served_model import (
    NoServer, Served, find_server, refuse_another, telling, value_of)
from bfcl.serving.server import server
from bfcl.subset import chosen, scope
from looptool.config_file import ROOT
from looptool.errors import InputError
from test_card import CARD

SAMPLING = Sampling(thinking=False, temperature=0.5, top_p=0.9, max_tokens=4096, others=NEUTRAL)
CHAT = [{"role": "user", "content": "Hi"}]
OFFICIAL = json.loads((FOLDER / "bfcl_v3_official.json").read_text())


def scored(benchmark: str = "BFCL v3", scope: str = "full", share: float = 1.0,
           **card: object) -> Scored:
    """The official example's entries, of which a share is right."""
    counts = {category: total for category, (_, total) in OFFICIAL["right"].items()}
    return Scored(card=msgspec.structs.replace(CARD, benchmark=benchmark, scope=scope,
                                               counts=counts, **card),
                  scores={},
                  correct={category: round(share * total) for category, total in counts.items()})


def test_the_figures_are_those_of_the_official_table(tmp_path: Path) -> None:
    for category, (correct, total) in OFFICIAL["right"].items():
        (tmp_path / f"BFCL_v3_{category}_score.json").write_text(
            json.dumps({"accuracy": correct / total, "correct_count": correct,
                        "total_count": total}) + '\n{"id": "x"}')
    ours = figures("BFCL v3", read_tallies(tmp_path))
    official = OFFICIAL["data_overall.csv of bfcl-eval 2025.6.14"]
    assert ours == pytest.approx(
        {name: float(value.rstrip("%")) for name, value in official.items()}, abs=0.00501)


def test_a_score_of_v4_is_read_under_its_name_of_v3(tmp_path: Path) -> None:
    (tmp_path / "non_live").mkdir()
    (tmp_path / "non_live" / "BFCL_v4_simple_java_score.json").write_text(
        '{"correct_count": 3, "total_count": 4}\n')
    assert read_tallies(tmp_path) == {"java": Tally(3, 4)}


def test_a_figure_has_an_interval_and_needs_all_of_its_categories() -> None:
    value, half = accuracy({"simple": 1.0}, {"simple": Tally(90, 100)})
    assert value == 90 and half == pytest.approx(196 * (0.8852 * 0.1148 / 100) ** 0.5, rel=1e-3)
    assert accuracy({"simple": 1.0}, {"simple": Tally(18, 18)})[1] > 5
    assert accuracy({"simple": 0.5, "java": 0.5}, {"simple": Tally(1, 2)}) is None
    assert all(sum(weights.values()) == pytest.approx(1) for weights in V3.values())


def test_the_papers_rows_stand_only_beside_the_whole_of_v3() -> None:
    assert "paper: LoopTool-8B" in score_table({"round 1": scored()})
    assert "paper" not in score_table({"round 1": scored(scope="SUBSET")})
    table = score_table({"round 1": scored("BFCL v4")})
    assert "paper" not in table and "not to be compared with scores of v3" in table


def test_the_difference_to_the_base_model_and_every_card_are_shown() -> None:
    table = score_table({"base": scored(share=0.5), "round 1": scored()})
    row = next(line.split() for line in table.splitlines() if line.startswith("difference"))
    assert row[1] == "+50.01" and "BEWARE" not in table and table.count("revision") == 2
    assert "live_multiple              1,053 of 1,053  100.0%" in table
    assert "BEWARE: the two were not measured alike; their cards differ in prompt" in score_table(
        {"base": scored(prompt="native 1"), "round 1": scored()})


def test_the_mean_of_draws_stands_with_their_spread_and_the_sound_entries_stand_second() -> None:
    one = scored(share=0.5)
    counts = one.card.counts
    draws = [{name: round(share * total) for name, total in counts.items()}
             for share in (0.5, 0.6, 0.7)]
    sound = {name: (0.9 * total, total - (name == "simple")) for name, total in counts.items()}
    several = msgspec.structs.replace(
        one, draws=draws, sound=sound, card=msgspec.structs.replace(one.card, draws=3))
    assert tallies_of(several)["simple"] == Tally(240, 400)
    assert tallies_of(one)["simple"] == Tally(200, 400)
    table = score_table({"round 1": several})
    first, second = table.split("Second, and NOT the official score: without 1 entries")
    lines = first.splitlines()
    mean, spread = (next(line.split()[at] for line in lines if line.startswith(name))
                    for name, at in (("round 1", 2), ("spread of round 1", 4)))
    assert float(mean) == pytest.approx(60, abs=0.1) and float(spread) == pytest.approx(10, abs=0.1)
    assert "avg@3" in first and "paper: LoopTool-8B" in first and "paper" not in second
    assert second.split("round 1")[1].split()[0].startswith("90.")
    assert "NOT the official" not in score_table({"round 1": one})


def test_a_subset_is_fixed_and_a_smaller_one_lies_in_it() -> None:
    ids = [f"simple_{number}" for number in range(100)]
    assert set(chosen(ids, 5)) < set(chosen(ids[::-1] + ids, 9)) and len(chosen(ids + ids, 9)) == 9
    assert chosen(ids, 0) == ids and scope([], 0) == "full"
    assert "40 entries" in scope([], 40) and "only java" in scope(["java"], 0)


def write_results(folder: Path, *results: dict, tail: str = "") -> Path:
    path = folder / "BFCL_v3_simple_result.json"
    path.write_text("".join(json.dumps(result) + "\n" for result in results) + tail)
    return path


FAILED = {"id": "irrelevance_1", "result": "Error during inference: status 500"}
FULL = {"id": "multi_turn_base_1", "result": "Error during inference: context full: ..."}


def test_failures_and_torn_lines_are_asked_again_and_all_else_is_kept(tmp_path: Path) -> None:
    good = {"id": "live_relevance_3-3-0", "result": "Hello"}
    write_results(tmp_path, good, FAILED, good, FULL, FULL | {"id": "irrelevance_2"},
                  tail='{"id": "simple_9", "res')
    assert remove_failures(tmp_path, {}) == 3
    assert [result for _, result in read_results(tmp_path)] == [good, good, FULL]


def test_an_id_that_stands_for_two_tasks_needs_two_results(tmp_path: Path) -> None:
    good, other = ({"id": id, "result": "Hello", "finish": ["stop"]}
                   for id in ("live_relevance_3-3-0", "simple_1"))
    ids = {"live_relevance": [good["id"]] * 2, "simple": ["simple_1"]}
    write_results(tmp_path, good, other)
    with pytest.raises(InputError,
                       match="1 entries have no result, the first live_relevance_3-3-0"):
        check_results(tmp_path, ids)
    assert (remove_failures(tmp_path, ids) == 1
            and [result for _, result in read_results(tmp_path)] == [other])
    write_results(tmp_path, good, other, good)
    assert remove_failures(tmp_path, ids) == 3 and not check_results(tmp_path, ids)


def test_no_failure_is_ever_scored(tmp_path: Path) -> None:
    write_results(tmp_path, FAILED)
    with pytest.raises(InputError,
                       match="1 of 1 entries failed.*irrelevance_1.*status 500.*asked again"):
        check_results(tmp_path, {"irrelevance": ["irrelevance_1"]})
    write_results(tmp_path, FULL)
    with pytest.raises(InputError, match="1 entries have no result, the first simple_4"):
        check_results(tmp_path, {"simple": ["simple_4"]})


def test_poor_replies_are_counted(tmp_path: Path) -> None:
    broken = "<tool_call>\n{\"name\": \n</tool_call>"
    write_results(tmp_path, FULL, {"id": "simple_1", "result": broken, "finish": ["length"]},
                  {"id": "multi_turn_base_2", "result": [["fine"], [broken, broken]],
                   "finish": ["stop", "length", "length"]},
                  {"id": "simple_2", "result": "fine", "finish": ["stop"]},
                  {"id": "irrelevance_3", "result": '```json\n{"name": "f", "arguments": {}}\n```',
                   "finish": ["stop"]},
                  {"id": "live_irrelevance_7-1-0", "result": "", "finish": ["length"]})
    assert check_results(tmp_path, {}) == {"context_full": 1, "malformed": 2, "cut": 2,
                                           "cut where no call is asked for": 1,
                                           "untagged_call where no call is asked for": 1}


def test_a_request_says_how_to_draw() -> None:
    with LocalServer(lambda payload: completion("<think>\nwell\n</think>\n\nHello")) as local:
        # as the base model's process
        given = msgspec.json.decode(msgspec.json.encode(SAMPLING), type=Sampling)
        reply = Asker(local.url, "m", given)(CHAT, [{"type": "function"}], "simple_1")
        assert (reply.text, reply.reasoning, reply.completion_tokens) == ("Hello", "well", 3)
        request, = local.payloads
        assert (request["messages"] == CHAT and request["user"] == "simple_1"
                and request["tool_choice"] == "none")
        assert (request["temperature"], request["top_p"], request["max_tokens"]) == (0.5, 0.9, 4096)
        assert (request["chat_template_kwargs"] == {"enable_thinking": False}
                and request["skip_special_tokens"] is False)
        assert NEUTRAL.items() <= request.items() and isinstance(request["top_k"], int)


TOO_LONG = pytest.mark.parametrize("said", [
    "This model's maximum context length is 2048 tokens", "please pass a smaller max_model_len",
    "max_tokens is too large: 4096", "the request exceeds the available context size",
    '{"code": "context_length_exceeded"}'])


@TOO_LONG
def test_a_context_that_is_nearly_full_gets_a_shorter_reply_and_a_full_one_none(said: str) -> None:
    def fault(payload: dict, tries: int) -> tuple[int, bytes] | None:
        long = payload["max_tokens"] > 1024 or "full" in payload["messages"][0]["content"]
        return (400, said.encode()) if long else None

    with LocalServer(lambda payload: completion("Hello"), fault=fault) as local:
        ask = Asker(local.url, "m", SAMPLING)
        assert ask(CHAT).text == "Hello" and [payload["max_tokens"]
                                              for payload in local.payloads] == [4096, 1024]
        with pytest.raises(ContextFull, match="^context full: "):
            ask([{"role": "user", "content": "full"}])


def test_what_may_pass_is_tried_again_and_what_may_not_is_raised() -> None:
    answers: dict[str, str | tuple[int, bytes]] = {"busy": "503", "torn": "cut_json",
                                                   "reset": "reset"}

    def fault(payload: dict, tries: int) -> str | tuple[int, bytes] | None:
        kind = payload["messages"][0]["content"]
        for_good = {"bad": (422, b"no such field"), "large": (413, b"Request Entity Too Large")}
        return for_good.get(kind) or (answers[kind] if tries < 2 else None)

    with LocalServer(lambda payload: completion("Hello"), fault=fault) as local:
        ask = Asker(local.url, "m", SAMPLING, pauses=(0, 0))
        assert all(ask([{"role": "user", "content": kind}]).text == "Hello" for kind in answers)
        for kind, words in (("bad", "status 422: no such field"), ("large", "status 413")):
            before = local.count
            with pytest.raises(RuntimeError, match=words):
                ask([{"role": "user", "content": kind}])
            assert local.count == before + 1


@pytest.mark.parametrize("status, says", [
    *((status, "bad gateway") for status in (500, 502, 503, 504)),
    (429, "the server is too busy; .* --in-flight")])
def test_a_gateway_without_its_server_is_a_server_that_is_gone(status: int, says: str) -> None:
    with LocalServer(fault=lambda payload, tries: (status, b"bad gateway")) as local:
        ask = Asker(local.url, "m", SAMPLING, pauses=(0, 0))
        with pytest.raises(ServerGone, match=rf"status {status}: {says}\); start the server again"):
            ask(CHAT)
        with pytest.raises(ServerGone):
            ask(CHAT)
        assert local.count == 3


def test_a_server_that_answers_others_fails_only_this_request() -> None:
    def fault(payload: dict, tries: int) -> tuple[int, bytes] | None:
        return {"broken": (500, b"bug"),
                "busy": (429, b"Rate limit reached")}.get(payload["messages"][0]["content"])

    with LocalServer(lambda payload: completion("Hello"), fault=fault) as local:
        ask, done = Asker(local.url, "m", SAMPLING, pauses=(0.2, 0.2)), threading.Event()

        def others() -> None:
            while not done.wait(0.02):
                ask(CHAT)

        thread = threading.Thread(target=others)
        thread.start()
        try:
            for content, says in (("broken", "status 500: bug"),
                                  ("busy", "status 429: the server is too busy")):
                with pytest.raises(RuntimeError, match=says) as raised:
                    ask([{"role": "user", "content": content}])
                # by these words bfcl-eval plays a task a second time
                assert "Rate limit" not in str(raised.value)
        finally:
            done.set()
            thread.join()


def test_a_host_that_drops_packets_is_a_server_that_is_gone(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LONGEST_CONNECT", 0.3)
    with contextlib.ExitStack() as sockets:
        deaf = sockets.enter_context(socket.socket())
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        for _ in range(4):  # its queue is full now, so that what else comes is dropped
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        started = time.monotonic()
        with pytest.raises(ServerGone, match=r"no answer \(.*timed out.*start the server again"):
            Asker(f"http://127.0.0.1:{deaf.getsockname()[1]}/v1", "m", SAMPLING, pauses=(0,))(CHAT)
        assert time.monotonic() - started < 10


def test_a_server_may_think_longer_than_it_may_take_to_be_reached(
        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "LONGEST_CONNECT", 0.2)
    with LocalServer(lambda payload: completion("Hello"), latency=0.6) as local:
        assert Asker(local.url, "m", SAMPLING, pauses=())(CHAT).text == "Hello"


def test_a_server_that_is_gone_ends_the_run_for_all_threads() -> None:
    ask = Asker("http://127.0.0.1:9/v1", "m", SAMPLING, pauses=(0, 0))
    told = []

    def work() -> None:
        try:
            ask(CHAT)
        except ServerGone as gone:
            told.append(str(gone))

    for thread in [threading.Thread(target=work) for _ in range(4)]:
        thread.start()
        thread.join()
    assert len(told) == 4 and len(set(told)) == 1 and "start the server again" in told[0]
    assert not issubclass(ServerGone, Exception)
    with LocalServer(fault=lambda payload, tries: (401, b"")) as local:
        with pytest.raises(ServerGone, match="OPENAI_API_KEY"):
            Asker(local.url, "m", SAMPLING)(CHAT)


def test_the_server_says_what_it_serves(tmp_path: Path) -> None:
    with LocalServer() as local:
        local.models = [{"id": "a", "root": str(tmp_path), "max_model_len": 4096}, {"id": "b"}]
        for found in (find_server(local.url, wanted="a"), find_server(local.url, "a"),
                      find_server(local.url, str(tmp_path))):
            assert (found.name, found.root, found.context) == ("a", str(tmp_path), 4096)
        assert found.shown_as("a") == str(tmp_path) and found.shown_as("org/a") == f"a, {tmp_path}"
        with pytest.raises(InputError, match="serves a, b; name one"):
            find_server(local.url, "c")
        with pytest.raises(InputError, match="has loaded"), server(str(ROOT), local.url, "a", [],
                                                                   tmp_path / "log"):
            pass
        local.models_status = 401
        with pytest.raises(InputError, match="OPENAI_API_KEY") as refused:
            find_server(local.url)
        assert not isinstance(refused.value, NoServer)


@pytest.mark.parametrize("says", [b'"0.1"', b'{"version": 1}', b"[]", b"<html>"])
def test_a_server_of_another_kind_may_say_what_it_likes(says: bytes,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served_model, "fetch", lambda url: (
        b'{"data": [{"id": "m"}]}' if url.endswith("/models") else says))
    assert find_server("http://host/v1").server == "an OpenAI-compatible server"
    monkeypatch.setattr(served_model, "fetch", lambda url: says)
    with pytest.raises(NoServer, match="no list of models"):
        find_server("http://host/v1")


@pytest.mark.parametrize("model, name, root, is_same", [
    ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B", "", True), ("Qwen/Qwen3-8B", "m", "Qwen/Qwen3-8B", True),
    ("Qwen/Qwen3-8B", "m", "/cache/models--Qwen--Qwen3-8B/snapshots/1f", True),
    ("Qwen/Qwen3-8B", "m", "/models/Qwen3-8B", True), ("Qwen/Qwen3-8B", "m", "", True),
    ("Qwen/Qwen3-8B", "Qwen/Qwen3-32B", "", False), ("Qwen/Qwen3-8B", "m", "Qwen/Qwen3-32B", False),
    ("Qwen/Qwen3-8B", "m", "/models/Qwen3-8B-Base", False),
    ("Qwen/Qwen3-8B", "m", "/runs/round_1/policy", False),
    (str(ROOT), "m", "/elsewhere/policy", True), (str(ROOT), "m", "Qwen/Qwen3-32B", False),
    (str(ROOT), "m", str(ROOT / "tests"), False),
    (str(ROOT), "m", str(ROOT / "tests" / ".."), True)])
def test_another_model_behind_the_address_is_refused(model: str, name: str, root: str,
                                                     is_same: bool) -> None:
    with contextlib.nullcontext() if is_same else pytest.raises(InputError,
                                                                match="has loaded .*, not "):
        refuse_another(Served("http://host/v1", name, root), model)


def test_flags_that_move_a_score() -> None:
    flags = ["--host", "0.0.0.0", "--quantization", "fp8", "-tp", "8", "--dtype=half",
             "--enforce-eager", "--port=1"]
    assert telling(flags) == ["--quantization", "fp8", "--dtype=half", "--enforce-eager"]
    assert (value_of("--dtype", flags) == "half" and value_of("-tp", flags) == "8"
            and value_of("--seed", flags) == "")


@pytest.mark.slow
def test_a_server_is_started_and_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_vllm(tmp_path)
    monkeypatch.setenv("SERVE_PYTHON", str(tmp_path / "python"))
    with server("org/model", "", "", ["--flag"], tmp_path / "log") as served:
        assert (served.name, served.server) == ("tiny", "vllm 9 --flag")
        find_server(served.url)
    with pytest.raises(InputError, match="no list of models"):
        find_server(served.url)
    with pytest.raises(InputError, match="did not come up; its last words: no GPU here"), server(
            "org/model", "", "", ["--broken"], tmp_path / "log"):
        pass


def run_curves(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(ROOT / "bfcl" / "curves.py"), *flags],
                          capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})


@pytest.mark.slow
def test_curves_by_round_and_by_size(tmp_path: Path) -> None:
    for run, shares in (("small", (0.1, 0.2, 0.3)), ("large", (0.4, 0.5, 0.75)),
                        ("static", (0.4, 0.5, 0.5))):
        for number, share in enumerate(shares):
            write_card(tmp_path / run / f"round_{number}" / "bfcl_v3",
                       scored(share=share, model=run))
    done = run_curves(str(tmp_path / "large"), "--static", str(tmp_path / "static"), "--out",
                      str(tmp_path / "curve.svg"))
    assert done.returncode == 0, done.stderr
    rows = {line[:26].strip(): line[26:].split() for line in done.stdout.splitlines()}
    assert rows["large"][::2] == ["39.99", "49.99", "75.05",
                                  "-"] and rows["static (static)"][4] == "49.99"
    assert (rows["paper: LoopTool-8B"][-1] == "74.93"
            and "<svg" in (tmp_path / "curve.svg").read_text())
    sizes = run_curves(str(tmp_path / "small"), str(tmp_path / "large"), "--sizes").stdout
    assert ([line.split()[-1] for line in sizes.splitlines()[1:3]] == ["+9.98", "+25.06"]
            and "0.6B" in sizes)
    write_card(tmp_path / "small" / "round_2" / "bfcl_v3", scored(prompt="native 1", model="small"))
    refused = run_curves(str(tmp_path / "small"))
    assert refused.returncode == 2 and "measured in different ways (prompt)" in refused.stderr
    assert "run scripts/09_evaluate_bfcl.sh" in run_curves(str(tmp_path)).stderr


def test_a_copy_of_a_round_is_none(tmp_path: Path) -> None:
    for name in ("round_1", "round_1_backup"):
        write_card(tmp_path / name / "bfcl_v3", scored())
    assert list(read_rounds(tmp_path, "bfcl_v3")) == [1]


def test_curves_of_one_name_are_told_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "a" / "qwen", tmp_path / "b" / "qwen"
    assert named([one, tmp_path / "other"], [two]) == {"qwen": one, "other": tmp_path / "other",
                                                       "qwen (static)": two}
    assert named([one, two], []) == {str(one): one, str(two): two}
    with pytest.raises(InputError, match="is given twice"):
        named([one, one], [])
