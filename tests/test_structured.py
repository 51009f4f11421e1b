"""Structured replies and limits of tokens against servers that keep to schemas, half keep to them,
refuse them, run on without end, and cut."""
from __future__ import annotations

import asyncio
import json
import time
from collections import Counter

import jsonschema
import msgspec
import pytest
from local_server import LocalServer, client_config, completion, user
from scripted import TOOLS, call

from dataloop.expanding.generate import CANDIDATE, read_candidate
from dataloop.verifying.judge import JUDGEMENT, Judgement
from dialog_generation import agents, run
from dialog_generation.replies import plan_form, read_plan, read_result
from dialog_generation.scene import ToolPool
from dialog_generation.tool_making.designer import DESIGN
from dialog_generation.tool_making.dual_tree import Written
from dialog_generation.verification import check_dialogs
from looptool.calling.json_in_text import read_object
from looptool.config import Config, Dialogs, MaxTokens, Simulation, Student, Teacher
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.json_lines import write_jsonl
from looptool.judging.checker import ACCEPTS, Accepts
from looptool.models.client import Client
from looptool.models.completion import CallFailed
from looptool.models.sampling import Sampling
from looptool.models.structured_outputs import ANY_OBJECT, PROBE, TEXT, Form, closed, one_of
from looptool.run_files import RunFiles
from looptool.simulation.teacher import Teacher as SimulatedTeacher
from looptool.simulation.world.catalogue import catalogue

VOTE = Form("vote", closed(better=one_of("1", "2")))
RESULT = Form("result", ANY_OBJECT, strict=False)
PROSE = "The first one is better."
REPLIES = {"probe": '{"word": "heron-47"}', "vote": '{"better": "1"}', "result": '{"rows": 3}'}


def form_of(payload: dict) -> str:
    free = "thinks?" if payload["messages"][0]["content"].startswith("# Role: probe") else "free"
    return payload.get("response_format", {}).get("json_schema", {}).get("name", free)


def keeps(*names: str):
    """A server that keeps replies to the schemas of these names, and leaves others aside."""
    def answer(payload):
        name = form_of(payload)
        return completion(REPLIES[name] if name in names else PROSE)
    return answer


def refuses(*names: str):
    """Status 400 for schemas of these names."""
    return lambda payload, tries: (
        (400, b'{"error": "no such schema"}') if form_of(payload) in names else None
    )


def asked(tmp_path, server, forms, texts=("q",), role="judge", others=(), **teacher):
    """The replies to each text under each form, and the role's account."""
    async def run():
        config = client_config(server.url, *(other.url for other in others), **teacher)
        async with Client.from_config(config, tmp_path / "answers.sqlite") as client:
            client.backoff_seconds = 0.01
            replies = await asyncio.gather(*(
                client.ask(role, user(text), Sampling(temperature=0.6, form=form))
                for text in texts for form in forms))
            return replies, client.usage[role]

    return asyncio.run(run())


ASKED = {"probe": 1, "thinks?": 1}
ALL, NONE = ("probe", "vote", "result"), ()
SERVERS = {
    "keeps to schemas": (ALL, NONE, ASKED | {"vote": 1, "result": 1}, 0, ""),
    "leaves them aside": (NONE, NONE, {"probe": 1, "free": 2}, 2, "and does not keep to it"),
    "refuses them": (NONE, ALL, {"probe": 1, "free": 2}, 2, "refuses response_format"),
    "refuses some": (ALL, ("result",), ASKED | {"vote": 1, "result": 1, "free": 1}, 1,
                     "refuses the schema of result"),
    "keeps to some": (("probe", "vote"), NONE, ASKED | {"vote": 1, "result": 1}, 1,
                      "does not keep to the schema of result"),
}
"""By name: schemas kept to, schemas refused, requests by schema, unstructured answers, the log."""


@pytest.mark.parametrize("name", SERVERS)
def test_auto_asks_once_and_sends_what_the_server_can(tmp_path, caplog, name):
    kept, refused, requests, unstructured, said = SERVERS[name]
    with LocalServer(keeps(*kept), fault=refuses(*refused)) as server:
        replies, usage = asked(tmp_path, server, [VOTE, RESULT])
    assert Counter(map(form_of, server.payloads)) == requests
    assert [reply.text == REPLIES[form.name] for reply, form in zip(replies, (VOTE, RESULT))] == [
        form.name in kept and form.name not in refused for form in (VOTE, RESULT)]
    assert (usage.calls, usage.failed, usage.unstructured) == (2, 0, unstructured)
    assert [said in message for message in caplog.messages] == ([True] if said else [])


def test_a_refused_schema_is_not_sent_again(tmp_path, caplog):
    with LocalServer(keeps(*ALL), fault=refuses("result")) as server:
        _, usage = asked(tmp_path, server, [RESULT], "abc", in_flight=1)
    assert Counter(map(form_of, server.payloads)) == ASKED | {"result": 1, "free": 3}
    assert usage.unstructured == usage.calls == 3 and len(caplog.messages) == 1


@pytest.mark.parametrize("name", SERVERS)
def test_on_refuses_what_auto_makes_do_with(tmp_path, name):
    kept, refused, *_ = SERVERS[name]
    with LocalServer(keeps(*kept), fault=refuses(*refused)) as server:
        def use():
            return asked(tmp_path, server, [RESULT], structured="on")
        if "probe" not in kept:
            with pytest.raises(InputError, match="is on, but http.* response_format.*; set it to"):
                use()
        elif refused:
            with pytest.raises(CallFailed, match="400, refused: .*no such schema"):
                use()
        else:
            assert use()[1].unstructured == ("result" not in kept)
    assert "free" not in map(form_of, server.payloads)


@pytest.mark.parametrize("mode, with_parser, sent", [
    ("auto", True, "vote"), ("auto", False, "free"), ("on", False, "vote")])
def test_a_schema_costs_no_model_its_thinking(tmp_path, caplog, mode, with_parser, sent):
    def answer(payload):
        """A model that thinks; by a schema only where the server knows its thinking apart."""
        name = form_of(payload)
        if name in REPLIES:
            return completion(REPLIES[name], reasoning_content="hm" if with_parser else None)
        return completion(f"<think>hm</think>{PROSE}")

    with LocalServer(answer) as server:
        asked(tmp_path, server, [VOTE], structured=mode)
    asks = ["probe"] if with_parser else ["probe", "thinks?"]
    assert [*map(form_of, server.payloads)] == [*asks, sent]
    assert ["--reasoning-parser" in message for message in caplog.messages] == (
        [] if with_parser else [True])


def test_many_calls_at_once_ask_the_server_once_and_wait_for_its_answer(tmp_path):
    with LocalServer(keeps(*ALL), latency=0.05) as server:
        _, usage = asked(tmp_path, server, [VOTE], map(str, range(40)), in_flight=8)
    assert Counter(map(form_of, server.payloads)) == ASKED | {"vote": 40}
    assert form_of(server.payloads[0]) == "probe" and server.most_at_work == 8
    assert usage.unstructured == 0


def test_a_server_that_fails_while_it_is_asked_is_asked_again(tmp_path):
    with LocalServer(
        keeps(*ALL),
        fault=lambda payload, tries: "503" if form_of(payload) == "probe" and not tries else None,
    ) as server:
        _, usage = asked(tmp_path, server, [VOTE])
    assert Counter(map(form_of, server.payloads)) == {"probe": 2, "thinks?": 1, "vote": 1}
    assert (usage.calls, usage.failed_tries, usage.unstructured) == (1, 1, 0)


def test_servers_side_by_side_are_each_asked_what_they_can(tmp_path):
    with (
        LocalServer(keeps(*ALL), latency=0.02) as able,
        LocalServer(keeps(), latency=0.02) as other,
    ):
        replies, usage = asked(tmp_path, able, [VOTE], map(str, range(40)), others=[other])
    formed, free = Counter(map(form_of, able.payloads)), Counter(map(form_of, other.payloads))
    assert formed["probe"] == free["probe"] == 1 and formed["free"] == free["vote"] == 0
    assert formed["thinks?"] == 1 and free["thinks?"] == 0
    assert formed["vote"] + free["free"] == 40 and min(formed["vote"], free["free"]) > 5
    assert usage.unstructured == free["free"] == sum(reply.text == PROSE for reply in replies)


def test_a_refusal_for_another_reason_is_not_laid_on_the_schema(tmp_path):
    too_long = (400, b'{"error": "This is longer than I read"}')
    with LocalServer(
        keeps(*ALL), fault=lambda payload, tries: too_long if "long" in str(payload) else None
    ) as server:
        with pytest.raises(CallFailed, match="longer than I read"):
            asked(tmp_path, server, [VOTE], texts=["long"])
        _, usage = asked(tmp_path, server, [VOTE], texts=["q"])
    assert usage.unstructured == 0 and [form_of(payload) for payload in server.payloads] == [
        "probe", "thinks?", "vote", "free", "probe", "thinks?", "vote"]


# Requests as before, and their answers


NO_LIMITS = MaxTokens(**{role: 0 for role in msgspec.structs.asdict(MaxTokens())})
BEFORE = {"model": "m", "messages": user("q"), "temperature": 0.6, "seed": 0}


def test_without_schemas_and_limits_requests_are_what_they_were(tmp_path):
    with LocalServer(keeps(*ALL)) as server:
        asked(tmp_path, server, [VOTE], structured="off", max_tokens=NO_LIMITS)
        asked(tmp_path, server, [None], ["other"], max_tokens=NO_LIMITS)
    assert server.payloads == [BEFORE, BEFORE | {"messages": user("other")}]


@pytest.mark.parametrize(
    "change, kept",
    [
        ({"structured": "off"}, True),
        ({"structured": "auto"}, True),
        ({"structured": "auto", "max_tokens": MaxTokens()}, True),
        ({"structured": "off", "max_tokens": MaxTokens(judge=3)}, True),
        ({"structured": "off", "max_tokens": MaxTokens(judge=2)}, False),
        ({"structured": "on"}, False),
    ],
)
def test_answers_from_before_stay_valid(tmp_path, change, kept):
    with LocalServer(keeps(*ALL)) as server:
        before, _ = asked(tmp_path, server, [VOTE], structured="off", max_tokens=NO_LIMITS)
        asks = server.count
        again, usage = asked(tmp_path, server, [VOTE], **{"max_tokens": NO_LIMITS} | change)
    assert (server.count == asks) == kept == (usage.cached == 1) and (again == before or not kept)


def test_the_schema_is_part_of_the_key(tmp_path):
    other = Form("vote", closed(better=one_of("1")))
    with LocalServer(keeps(*ALL)) as server:
        for form in (VOTE, other, VOTE):
            asked(tmp_path, server, [form])
    assert Counter(map(form_of, server.payloads)) == {"probe": 2, "thinks?": 2, "vote": 2}


def test_properties_go_out_in_the_order_of_the_form(tmp_path):
    late = Form("vote", closed(why=TEXT, better=one_of("1")))
    with LocalServer(keeps(*ALL)) as server:
        for form in (late, VOTE, Form("vote", closed(better=one_of("1"), why=TEXT))):
            asked(tmp_path, server, [form])
    sent = [list(payload["response_format"]["json_schema"]["schema"]["properties"])
            for payload in server.payloads if form_of(payload) == "vote"]
    assert sent == [["why", "better"], ["better"], ["better", "why"]]


# Limits


def runs_on(payload):
    """A reply without end: cut at the limit that is asked for."""
    return completion("again " * 9, "length")


def endless(payload, tries):
    return None if "max_tokens" in payload else "hang"


@pytest.mark.parametrize("role", msgspec.structs.asdict(MaxTokens()))
def test_every_role_has_a_limit_and_a_reply_that_runs_on_ends_there(tmp_path, role):
    limits = MaxTokens(**{role: 77})
    with LocalServer(runs_on, fault=endless) as server:
        [reply], usage = asked(tmp_path, server, [None], role=role, max_tokens=limits)
    assert server.payloads == [BEFORE | {"max_tokens": 77}] and reply.finish == "length"
    assert (usage.calls, usage.cut, usage.failed_tries, usage.unstructured) == (1, 1, 0, 0)
    assert all(limit >= 1024 for limit in msgspec.structs.asdict(MaxTokens()).values())


def test_a_callers_own_limit_wins(tmp_path):
    async def run(server):
        config = client_config(server.url)
        async with Client.from_config(config, tmp_path / "answers.sqlite") as client:
            await client.ask("judge", user("q"), Sampling(max_tokens=5))

    with LocalServer() as server:
        asyncio.run(run(server))
    assert server.payloads[0]["max_tokens"] == 5


def test_a_cut_answer_is_kept_for_its_limit_only(tmp_path):
    with LocalServer(runs_on) as server:
        counts = []
        for limit in (64, 64, 128, 64, 128):
            _, usage = asked(tmp_path, server, [None], max_tokens=MaxTokens(judge=limit))
            counts.append((usage.cut, server.count))
    assert counts == [(1, 1), (1, 1), (1, 2), (1, 2), (1, 2)]


def test_a_reply_without_end_and_limit_is_tried_twice_at_full_length(tmp_path):
    with (
        LocalServer(fault=endless) as server,
        pytest.raises(CallFailed, match="no answer in 2 tries; last: no response"),
    ):
        begun = time.monotonic()
        asked(tmp_path, server, [None], max_tokens=NO_LIMITS, timeout_seconds=0.5)
    assert server.count == 2 and time.monotonic() - begun < 3


def test_slow_steps_of_one_try_are_no_timeout(tmp_path):
    """The look at what the server does with schemas, two requests, and none takes all the time."""
    with (
        LocalServer(keeps(*ALL), fault=lambda payload, _: (
            "503" if form_of(payload) == "thinks?" else None), latency=0.3) as server,
        pytest.raises(CallFailed, match="no answer in 5 tries; last: status 503"),
    ):
        asked(tmp_path, server, [VOTE], timeout_seconds=0.5)


def test_a_server_that_is_down_at_once_still_has_all_tries(tmp_path):
    with (
        LocalServer(fault=lambda *_: "503") as server,
        pytest.raises(CallFailed, match="no answer in 5 tries"),
    ):
        asked(tmp_path, server, [None])
    assert server.count == 5


def test_where_the_context_is_too_short_for_the_limit_it_is_the_limit(tmp_path):
    words = (
        b"{\"message\": \"'max_tokens' is too large: 4096. "
        b"This model's maximum context length is 2048 tokens\"}"
    )
    with LocalServer(
        runs_on, fault=lambda payload, tries: (400, words) if "max_tokens" in payload else None
    ) as server:
        [reply], usage = asked(tmp_path, server, [None])
        asked(tmp_path, server, [None])
    assert ["max_tokens" in payload for payload in server.payloads] == [True, False]
    assert reply.finish == "length" and usage.cut == 1


# Forms


@pytest.mark.parametrize(
    "text, fits",
    [
        ('{"better": "1"}', True),
        (' {"better":\n"2"} ', True),
        ('{"better": "3"}', False),
        ('{"better": "1", "a": 1}', False),
        ('```json\n{"better": "1"}\n```', False),
        ("", False),
        ("{}", False),
        ('[{"better": "1"}]', False),
        ("\ud800", False),
    ],
)
def test_what_fits_a_form(text, fits):
    assert VOTE.fits(text) is fits


CALL = {"name": "getMenu", "arguments": {"restaurant": "A"}}
NEED = {"kind": "parallel", "tools": ["getMenu", "getMenu"], "text": "compares"}
CHAT = {"kind": "chat", "tools": [], "text": "thanks"}
LINES = [
    {"role": "user", "content": "Menu?"},
    {"role": "assistant", "content": "", "calls": [CALL]},
]
DESIGNED = {
    "name": "find",
    "description": "d",
    "parameters": {"type": "object"},
    "returns": {"type": "string", "description": "e"},
}
FORMS = [
    (
        plan_form(2, TOOLS, True),
        {"plan": [NEED, CHAT]},
        [
            {"plan": [NEED]},
            {"plan": [NEED, CHAT | {"tools": ["getMenu"]}]},
            {"plan": [NEED | {"tools": ["cook"]}, CHAT]},
            {"plan": [NEED | {"tools": []}, CHAT]},
        ],
        lambda text: read_plan(text, TOOLS),
    ),
    (
        plan_form(1, TOOLS, False),
        {"plan": [NEED]},
        [{"plan": [CHAT]}, {"plan": []}],
        lambda text: read_plan(text, TOOLS, False),
    ),
    (
        agents.RESULT,
        {"menu": ["soup", {"price": 3}]},
        [[], "soup"],
        lambda text: read_result(text, call("getMenu")),
    ),
    (
        JUDGEMENT,
        {"analysis": "a", "approach": "b", "better": "both"},
        [{"analysis": "a", "approach": "b", "better": "3"}, {"better": "1"}],
        lambda text: read_object(text, Judgement),
    ),
    (
        ACCEPTS,
        {"analysis": "a", "correct": True},
        [{"analysis": "a", "correct": "true"}],
        lambda text: read_object(text, Accepts),
    ),
    (
        CANDIDATE,
        {"conversation": LINES[:1], "answer": LINES[1]},
        [
            {"conversation": [], "answer": LINES[1]},
            {"conversation": LINES[:1], "answer": {"role": "assistant"}},
        ],
        read_candidate,
    ),
    (
        DESIGN,
        DESIGNED,
        [DESIGNED | {"parameters": "none"}],
        lambda text: read_object(text, Written),
    ),
]


@pytest.mark.parametrize(
    "form, right, wrong, read", FORMS, ids=lambda part: getattr(part, "name", "")
)
def test_what_keeps_to_a_form_is_read(form, right, wrong, read):
    text = json.dumps(right)
    assert form.fits(text) and read(text)
    assert not any(form.fits(json.dumps(value)) for value in wrong)


def objects_in(schema):
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects_in(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from objects_in(part)


@pytest.mark.parametrize("form", [PROBE, *(form for form, *_ in FORMS)], ids=lambda form: form.name)
def test_a_form_is_a_schema_and_a_strict_one_is_closed(form):
    jsonschema.Draft202012Validator.check_schema(form.schema)
    objects = list(objects_in(form.schema))
    closed_ones = [item for item in objects if item["additionalProperties"] is False
                   and item["required"] == list(item.get("properties", {}))]
    assert form.strict == (len(closed_ones) == len(objects)) and objects


# The simulated teacher answers both ways, in this process and over HTTP


def crawl_config(folder, structured, base_url):
    return Config(
        run_dir=str(folder), student=Student(model=""), simulation=Simulation(malformed=0.2),
        dialogs=Dialogs(count=8, tools_per_dialog=(2, 4), messages=(4, 10)),
        teacher=Teacher(base_urls=[base_url], models=["m"], structured=structured))


def pool_of(config):
    """The tools of the simulated world, and their file."""
    files = RunFiles(config)
    write_jsonl(files.tools, catalogue("train"))
    return ToolPool(catalogue("train")), [files.tools]


def crawled(folder, structured, base_url):
    config = crawl_config(folder, structured, base_url)
    dialogs, checked = RunFiles(config).dialogs, folder / "checks.jsonl"
    meta = asyncio.run(run.crawl(config, *pool_of(config), dialogs))
    checks = asyncio.run(check_dialogs(config, dialogs, checked))
    assert not meta.failed and not checks.failed
    return dialogs.read_bytes(), checked.read_bytes(), meta.usage, checks.usage


@pytest.mark.parametrize("over_http", [False, True])
def test_the_simulated_teacher_says_the_same_with_schemas_and_without(tmp_path, over_http):
    teacher = SimulatedTeacher(Simulation(malformed=0.2))
    with LocalServer(teacher.complete) as server:
        url = server.url if over_http else "simulated"
        free, formed = (crawled(tmp_path / mode, mode, url) for mode in ("off", "on"))
        forms = Counter(map(form_of, server.payloads))
    assert free[0] == formed[0] and free[0].count(b"\n") > 4
    # half an object is unjudged in the one, a cut reply in the other
    assert free[1].count(b"pass") == formed[1].count(b"pass") > 4
    assert formed[3]["checker"].cut > 0 == free[3]["checker"].cut
    assert formed[3]["checker"].unstructured == 0
    if over_http:
        assert min(forms["plan"], forms["result"], forms["check"]) >= 8 and forms["probe"] == 2


def test_a_planner_that_runs_on_costs_its_dialog_and_is_counted(tmp_path):
    teacher = SimulatedTeacher(Simulation())

    def answer(payload):
        planner = payload["messages"][0]["content"].startswith("# Role: planner")
        return runs_on(payload) if planner else teacher.complete(payload)

    with LocalServer(answer, fault=endless) as server:
        config = crawl_config(tmp_path, "auto", server.url)
        meta = asyncio.run(run.crawl(config, *pool_of(config), RunFiles(config).dialogs))
    assert meta.counts == {"abandoned_planner_cut": 8} and meta.records == meta.failed == 0
    tries = 8 * (1 + config.dialogs.max_bad_turns)
    assert meta.usage["planner"].cut == meta.usage["planner"].calls == tries
    assert f"; 0 records, {tries} cut, " in meta.line()


@pytest.mark.parametrize("word", ["auto", "on", "off"])
def test_on_and_off_are_words_in_a_config(word):
    config = load_config(ROOT / "configs" / "laptop.yaml", [f"teacher.structured={word}"])
    assert config.teacher.structured == word
    plan = load_config(ROOT / "configs" / "laptop.yaml",
                       ["dialogs.plan=False", "dialogs.chat=true"])
    assert (plan.dialogs.plan, plan.dialogs.chat) == (False, True)
