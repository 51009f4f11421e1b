"""Probing behind HTTP: the same probes as with the weights at hand, refusals of wrong servers,
order by shared prefix."""
from __future__ import annotations

import asyncio
import json
import math
import sys
from pathlib import Path

import msgspec
import pytest
from local_server import LocalServer
from loop_world import loop_config, says, task, weather, world
from tiny_policy import make_policy

from dataloop import greedy_capability_prob as script
from dataloop.probing.endpoint_policy import read_generation
from dataloop.probing.prefix_order import prefix_order, read_at
from looptool.config import Probing, Student
from looptool.errors import InputError
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.models.completion import Reply, read_text_completion
from looptool.records import Probe, Sample

STUDENT = Student(model="", instructions="short", max_prompt_tokens=6000, max_response_tokens=24)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_policy(tmp_path_factory.mktemp("policy"))


@pytest.fixture(scope="module")
def policy(folder):
    from dataloop.probing.transformers_policy import TransformersPolicy

    return TransformersPolicy(str(folder), STUDENT, cores=1)


def serve(policy) -> LocalServer:
    """A server of real weights in the form of vLLM's /completions."""
    from looptool.models.decoding import Dice, decode, likeliest

    def answer(payload: dict) -> dict:
        dice = Dice([payload["seed"]], payload["temperature"]) if "seed" in payload else likeliest
        [[reply]] = decode(policy.model, [payload["prompt"]], payload["max_tokens"], policy.ends,
                           dice)
        shown = reply.tokens[:-1] if reply.ended else reply.tokens
        each = sum(reply.log_probs) / len(reply.tokens)
        return {"choices": [{"index": 0, "text": policy.tokenizer.decode(shown), "logprobs": {
            "token_logprobs": [each] * len(reply.tokens)},
                             "finish_reason": "stop" if reply.ended else "length"}],
            "usage": {"prompt_tokens": len(payload["prompt"]),
                      "completion_tokens": len(reply.tokens)}}

    return LocalServer(answer)


def probe(folder: Path, run_dir: Path, dataset: Path, **probing) -> list[Probe]:
    config = loop_config(run_dir, student=STUDENT, probe=Probing(in_flight=4, **probing))
    asyncio.run(script.probe_samples(config, dataset, run_dir / "probes.jsonl", str(folder)))
    return list(read_jsonl(run_dir / "probes.jsonl", Probe))


def test_both_engines_give_the_same_probes(folder, policy, tmp_path):
    samples = tmp_path / "samples.jsonl"
    write_jsonl(samples, [probe.sample for probe in world(12)])
    with serve(policy) as first, serve(policy) as second:
        served = probe(folder, tmp_path / "a", samples, engine="endpoint",
                       base_urls=[first.url, second.url])
        assert first.count and second.count and first.count + second.count == 12
        for payload in first.payloads:
            assert (payload["temperature"] == 0 and payload["repetition_penalty"] == 1
                    and payload["model"] == "m")
            assert payload["stop_token_ids"] == policy.ends
    here = probe(folder, tmp_path / "b", samples, engine="transformers")
    assert ([entry.sample.id for entry in served] == [entry.sample.id for entry in here]
            and len(here) == 12)
    for entry, other in zip(served, here, strict=True):
        assert (entry.text, entry.tokens, entry.finish,
                entry.reason) == (other.text, other.tokens, other.finish, other.reason)
        assert entry.perplexity == pytest.approx(other.perplexity, rel=1e-3)


def test_both_engines_draw_the_same_replies_beside_the_greedy_one(folder, policy, tmp_path):
    samples = tmp_path / "samples.jsonl"
    write_jsonl(samples, [probe.sample for probe in world(5)])
    greedy, here = (probe(folder, tmp_path / name, samples, engine="transformers", samples=count)
                    for name, count in (("a", 0), ("b", 3)))
    with serve(policy) as server:
        served = probe(folder, tmp_path / "c", samples, engine="endpoint", base_urls=[server.url],
                       samples=3)
        assert server.count == 5 * 4
    assert [entry.draws for entry in here] == [entry.draws for entry in served]
    assert [entry.text for entry in here] == [entry.text for entry in greedy]
    assert all(sum(draw.count for draw in entry.draws) == 3 for entry in here)
    assert "draws" not in (tmp_path / "a" / "probes.jsonl").read_text()


@pytest.mark.parametrize("models, wanted, message", [
    ([{"id": "a"}, {"id": "b"}], "", r"lists 2 models \(a, b\); name the policy"),
    ([], "", "lists 0 models"), ([{"id": "a"}], "policy", "lists a, not policy"),
    ([{"id": "a", "root": "/tmp"}], "", "has loaded /tmp, not "),
    ([{"id": "a", "max_model_len": 6023}], "", "takes 6023 tokens, and prompt and reply may have "
                                               "6024; start it with")])
def test_a_server_of_something_else_is_refused(folder, tmp_path, models, wanted, message):
    samples = tmp_path / "samples.jsonl"
    write_jsonl(samples, [task("Rome")])
    with LocalServer() as server:
        server.models = models
        with pytest.raises(InputError, match=message):
            probe(folder, tmp_path, samples, engine="endpoint", base_urls=[server.url],
                  model=wanted)
    assert not (tmp_path / "probes.jsonl").exists()


def test_a_server_that_is_not_there_is_named(folder, tmp_path):
    write_jsonl(tmp_path / "samples.jsonl", [task("Rome")])
    with pytest.raises(InputError, match="does not list its models"):
        probe(folder, tmp_path, tmp_path / "samples.jsonl", engine="endpoint",
              base_urls=["http://127.0.0.1:9/v1"])


def test_a_server_that_lists_the_policy_and_lacks_it_is_named_by_the_keys_of_probing(
        folder, tmp_path):
    write_jsonl(tmp_path / "samples.jsonl", [task("Rome")])
    with LocalServer(fault=lambda *_: (404, b"{}")) as server, pytest.raises(
            InputError, match="probe.model, and probe.base_urls"):
        probe(folder, tmp_path, tmp_path / "samples.jsonl", engine="endpoint",
              base_urls=[server.url])


@pytest.mark.parametrize("reply, finish, perplexity", [
    (Reply(text="Hi", logprobs=[-1.0, -3.0]), "stop", math.exp(2)),
    (Reply(text=" ", logprobs=[-1.0]), "empty", math.e),
    (Reply(text="H", finish="length", logprobs=[0.0]), "length", 1.0)])
def test_a_reply_is_a_generation(reply, finish, perplexity):
    generation = read_generation(reply)
    assert (generation.finish, generation.tokens) == (finish, len(reply.logprobs))
    assert generation.perplexity == pytest.approx(perplexity, abs=1e-6)


def test_a_server_without_log_probabilities_is_refused():
    body = {"choices": [{"text": "Hi", "finish_reason": "stop", "logprobs": None}]}
    with pytest.raises(InputError, match="no log-probabilities"):
        read_generation(read_text_completion(json.dumps(body).encode()))


def continued(sample: Sample, turns: int) -> Sample:
    """A later sample of the same dialog."""
    more = [says("", weather("Bern")), sample.messages[0]] * turns
    return msgspec.structs.replace(sample, id=f"{sample.id}{turns}",
                                   messages=[*sample.messages, *more])


def test_samples_of_one_dialog_stand_together_and_none_is_lost(tmp_path):
    first, second = task("Rome"), task("Oslo")
    first.date = "2024-05-02"  # another system text, so another dialog
    second.messages = [first.messages[0], says("", weather("Ulm")), *second.messages]
    samples = [first, *(continued(sample, turns) for turns in (2, 1) for sample in (first, second)),
               second]
    write_jsonl(tmp_path / "samples.jsonl", samples)
    ordered = list(read_at(tmp_path / "samples.jsonl", prefix_order(tmp_path / "samples.jsonl")))
    dialogs = [(sample.date, len(sample.messages)) for sample in ordered]
    expected = [[("2024-05-02", count) for count in (1, 3, 5)],
                [("2024-05-01", count) for count in (3, 5, 7)]]
    assert dialogs in (sum(expected, []), sum(expected[::-1], []))
    assert sorted(sample.id for sample in ordered) == sorted(sample.id for sample in samples)


def test_a_line_that_holds_no_sample_is_named(tmp_path):
    write_jsonl(tmp_path / "samples.jsonl", [task("Rome")])
    with (tmp_path / "samples.jsonl").open("a") as file:
        file.write('{"id": 3}\n')
    with pytest.raises(InputError, match=r"samples.jsonl:2: not a valid"):
        prefix_order(tmp_path / "samples.jsonl")


def test_samples_with_the_same_tools_go_to_the_same_server(folder, policy, tmp_path):
    tools = [task("Rome").tools, task("Rome").tools[:1], task("Rome").tools[::-1]]
    samples = [msgspec.structs.replace(task(f"Rome {number}"), tools=tools[number % 3])
               for number in range(18)]
    write_jsonl(tmp_path / "samples.jsonl", samples)
    with serve(policy) as first, serve(policy) as second:
        probe(folder, tmp_path, tmp_path / "samples.jsonl", engine="endpoint",
              base_urls=[first.url, second.url])
        systems = [{policy.tokenizer.decode(payload["prompt"]).partition("</tools>")[0]
                    for payload in server.payloads}
                   for server in (first, second)]
    assert (first.count + second.count == 18 and not systems[0] & systems[1]
            and len(systems[0] | systems[1]) == 3)


def test_the_script_takes_the_engine_from_the_config(folder, policy, tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    write_jsonl(tmp_path / "samples.jsonl", [task("Rome"), task("Oslo")])
    with serve(policy) as server:
        monkeypatch.setattr(sys, "argv", [
            "prob.py", "--round", "1", "--samples", str(tmp_path / "samples.jsonl"), "--output",
            str(tmp_path / "out.jsonl"), "--model", str(folder), *(word for value in (
                f"run_dir={tmp_path}", "probe.engine=endpoint", f"probe.base_urls=[{server.url}]",
                "student.max_prompt_tokens=6000") for word in ("--set", value))])
        script.main()
    assert caplog.messages[-1].startswith("probe: round 1: 2 in -> ")
