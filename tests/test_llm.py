"""The client against real servers on this machine: answers, cache, retries, refusals, load,
accounts."""
import asyncio
import logging
import socket
import subprocess
import sys
import time

import httpx2
import msgspec
import openai
import pytest
from aiohttp import web

from local_server import FAULTS, LocalServer, client_config, completion, user
from looptool.errors import InputError
from looptool.models.client import Client
from looptool.models.completion import CallFailed, Reply, Transient, read_completion
from looptool.models.sampling import Sampling
from looptool.simulation.server import InProcess, make_app

SAMPLING = Sampling(temperature=0.6)


def with_client(tmp_path, config, use, **kwargs):
    """Run `use(client)` with a client whose pauses are short."""
    async def run():
        async with Client.from_config(config, tmp_path / "answers.sqlite", **kwargs) as client:
            client.backoff_seconds = 0.01
            return await use(client)

    return asyncio.run(run())


def ask_all(*texts, role="judge", **kwargs):
    async def use(client):
        replies = await asyncio.gather(
            *(client.ask(role, user(text), SAMPLING, **kwargs) for text in texts))
        return replies, client.usage[role]

    return use


READ = [
    (completion("plain"), Reply(text="plain")),
    (completion("<think>\nwhy\n</think>\n\nanswer"), Reply(text="answer", reasoning="why")),
    (completion("why\n</think>\n\nanswer"), Reply(text="answer", reasoning="why")),
    (completion("<think>cut", "length"), Reply(text="", reasoning="cut", finish="length")),
    (completion("a < b, a <think> b"), Reply(text="a < b, a <think> b")),
    (completion("answer", reasoning_content="why"), Reply(text="answer", reasoning="why")),
    (completion("say </think>", reasoning="why"), Reply(text="say </think>", reasoning="why")),
    (completion(None, "length", reasoning_content="cut"),
     Reply(text="", reasoning="cut", finish="length")),
    (completion(None), Reply(text="")),
]


@pytest.mark.parametrize("body, expected", READ)
def test_reply_is_read_from_text_and_from_fields(body, expected):
    assert read_completion(msgspec.json.encode(body)) == msgspec.structs.replace(
        expected, prompt_tokens=7, completion_tokens=3)


def test_reply_holds_tool_calls():
    body = completion(None, "tool_calls", tool_calls=[
        {"id": "1", "type": "function", "function": {"name": "find", "arguments": '{"x": 1}'}}])
    reply = read_completion(msgspec.json.encode(body))
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [("find", '{"x": 1}')]
    assert reply.finish == "tool_calls"


def test_answer_without_content_is_no_answer():
    with pytest.raises(Transient):
        read_completion(b'{"choices": [{"message": {}}]}')


def test_request_holds_the_sampling(tmp_path):
    sampling = Sampling(temperature=1.0, top_p=0.9, presence_penalty=1.2, max_tokens=8,
                        thinking=False, extra={"top_k": -1})
    with LocalServer() as server:
        with_client(tmp_path, client_config(server.url), lambda client: client.ask(
            "judge", user("q"), sampling, draw=3,
            tools=[{"type": "function", "function": {"name": "f"}}]))
    assert server.payloads == [{
        "model": "m", "messages": user("q"), "temperature": 1.0, "top_p": 0.9,
        "presence_penalty": 1.2, "max_tokens": 8,
        "chat_template_kwargs": {"enable_thinking": False}, "top_k": -1, "seed": 3,
        "tools": [{"type": "function", "function": {"name": "f"}}]}]


ASK = {"role": "judge", "messages": user("q"), "sampling": SAMPLING}
OTHER_KEY = [{"model": "n"}, {"messages": user("r")}, {"sampling": Sampling(temperature=0.7)},
             {"draw": 1}, {"tools": [{"type": "function"}]},
             {"sampling": Sampling(temperature=0.6, thinking=True)},
             {"sampling": Sampling(temperature=0.6, extra={"top_k": -1})}]


@pytest.mark.parametrize("change", [*OTHER_KEY, {"role": "user"}, {"draw": 0}, {"model": "m"}])
def test_cache_key_is_what_changes_the_answer(tmp_path, change):
    async def use(client):
        await client.ask(**ASK)
        await client.ask(**{**ASK, **change})

    with LocalServer() as server:
        with_client(tmp_path, client_config(server.url), use)
        assert server.count == (2 if change in OTHER_KEY else 1)


def test_answers_outlive_process_endpoint_and_timeout(tmp_path):
    with LocalServer() as server:
        first, _ = with_client(tmp_path, client_config(server.url), ask_all("a", "b"))
    gone = client_config("http://127.0.0.1:9/v1", timeout_seconds=1, tries=1)
    again, usage = with_client(tmp_path, gone, ask_all("a", "b"))
    assert again == first and [reply.text for reply in first] == ["echo a", "echo b"]
    assert (usage.calls, usage.cached, usage.prompt_tokens) == (2, 2, 0)


def test_cached_answer_waits_for_no_slot(tmp_path):
    async def use(client):
        await client.ask("judge", user("known"), SAMPLING)
        stuck = asyncio.create_task(client.ask("judge", user("stuck"), SAMPLING))
        await asyncio.sleep(0.1)
        await asyncio.wait_for(client.ask("judge", user("known"), SAMPLING), 5)
        stuck.cancel()

    with LocalServer(fault=lambda payload, _: "hang" if "stuck" in str(payload)
                     else None) as server:
        with_client(tmp_path, client_config(server.url, in_flight=1), use)


def test_equal_calls_in_flight_are_paid_once(tmp_path):
    with LocalServer(latency=0.05) as server:
        replies, usage = with_client(tmp_path, client_config(server.url), ask_all(*["q"] * 10))
    assert server.count == 1 and {reply.text for reply in replies} == {"echo q"}
    assert (usage.calls, usage.cached, usage.completion_tokens) == (10, 9, 3)


def test_cancelled_payer_leaves_the_call_to_another(tmp_path):
    async def use(client):
        payer, other = (asyncio.create_task(client.ask("judge", user("q"), SAMPLING))
                        for _ in range(2))
        await asyncio.sleep(0.05)
        payer.cancel()
        return await other

    with LocalServer(latency=0.1) as server:
        assert with_client(tmp_path, client_config(server.url), use).text == "echo q"


def test_failure_is_shared_too(tmp_path):
    async def use(client):
        return await asyncio.gather(*(client.ask("judge", user("q"), SAMPLING) for _ in range(5)),
                                    return_exceptions=True), client.usage["judge"]

    with LocalServer(fault=lambda *_: "500", latency=0.02) as server:
        results, usage = with_client(tmp_path, client_config(server.url, tries=3), use)
    assert (all(isinstance(result, CallFailed) for result in results)
            and "status 500" in str(results[0]))
    assert server.count == 3 and (usage.calls, usage.failed, usage.failed_tries) == (0, 5, 3)


@pytest.mark.parametrize("fault", FAULTS)
def test_transient_error_is_tried_again(tmp_path, fault):
    with LocalServer(fault=lambda _, tries: fault if tries == 0 else None) as server:
        config = client_config(server.url, timeout_seconds=0.3 if fault == "hang" else 60)
        [reply], usage = with_client(tmp_path, config, ask_all("q"))
    assert reply.text == "echo q" and (usage.calls, usage.failed) == (1, 0)
    # a busy machine may be late too
    assert usage.failed_tries == 1 or fault == "hang" and usage.failed_tries >= 1


def test_dead_server_is_a_failed_call(tmp_path):
    with pytest.raises(CallFailed, match="2 tries.*ConnectionRefusedError"):
        with_client(tmp_path, client_config("http://127.0.0.1:9/v1", tries=2), ask_all("q"))


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that the client has slept."""
    seen, sleep = [], asyncio.sleep

    async def noted(seconds):
        if seconds:
            seen.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(asyncio, "sleep", noted)
    return seen


def test_retry_after_is_respected(tmp_path, pauses):
    with LocalServer(fault=lambda _, tries: "429_retry_after" if tries < 3 else None) as server:
        with_client(tmp_path, client_config(server.url), ask_all("q"))
    assert pauses == [0.05] * 3  # the backoff alone would be at most 0.01, 0.02 and 0.04


def test_pauses_double_and_are_jittered(tmp_path, pauses):
    with LocalServer(fault=lambda _, tries: "500" if tries < 4 else None) as server:
        with_client(tmp_path, client_config(server.url), ask_all("q", "r"))
    assert len(pauses) == len(set(pauses)) == 8
    for number, pause in enumerate(sorted(pauses)):
        assert 0.5 <= pause / (0.01 * 2 ** (number // 2)) <= 1


@pytest.mark.parametrize("status", [401, 403, 404])
def test_what_the_user_must_mend_is_an_input_error_at_once(tmp_path, status):
    with LocalServer(fault=lambda *_: (status, b'{"error": {"message": "no model m, key '
                                               b'sk-secret"}}')) as server:
        with pytest.raises(InputError, match="OPENAI_API_KEY" if status < 404
                           else "teacher.models"):
            with_client(tmp_path, client_config(server.url), ask_all("q"))
    assert server.count == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_refused_request_fails_at_once(tmp_path, status):
    with LocalServer(fault=lambda
                     *_: (status, b'{"error": {"message": "context too long"}}')) as server:
        with pytest.raises(CallFailed, match=f"{status}.*context too long"):
            with_client(tmp_path, client_config(server.url), ask_all("q"))
    assert server.count == 1


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_key_is_sent_and_never_shown(tmp_path, status, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    caplog.set_level(logging.DEBUG)
    with LocalServer(fault=lambda *_: (status, b'{"error": "you sent sk-secret"}')) as server:
        with pytest.raises((CallFailed, InputError)) as error:
            with_client(tmp_path, client_config(server.url, tries=1), ask_all("q"))
    assert server.headers[0]["Authorization"] == "Bearer sk-secret"
    assert "sk-secret" not in str(error.value) and "sk-secret" not in caplog.text
    assert b"sk-secret" not in (tmp_path / "answers.sqlite").read_bytes()


def test_load_goes_where_fewest_are_in_flight(tmp_path):
    with LocalServer() as fast, LocalServer(hold=lambda _: fast.count < 36) as slow:
        with_client(tmp_path, client_config(slow.url, fast.url, in_flight=8),
                    ask_all(*map(str, range(40))))
        assert (slow.count, fast.count) == (4, 36)


def test_broken_server_draws_no_load(tmp_path):
    with LocalServer(latency=0.02) as good, LocalServer(fault=lambda *_: "500") as broken:
        replies, usage = with_client(tmp_path, client_config(broken.url, good.url, in_flight=8),
                                     ask_all(*map(str, range(100))))
    assert len(replies) == 100 and usage.failed == 0 and usage.failed_tries == broken.count <= 16


def test_model_is_asked_where_it_is_served(tmp_path):
    with LocalServer() as one, LocalServer(fault=lambda *_: (404, b"no such model")) as other:
        replies, usage = with_client(tmp_path, client_config(other.url, one.url, in_flight=2),
                                     ask_all(*map(str, range(20))))
    assert len(replies) == 20 and one.count == 20 and other.count <= 2 and usage.failed_tries == 0


def test_in_flight_is_bounded_and_reached(tmp_path):
    with LocalServer(hold=lambda server: server.most_at_work < 150) as server:
        with_client(tmp_path, client_config(server.url, in_flight=150),
                    ask_all(*map(str, range(200))))
        assert server.most_at_work == 150


def test_accounts_by_role(tmp_path):
    async def use(client):
        for role, draws in (("judge", 3), ("user", 1)):
            for draw in range(draws):
                await client.ask(role, user("q"), SAMPLING, draw=draw)
        return dict(client.usage)

    with LocalServer() as server:
        prices = {"dollars_per_million_prompt_tokens": 1e6,
                  "dollars_per_million_completion_tokens": 2e6}
        usage = with_client(tmp_path, client_config(server.url, **prices), use)
    assert (usage["judge"].calls, usage["judge"].cached,
            usage["judge"].dollars) == (3, 0, 3 * (7 + 2 * 3))
    assert (usage["user"].calls, usage["user"].cached, usage["user"].dollars) == (1, 1, 0)
    assert usage["judge"].seconds > 0 == usage["user"].seconds


@pytest.mark.parametrize("urls", [[], ["localhost:8000"]])
def test_address_that_is_none(tmp_path, urls, monkeypatch):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(InputError, match="OPENAI_BASE_URL"):
        Client.from_config(client_config(*urls), tmp_path / "answers.sqlite")


def test_keys_of_other_servers_are_named(tmp_path):
    keys = ("probe.model", "probe.base_urls")
    with pytest.raises(InputError,
                       match="^probe.base_urls: 'here' is no URL; set it to something like"):
        Client.from_config(client_config(), tmp_path / "answers.sqlite", ["here"], keys=keys)
    with LocalServer(fault=lambda *_: (404, b"{}")) as server:
        with pytest.raises(InputError, match="check probe.model, and probe.base_urls, which"):
            with_client(tmp_path, client_config(), ask_all("q"), base_urls=[server.url], keys=keys)


def test_address_from_the_environment(tmp_path, monkeypatch):
    with LocalServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert with_client(tmp_path, client_config(), ask_all("q"))[0][0].text == "echo q"


@pytest.mark.parametrize("path", ["file/answers.sqlite", "file"])
def test_cache_that_cannot_be_opened_costs_nothing(tmp_path, path):
    (tmp_path / "file").write_text("no database, only text that is long enough to be none" * 10)

    async def run(url):
        async with Client.from_config(client_config(url), tmp_path / path) as client:
            await client.ask("judge", user("q"), SAMPLING)

    with LocalServer() as server:
        with pytest.raises(InputError, match=path):
            asyncio.run(run(server.url))
    assert server.count == 0


class Shout:
    def complete(self, payload):
        return completion(payload["messages"][-1]["content"].upper())


def test_in_process_transport_is_an_endpoint():
    async def run():
        http = httpx2.AsyncClient(transport=InProcess(Shout()))
        async with openai.AsyncOpenAI(base_url="http://simulated/v1", api_key="none",
                                      http_client=http) as client:
            return await client.chat.completions.create(model="m", messages=user("hello"))

    assert asyncio.run(run()).choices[0].message.content == "HELLO"


def test_simulated_teacher_is_a_base_url(tmp_path):
    with pytest.raises(CallFailed, match="400.*# Role"):
        with_client(tmp_path, client_config("simulated"), ask_all("not a prompt of this project"))


def test_cache_answers_for_one_simulated_world_only(tmp_path, monkeypatch):
    class World:
        def __init__(self, rates, seed):
            self.text = f"{rates.label_noise} {seed}"

        def complete(self, payload):
            return completion(self.text)

    monkeypatch.setattr("looptool.simulation.server.Teacher", World)
    config = client_config("simulated")
    seen = []
    for label_noise, seed in ((0.1, 0), (0.1, 1), (0.2, 1), (0.1, 0)):
        config.simulation.label_noise, config.seed = label_noise, seed
        [reply], usage = with_client(tmp_path, config, ask_all("q"))
        seen.append((reply.text, usage.cached))
    assert seen == [("0.1 0", 0), ("0.1 1", 0), ("0.2 1", 0), ("0.1 0", 1)]


def test_cache_on_a_full_disk_says_so(tmp_path):
    async def use(client):
        await client.ask("judge", user("q"), SAMPLING)
        client._cache._connection.execute("PRAGMA max_page_count = 1")
        await client.ask("judge", user("long " * 20000), SAMPLING)

    with LocalServer() as server:
        with pytest.raises(InputError, match="answers.sqlite.*full"):
            with_client(tmp_path, client_config(server.url), use)


def test_server_speaks_to_the_official_client():
    async def run():
        runner = web.AppRunner(make_app(Shout(), ["m"], latency=0.05, capacity=2))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        async with openai.AsyncOpenAI(base_url=url, api_key="none") as client:
            models = [model.id async for model in client.models.list()]
            started = time.monotonic()
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="m", messages=user("hello"))
                  for _ in range(6)))
            seconds = time.monotonic() - started
        await runner.cleanup()
        return models, {answer.choices[0].message.content for answer in answers}, seconds

    models, answers, seconds = asyncio.run(run())
    assert models == ["m"] and answers == {"HELLO"} and seconds >= 3 * 0.05


@pytest.mark.slow
def test_simulated_teacher_is_served_by_one_command():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "looptool.simulation.server", "--port", str(port)]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        said = server.stderr.readline() + server.stderr.readline()
        assert f"export OPENAI_BASE_URL=http://127.0.0.1:{port}/v1" in said
        client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none",
                               max_retries=10)
        assert [model.id for model in client.models.list()] == ["simulated-teacher"]
        with pytest.raises(openai.BadRequestError, match="# Role"):
            client.chat.completions.create(model="simulated-teacher", messages=user("q"))
        second = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60)
        assert second.returncode == 2 and "choose another port" in second.stderr
    finally:
        server.kill()
        server.communicate()
