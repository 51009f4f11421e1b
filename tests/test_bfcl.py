"""BFCL by the official package through our launcher and handler, against models that know the
answers.

Skipped where .venv-bfcl (v3) or .venv-bfcl-v4 is not there. A few entries of each category, and
every tenth truth; BFCL_FULL=1 takes all of them, which takes minutes.
"""
from __future__ import annotations

import json
import os
import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from bfcl_oracle import Oracle
from local_server import LocalServer

from bfcl.card import read_card
from bfcl.official.scores import figures, read_tallies
from bfcl.serving.ask import seed_of
from looptool.config_file import ROOT

PYTHON = {"v3": ROOT / ".venv-bfcl" / "bin" / "python",
          "v4": ROOT / ".venv-bfcl-v4" / "bin" / "python"}
FULL = bool(os.environ.get("BFCL_FULL"))
STUDENT = ROOT / "grpotool" / "tiny_student" / "checkpoint"
pytestmark = pytest.mark.slow

NEVER_RIGHT = {
    "java_36": "the items of a list of type any are read as text, and the truth holds 42 and True",
    "java_65": "the same",
    "live_multiple_862-181-3": "the truth asks for an argument that the function does not have",
    "live_multiple_964-207-0": "the truth lacks a required argument",
    "live_simple_106-63-0": "the truth has no possible value for a required argument",
    "live_simple_112-68-0": "the same",
}
"""Entries that the official scorer refuses whatever is answered; the same in v3 and v4, where Java
is simple_java."""

versions = pytest.mark.parametrize("version", [
    pytest.param(version, marks=pytest.mark.skipif(
        not python.exists(), reason=f"make it by BFCL={version} bash scripts/09_evaluate_bfcl.sh "
                                    "--help"))
    for version, python in PYTHON.items()])
v3 = pytest.mark.skipif(not PYTHON["v3"].exists(),
                        reason="make it by bash scripts/09_evaluate_bfcl.sh --help")


def data_folder(version: str) -> Path:
    return next(PYTHON[version].parent.parent.glob("lib/python*/site-packages/bfcl_eval/data"))


def command(version: str, out: Path, url: str, *flags: str) -> list[str]:
    return [str(PYTHON[version]), str(ROOT / "bfcl" / "evaluate.py"), "--model", str(STUDENT),
            "--endpoint", url, "--out", str(out), *flags]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TQDM_DISABLE": "1"}


def evaluate(version: str, out: Path, url: str, *flags: str, fails: bool = False) -> str:
    """The output of a run, which ends well, or with exit code 2."""
    done = subprocess.run(command(version, out, url, *flags), env=environment(),
                          capture_output=True, text=True)
    assert done.returncode == (2 if fails else 0), done.stderr
    return done.stderr if fails else done.stdout


def inside(version: str, what: str, folder: Path, *words: str) -> Any:
    done = subprocess.run([str(PYTHON[version]), str(ROOT / "tests" / "bfcl_inside.py"), what,
                           str(folder), *words],
                          env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def refused(out: Path) -> set[str]:
    """Ids that the official scorer found wrong, by their names in v3."""
    lines = (line for path in (out / "score").rglob("*_score.json")
             for line in path.read_text().splitlines()[1:])
    return {json.loads(line)["id"].replace("simple_java_", "java_") for line in lines}


@versions
def test_who_knows_the_answers_is_right_and_who_knows_better_is_wrong(version: str,
                                                                      tmp_path: Path) -> None:
    flags = () if FULL else ("--subset", "2")
    with LocalServer(Oracle(data_folder(version)).reply) as server:
        table = evaluate(version, tmp_path / "right", server.url, *flags)
    right = read_card(tmp_path / "right")
    assert refused(tmp_path / "right") <= NEVER_RIGHT.keys() and len(right.correct) == 17
    assert sum(right.card.counts.values()) - sum(right.correct.values()) == len(
        refused(tmp_path / "right"))
    assert not FULL or refused(tmp_path / "right") == NEVER_RIGHT.keys()
    assert "handler" in table and "temperature" in table
    assert ("paper: LoopTool-8B" in table) == (FULL and version == "v3")
    with LocalServer(Oracle(data_folder(version), wrong=True).reply) as server:
        evaluate(version, tmp_path / "wrong", server.url, *flags)
    wrong = read_card(tmp_path / "wrong")
    assert set(wrong.correct.values()) == {0} and wrong.card.counts == right.card.counts


@versions
def test_nothing_of_the_tasks_is_lost_on_the_way_to_the_model(version: str, tmp_path: Path) -> None:
    found = inside(version, "prompts", tmp_path)
    assert (found["kept"] == {"system": 92, "held_back": 200} and not found["lost"]
            and found["tools"] > 30_000)


@v3
def test_calls_cannot_reach_beyond_the_tools_of_the_benchmark(tmp_path: Path) -> None:
    may, unknown, *beyond = inside("v3", "code", tmp_path)
    assert (may, unknown) == ('cd(folder="a\'b")', "no_such_tool(a=[1, None, True])")
    assert set(beyond) == {"undefined_function()"} and len(beyond) == 5


@v3
def test_tool_match_differs_from_the_official_checker_only_where_it_is_meant_to(
        tmp_path: Path) -> None:
    found = inside("v3", "match", tmp_path, "1" if FULL else "10")
    assert not found["unexplained"] and found["truths"] == (2501 if FULL else 251)
    assert (found["table"]["value: other"]["neither"] > 900
            and set(found["table"]["name"]) == {"neither"})


@versions
@pytest.mark.parametrize("seed", [0, 1])
def test_the_figures_are_those_of_the_official_table(version: str, seed: int,
                                                     tmp_path: Path) -> None:
    counts = {path.stem: len(path.read_text().splitlines())
              for path in data_folder(version).glob("BFCL_v?_*.json")
              if not path.stem.endswith(("format_sensitivity", "memory", "web_search"))}
    if version == "v4":
        counts |= {f"BFCL_v4_{name}": 100 for name in (
            "memory_kv", "memory_vector", "memory_rec_sum", "web_search_base",
            "web_search_no_snippet")}
    draw = random.Random(seed)
    folder = tmp_path / "score" / "LoopTool"
    folder.mkdir(parents=True)
    for name, total in counts.items():
        correct = draw.randint(0, total)
        (folder / f"{name}_score.json").write_text(json.dumps(
            {"accuracy": correct / total, "correct_count": correct, "total_count": total}))
    official = inside(version, "table", tmp_path)
    ours = figures(f"BFCL {version}", read_tallies(folder))
    columns = {"Overall": "Overall Acc", "Live": "Live Acc", "Multi-Turn": "Multi Turn Acc",
               "Relevance": "Relevance Detection", "Irrelevance": "Irrelevance Detection",
               **({"Non-Live AST": "Non-Live AST Acc"} if version == "v3"
                  else {"Non-Live": "Non-Live AST Acc"})}
    assert ours.keys() >= columns.keys()
    assert {name: ours[name] for name in columns} == pytest.approx(
        {name: float(official[column].rstrip("%")) for name, column in columns.items()},
        abs=0.00501)


@v3
def test_only_what_failed_is_asked_again_and_nothing_is_scored_before(tmp_path: Path) -> None:
    def fault(payload: dict, tries: int) -> tuple[int, bytes] | None:
        return (400, b"no such thing") if payload["user"].endswith(("_7", "_10")) else None

    flags = ("--subset", "20", "--categories", "simple", "irrelevance")
    with LocalServer(Oracle(data_folder("v3")).reply, fault=fault) as server:
        told = evaluate("v3", tmp_path, server.url, *flags, fails=True)
        first = Counter(payload["user"] for payload in server.payloads)
        failed = {id for id in first if id.endswith(("_7", "_10"))}
        assert (failed and f"{len(failed)} of 40 entries failed" in told
                and "status 400: no such thing" in told)
        assert (not (tmp_path / "score").exists()
                or not list((tmp_path / "score").rglob("*_score.json")))
        server.fault = lambda payload, tries: None
        server.payloads.clear()
        evaluate("v3", tmp_path, server.url, *flags)
        assert {payload["user"] for payload in server.payloads} == failed
        server.payloads.clear()
        evaluate("v3", tmp_path, server.url, *flags)
        assert "sampling.temperature" in evaluate("v3", tmp_path, server.url, *flags,
                                                  "--temperature", "1", fails=True)
        assert not server.payloads
    assert set(read_card(tmp_path).correct.values()) == {20}


@v3
def test_a_model_that_was_downloaded_meanwhile_is_gone_on_with(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    flags = ("--subset", "2", "--categories", "simple", "--model", "some/one")
    with LocalServer(Oracle(data_folder("v3")).reply,
                     fault=lambda payload, tries: (400, b"no")) as server:
        evaluate("v3", tmp_path / "out", server.url, *flags, fails=True)
        server.fault = lambda payload, tries: None
        reference = tmp_path / "models--some--one" / "refs" / "main"
        reference.parent.mkdir(parents=True)
        reference.write_text("abc")
        evaluate("v3", tmp_path / "out", server.url, *flags)
    assert read_card(tmp_path / "out").card.revision == "commit abc"


@v3
def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    flags = ("--categories", "simple", "--in-flight", "4")
    with LocalServer(Oracle(data_folder("v3")).reply, latency=0.02) as server:
        process = subprocess.Popen(command("v3", tmp_path, server.url, *flags), env=environment(),
                                   stderr=subprocess.DEVNULL)
        while server.count < 150 and process.poll() is None:
            pass
        process.kill()
        process.wait()
        results = tmp_path / "result" / "LoopTool" / "BFCL_v3_simple_result.json"
        with results.open("a") as file:
            file.write('{"id": "simple_399", "result": "half a li')
        done = len(results.read_text().splitlines()) - 1
        assert 0 < done < 400
        server.payloads.clear()
        evaluate("v3", tmp_path, server.url, *flags)
        assert len(server.payloads) == 400 - done
    assert read_card(tmp_path).correct == {"simple": 400}


@versions
def test_a_reply_that_the_context_cuts_is_counted_as_cut(version: str, tmp_path: Path) -> None:
    oracle, category = (Oracle(data_folder(version)), "simple" if version == "v3"
                        else "simple_python")

    def fault(payload: dict, tries: int) -> tuple[int, bytes] | None:
        return (400, b"maximum context length is 2048") if payload["max_tokens"] > 1024 else None

    def answer(payload: dict) -> dict:
        reply = oracle.reply(payload)
        if payload["user"].startswith("simple"):
            reply["choices"][0]["finish_reason"] = "length"
        elif len([message for message in payload["messages"]
                  if message["role"] == "assistant"]) == 1:
            reply["choices"][0]["finish_reason"] = "length"
        return reply

    with LocalServer(answer, fault=fault) as server:
        evaluate(version, tmp_path, server.url, "--subset", "2", "--categories", category,
                 "irrelevance", "multi_turn_base")
    assert read_card(tmp_path).card.errors.counts == {"cut": 4}


@versions
def test_each_draw_is_asked_and_scored_by_itself(version: str, tmp_path: Path) -> None:
    knows, errs = (Oracle(data_folder(version), wrong=wrong).reply for wrong in (False, True))
    simple = "simple" if version == "v3" else "simple_python"

    def reply(payload: dict[str, Any]) -> dict[str, Any]:
        return (errs if payload.get("seed") == seed_of(payload["user"], 2) else knows)(payload)

    flags = ("--subset", "2", "--temperature", "0.7", "--categories", "multi_turn_base",
             "irrelevance", simple)
    with LocalServer(reply) as server:
        evaluate(version, tmp_path, server.url, *flags)
        one, once = read_card(tmp_path), server.count
        assert set(one.correct.values()) == {2} and not one.draws
        assert not any("seed" in payload for payload in server.payloads)
        told = evaluate(version, tmp_path, server.url, *flags, "--repeats", "3")
        assert all("seed" in payload for payload in server.payloads[once:])  # no first draw again
        asked = server.count
        assert evaluate(version, tmp_path, server.url, *flags, "--repeats", "3") == told
        assert server.count == asked
    card = read_card(tmp_path)
    assert card.correct == one.correct and card.card.draws == 3
    assert [set(draw.values()) for draw in card.draws] == [{2}, {0}, {2}]
    assert "1.3 of     2   66.7%" in told and "3 draws of each" in told and "avg@3" in told


@v3
def test_no_server_and_no_such_category_are_errors_that_say_what_to_do(tmp_path: Path) -> None:
    told = evaluate("v3", tmp_path, "http://127.0.0.1:9/v1", "--subset", "1", fails=True)
    assert "start a server" in told and "--endpoint" in told
    told = evaluate("v3", tmp_path, "http://127.0.0.1:9/v1", "--categories", "simple_python",
                    fails=True)
    assert "--categories simple_python: v3 has simple, " in told


@v3
def test_the_system_text_is_ours_or_a_files_or_the_chat_templates(tmp_path: Path) -> None:
    (tmp_path / "own.md").write_text("Compose calls. Now: {{date}}.\n{{tools}}")
    flags = ("--subset", "1", "--categories", "simple", "--prompt")
    oracle, tokens = Oracle(data_folder("v3")), {True: 50, False: 7}

    def reply(payload: dict[str, Any]) -> dict[str, Any]:
        said = oracle.reply(payload)
        said["usage"]["prompt_tokens"] = tokens["tools" in payload]
        return said

    with LocalServer(reply) as server:
        for prompt in ("full", str(tmp_path / "own.md"), "native"):
            evaluate("v3", tmp_path / Path(prompt).stem, server.url, *flags, prompt)
            assert read_card(tmp_path / Path(prompt).stem).card.prompt.startswith(
                f"{Path(prompt).name} ")
        ours, own, _, _, native = server.payloads
        tokens[True] = 7
        assert "shows no tools" in evaluate("v3", tmp_path / "hidden", server.url, *flags, "native",
                                            fails=True)
        assert "one that --help names" in evaluate("v3", tmp_path / "bad", server.url, *flags,
                                                   "fulll", fails=True)
    assert ours["messages"][0]["content"].startswith("You solve") and "tools" not in ours
    assert own["messages"][0]["content"].startswith('Compose calls. Now: unknown.\n{"name": ')
    assert [message["role"] for message in native["messages"]] == ["user"]
    assert (native["tools"][0]["function"]["parameters"]["type"] == "object"
            and native["tool_choice"] == "none")


@v3
def test_the_base_model_is_measured_by_the_same_command(tmp_path: Path) -> None:
    with LocalServer(Oracle(data_folder("v3")).reply) as ours, LocalServer(
            Oracle(data_folder("v3"), wrong=True).reply) as base:
        told = evaluate("v3", tmp_path / "ours", ours.url, "--subset", "1", "--base",
                        "--base-endpoint", base.url, "--set", f"run_dir={tmp_path / 'run'}")
    row = next(line for line in told.splitlines() if line.startswith("difference"))
    assert row.split()[1] == "+100.00" and "BEWARE" not in told
    assert read_card(tmp_path / "run" / "round_0" / "bfcl_v3_subset").scores["Overall"] == 0
    assert (tmp_path / "ours" / "table.txt").read_text() == told
    own = tmp_path / "run" / "round_0" / "bfcl_v3_subset"
    assert "--base: is the model that is measured" in evaluate(
        "v3", own, ours.url, "--subset", "1", "--base", "--set", f"run_dir={tmp_path / 'run'}",
        fails=True)
