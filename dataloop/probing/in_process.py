"""Samples -> batches -> probes, for a policy in this process: which samples are decoded together.

A batch depends on the file of samples alone, not on what an earlier run has finished, so that a run
that was killed and started again writes the same bytes as an unbroken one.
"""
from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Protocol

from dataloop.probing.job import Drawing, Generation, Job, make_probe
from looptool.fingerprints import IdSet
from looptool.models.completion import Usage
from looptool.records import Sample
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta
from looptool.stages.workers import Outcome, Pipeline

WINDOW = 512
"""Samples that are sorted by length together; the memory of a probe grows with it."""


class Policy(Protocol):
    """What answers; see dataloop.probing.transformers_policy."""

    def encode(self, sample: Sample) -> list[int] | None: ...

    def generate(self, prompts: list[list[int]]) -> list[Generation]: ...

    def draw(self, prompts: list[list[int]], seeds: list[int],
             temperature: float) -> list[Generation]: ...


async def probe_in_batches(job: Job, load: Callable[[], Policy]) -> StageMeta:
    """Do the job with the policy that `load` gives; it is called when the first sample comes."""
    config = job.config
    pipeline = BatchPipeline(job.read, load, config.probe.batch_tokens,
                             config.student.max_response_tokens, job.drawing)
    return await run_stage(inputs=Inputs(lambda: ((sample.id, None) for sample in job.read())),
                           work=pipeline, usage=pipeline.usage, **job.stage)


class BatchPipeline(Pipeline):
    """Probes samples a window at a time, and in it a batch at a time.

    Args:
        read: gives all samples in their order, done ones too.
        load: gives the policy; it is called when there is something to do.
    """

    def __init__(self, read: Callable[[], Iterable[Sample]], load: Callable[[], Policy],
                 batch_tokens: int, reply_tokens: int, drawing: Drawing, window: int = WINDOW):
        self._read, self._load, self._window = read, load, window
        self._batch_tokens, self._reply_tokens = batch_tokens, reply_tokens
        self._drawing = drawing
        self.usage = {"policy": Usage()}

    async def outcomes(self,
                       inputs: AsyncIterator[tuple[str, Any]]) -> AsyncIterator[
                           tuple[str, Outcome]]:
        """See Pipeline; "too_long" without a record where a prompt does not fit."""
        todo = IdSet()
        async for id, _ in inputs:
            todo.add(id)
        if not len(todo):
            return
        policy, samples = self._load(), iter(self._read())
        while window := list(islice(samples, self._window)):
            if not any(sample.id in todo for sample in window):
                continue
            encoded = {i: policy.encode(sample) for i, sample in enumerate(window)}
            prompts = {i: prompt for i, prompt in encoded.items() if prompt is not None}
            for i in encoded.keys() - prompts.keys():
                if window[i].id in todo:
                    yield window[i].id, Outcome([], "too_long")
            for places in make_batches(prompts, self._batch_tokens, self._reply_tokens):
                if not any(window[i].id in todo for i in places):
                    continue
                batch = [window[i] for i in places]
                replies = await self._decode(policy, batch, [prompts[i] for i in places])
                for i, sample, (generation, *drawn) in zip(places, batch, replies, strict=True):
                    if sample.id in todo:
                        probe = make_probe(sample, generation, drawn)
                        # what an earlier run has finished is decoded again, and not booked again
                        self._book(len(prompts[i]), [generation, *drawn])
                        yield sample.id, Outcome([probe], probe.reason)

    async def _decode(self, policy: Policy, samples: list[Sample],
                      prompts: list[list[int]]) -> Iterator[tuple[Generation, ...]]:
        """The greedy reply to each prompt, then those drawn."""
        drawing = self._drawing
        replies = [await asyncio.to_thread(policy.generate, prompts)]
        for seeds in zip(*map(drawing.seeds, samples), strict=True):
            replies.append(await asyncio.to_thread(policy.draw, prompts, list(seeds),
                                                   drawing.temperature))
        return zip(*replies, strict=True)

    def _book(self, prompt_tokens: int, replies: list[Generation]) -> None:
        usage = self.usage["policy"]
        usage.calls += len(replies)
        usage.prompt_tokens += prompt_tokens * len(replies)
        usage.completion_tokens += sum(reply.tokens for reply in replies)


def make_batches(prompts: Mapping[int, list[int]], batch_tokens: int,
                 reply_tokens: int) -> Iterator[list[int]]:
    """Places of prompts of like length together, the longest first, at most `batch_tokens` padded
    tokens with their replies.

    A prompt that is longer on its own is a batch of one.
    """
    places = sorted(prompts, key=lambda i: (-len(prompts[i]), i))
    while places:
        # sorted, so the first one is the longest of its batch: the others are padded to it
        fits = max(batch_tokens // (len(prompts[places[0]]) + reply_tokens), 1)
        batch, places = places[:fits], places[fits:]
        yield batch
