"""The policy behind OpenAI-compatible servers that continue prompts, such as vLLM's (engine "endpoint").

In: samples. Out: a probe each. Prompts are rendered and tokenized here, as for training, and sent as tokens to
/completions; the server's chat template plays no part. Greedy is temperature 0. Several servers share the load.
"""
from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from dataloop.probing import Generation, make_probe, prompt_ids
from looptool.config import Student
from looptool.llm import Client, Reply
from looptool.records import InputError, Sample, content_id, read_jsonl
from looptool.stage import Outcome


class EndpointProber:
    """Probes samples one by one, for a stage that has many of them in flight."""

    def __init__(self, client: Client, tokenizer: Any, student: Student, model: str):
        self._client, self._tokenizer, self._student, self._model = client, tokenizer, student, model

    async def probe(self, sample: Sample) -> Outcome:
        """The probe of one sample, counted by its match; "too_long" without a record where the prompt does not fit.

        Raises:
            CallFailed: no answer after all tries.
            InputError: the server gives no log-probabilities.
        """
        prompt = await asyncio.to_thread(prompt_ids, self._tokenizer, sample, self._student)
        if prompt is None:
            return Outcome([], "too_long")
        reply = await self._client.complete("policy", prompt, self._model, self._student.max_response_tokens)
        probe = make_probe(sample, read_generation(reply))
        return Outcome([probe], probe.reason)


def read_generation(reply: Reply) -> Generation:
    """A reply with its perplexity (equation 3).

    Raises:
        InputError: it has no log-probabilities.
    """
    if not reply.logprobs:
        raise InputError("probe.base_urls: the server returns no log-probabilities of what it generates, which perplexity "
                         "needs; use one that does, such as vLLM, or set probe.engine=transformers")
    perplexity = math.exp(-sum(reply.logprobs) / len(reply.logprobs))
    finish = "length" if reply.finish == "length" else "stop" if reply.text.strip() else "empty"
    return Generation(reply.text, round(perplexity, 6), len(reply.logprobs), finish)


async def served_name(client: Client, wanted: str, checkpoint: str) -> str:
    """The name under which all servers have the policy: `wanted`, or the only one that they list.

    Raises:
        InputError: a server lists another model, or says that it loaded another checkpoint.
    """
    names = set()
    for models in await client.served_models():
        known = {model["id"]: model for model in models}
        if not wanted and len(known) != 1:
            raise InputError(f"probe.model: the server lists {len(known)} models ({', '.join(sorted(known))}); name the "
                             "policy's")
        name = wanted or next(iter(known))
        if name not in known:
            raise InputError(f"probe.model: the server lists {', '.join(sorted(known)) or 'nothing'}, not {name}; start it "
                             f"with {checkpoint}")
        root = known[name].get("root")  # vLLM says which checkpoint it has loaded
        if root and Path(root).is_dir() and Path(checkpoint).is_dir() and not Path(root).samefile(checkpoint):
            raise InputError(f"probe.base_urls: the server has loaded {root}, not {checkpoint}; start it with the policy of "
                             "this round")
        names.add(name)
    if len(names) != 1:
        raise InputError(f"probe.base_urls: the servers name the policy differently ({', '.join(sorted(names))}); start "
                         "them alike")
    return names.pop()


def by_prefix(path: Path) -> Iterator[Sample]:
    """The samples of a file, those with the same tools and the same beginning next to each other.

    A server with a prefix cache then computes what they share once. The file is read twice; some 100 bytes a sample stay
    in memory.
    """
    places = []
    with path.open("rb") as file:
        for sample, line in zip(read_jsonl(path, Sample), iter(file.readline, b"")):
            first = sample.messages[0].content if sample.messages else ""
            places.append((content_id(sample.tools, first), len(sample.messages), file.tell() - len(line)))
        for _, _, place in sorted(places):
            file.seek(place)
            yield msgspec.json.decode(file.readline(), type=Sample)
