"""A server that fails 30% of the time in every way: the stage finishes, failures are counted, none
becomes a record."""
import asyncio
import random

import msgspec
import pytest

from local_server import FAULTS, LocalServer, client_config, completion, user
from looptool.errors import StageFailed
from looptool.models.client import Client
from looptool.models.sampling import Sampling
from looptool.stages.llm_stage import run_stage
from looptool.stages.workers import Outcome

pytestmark = pytest.mark.slow
INPUTS = 400


def fails(share):
    """30% of the tries go wrong, each in a way that the question and the number of the try draw."""
    def fault(payload, tries):
        rng = random.Random(f"{payload['messages'][-1]['content']}:{tries}")
        return rng.choice(FAULTS) if rng.random() < share else None

    return fault


def verdict(payload):
    return completion(f"<think>hm</think>verdict on {payload['messages'][-1]['content']}")


def run(tmp_path, server, tries, timeout_seconds=3):
    async def stage():
        config = client_config(server.url, in_flight=32, tries=tries,
                               timeout_seconds=timeout_seconds)
        async with Client.from_config(config, tmp_path / "answers.sqlite") as client:
            client.backoff_seconds = 0.01

            async def work(number):
                reply = await client.ask("judge", user(f"case {number}"), Sampling(temperature=0.6))
                return Outcome([{"number": number, "text": reply.text}], "judged")

            return await run_stage("verify", [(f"id{number}", number) for number in range(INPUTS)],
                                   work, tmp_path / "verdicts.jsonl", settings={}, sources=[],
                                   in_flight=32, usage=client.usage)

    return asyncio.run(stage())


def records(tmp_path):
    return [msgspec.json.decode(line)
            for line in (tmp_path / "verdicts.jsonl").read_bytes().splitlines()]


def test_five_tries_get_through(tmp_path):
    with LocalServer(verdict, fault=fails(0.3)) as server:
        meta = run(tmp_path, server, tries=5)
    usage = meta.usage["judge"]
    assert meta.failed == usage.failed <= 4 and meta.counts == {"judged": INPUTS - meta.failed}
    assert (usage.failed_tries == server.count - usage.calls
            and 0.2 < usage.failed_tries / server.count < 0.4)
    assert usage.calls == INPUTS - meta.failed and usage.completion_tokens == 3 * usage.calls
    assert all(record["text"] == f"verdict on case {record['number']}"
               for record in records(tmp_path))


def test_what_failed_is_counted_and_only_that_is_done_again(tmp_path):
    with LocalServer(verdict, fault=fails(0.3)) as server:
        first = run(tmp_path, server, tries=2)
    assert 15 <= first.failed <= 70 and sum(first.failures.values()) == first.failed
    assert (first.counts == {"judged": INPUTS - first.failed}
            and first.records == INPUTS - first.failed)
    judged = {record["number"] for record in records(tmp_path)}
    assert len(judged) == first.records
    assert all(record["text"] == f"verdict on case {record['number']}"
               for record in records(tmp_path))
    with LocalServer(verdict) as healthy:
        second = run(tmp_path, healthy, tries=2)
    asked = {int(payload["messages"][0]["content"].split()[1]) for payload in healthy.payloads}
    assert healthy.count == first.failed and asked == set(range(INPUTS)) - judged
    assert (second.failed, second.records) == (0, INPUTS) and second.counts == {"judged": INPUTS}
    assert records(tmp_path) == [{"number": number, "text": f"verdict on case {number}"}
                                 for number in range(INPUTS)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_only_fails_leaves_no_record(tmp_path, fault):
    with LocalServer(verdict, fault=lambda *_: fault) as server:
        with pytest.raises(StageFailed):
            run(tmp_path, server, tries=1, timeout_seconds=1)
    assert (not (tmp_path / "verdicts.jsonl").exists()
            and not (tmp_path / "verdicts.jsonl.journal").exists())
