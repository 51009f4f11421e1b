"""The policy behind OpenAI-compatible servers that continue prompts, such as vLLM's (engine
"endpoint").

In: samples. Out: a probe each. Prompts are rendered and tokenized here, as for training, and sent
as tokens to /completions; the server's chat template plays no part. Greedy is temperature 0,
without the penalties that a server may take from a generation config. Several servers share the
load; samples with the same tools go to the same one if they can.
"""
from __future__ import annotations

import asyncio
import zlib
from pathlib import Path
from typing import Any

import msgspec

from dataloop.probing.job import (
    Drawing, Generation, Job, end_tokens, make_generation, make_probe, prompt_ids)
from looptool.config import Student
from looptool.errors import InputError
from looptool.models.client import Client
from looptool.models.completion import Reply
from looptool.models.sampling import Continuation
from looptool.prompts.length import load_tokenizer
from looptool.prompts.render import render_tools
from looptool.records import Sample
from looptool.run_files import RunFiles
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta
from looptool.stages.workers import Outcome

PROBE = ("probe.model", "probe.base_urls")
AHEAD = 64
"""Prompts that are made ready while all places in flight are taken, so that none stays empty."""


async def probe_by_endpoint(job: Job) -> StageMeta:
    """Do the job with the servers of the config.

    Raises:
        InputError: no server is named, or one does not serve this checkpoint.
    """
    config, probing = job.config, job.config.probe
    if not probing.base_urls:
        raise InputError(
            "probe.base_urls: names no server of the policy; start one (bash scripts/serve.sh "
            f"{job.model} --port 8001) and set probe.base_urls=[http://localhost:8001/v1], or set "
            "probe.engine=transformers")
    tokenizer = load_tokenizer(job.model)
    async with Client.from_config(config, RunFiles(config).answers, probing.base_urls,
                                  probing.in_flight, PROBE) as client:
        how = Continuation(model=await served_name(client, probing.model, job.model,
                                                   config.student),
                           max_tokens=config.student.max_response_tokens,
                           stop_token_ids=end_tokens(job.model, tokenizer))
        prober = EndpointProber(client, tokenizer, config.student, how, job.drawing)
        return await run_stage(inputs=Inputs(
            lambda: ((sample.id, sample) for sample in job.read())), work=prober.probe,
                               in_flight=probing.in_flight + AHEAD, usage=client.usage, **job.stage)


# a class of its own, so that greedy requests go out without a seed
class DrawnContinuation(Continuation, frozen=True, kw_only=True):
    """A prompt continued by chance."""

    seed: int


class EndpointProber:
    """Probes samples one by one, for a stage that has many of them in flight."""

    def __init__(self, client: Client, tokenizer: Any, student: Student, how: Continuation,
                 drawing: Drawing):
        self._client, self._tokenizer, self._student, self._how = client, tokenizer, student, how
        self._drawing = drawing

    async def probe(self, sample: Sample) -> Outcome:
        """The probe of one sample, counted by its match; "too_long" without a record where the
        prompt does not fit.

        Raises:
            CallFailed: no answer after all tries.
            InputError: the server gives no log-probabilities.
        """
        # in a thread, as the requests in flight are not to wait for a tokenizer
        prompt = await asyncio.to_thread(prompt_ids, self._tokenizer, sample, self._student)
        if prompt is None:
            return Outcome([], "too_long")
        # not hash(), which is another one in every process
        home = zlib.crc32(render_tools(sample.tools).encode())
        hows = [self._how, *(self._drawn(seed) for seed in self._drawing.seeds(sample))]
        replies = await asyncio.gather(*(self._client.complete("policy", prompt, how, home)
                                         for how in hows))
        generation, *drawn = map(read_generation, replies)
        probe = make_probe(sample, generation, drawn)
        return Outcome([probe], probe.reason)

    def _drawn(self, seed: int) -> Continuation:
        how = msgspec.structs.asdict(self._how) | {"temperature": self._drawing.temperature}
        return DrawnContinuation(**how, seed=seed)


def read_generation(reply: Reply) -> Generation:
    """A reply with its perplexity (equation 3).

    Raises:
        InputError: it has no log-probabilities.
    """
    if not reply.logprobs:
        raise InputError("probe.base_urls: the server returns no log-probabilities of what it "
                         "generates, which perplexity needs; use one that does, such as vLLM, or "
                         "set probe.engine=transformers")
    surprise = -sum(reply.logprobs) / len(reply.logprobs)
    return make_generation(reply.text, surprise, len(reply.logprobs), reply.finish != "length",
                           "probe.base_urls")


async def served_name(client: Client, wanted: str, checkpoint: str, student: Student) -> str:
    """The name under which all servers have the policy: `wanted`, or the only one that they list.

    Raises:
        InputError: a server lists another model, or says that it loaded another checkpoint, or has
            too small a window.
    """
    tokens = student.max_prompt_tokens + student.max_response_tokens
    names = set()
    for models in await client.served_models():
        known = {model["id"]: model for model in models}
        if not wanted and len(known) != 1:
            raise InputError(f"probe.model: the server lists {len(known)} models "
                             f"({', '.join(sorted(known))}); name the policy's")
        name = wanted or next(iter(known))
        if name not in known:
            raise InputError("probe.model: the server lists "
                             f"{', '.join(sorted(known)) or 'nothing'}, not {name}; start it with "
                             f"{checkpoint}")
        root = known[name].get("root")  # vLLM says which checkpoint it has loaded
        if (root and Path(root).is_dir() and Path(checkpoint).is_dir()
                and not Path(root).samefile(checkpoint)):
            raise InputError(f"probe.base_urls: the server has loaded {root}, not {checkpoint}; "
                             "start it with the policy of this round")
        window = known[name].get("max_model_len")
        if window and window < tokens:
            raise InputError(f"probe.base_urls: the server takes {window} tokens, and prompt and "
                             f"reply may have {tokens}; start it with --max-model-len {tokens}")
        names.add(name)
    if len(names) != 1:
        raise InputError("probe.base_urls: the servers name the policy differently "
                         f"({', '.join(sorted(names))}); start them alike")
    return names.pop()
