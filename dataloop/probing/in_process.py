"""Samples -> batches -> probes, for a policy in this process: which samples are decoded together.

A batch depends on the file of samples alone, not on what an earlier run has finished, so that a run
that was killed and started again writes the same bytes as an unbroken one.
"""
from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Protocol

from dataloop.probing.job import Drawing, Generation, Job, make_probe
from looptool.models.completion import Usage
from looptool.records import Sample
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta
from looptool.stages.workers import Outcome

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
    prober = Prober(load, config.probe.batch_tokens, config.student.max_response_tokens,
                    job.drawing)
    return await run_stage(inputs=Inputs(lambda: places(job.read())), work=prober.probe,
                           in_flight=WINDOW, usage=prober.usage, **job.stage)


class Batch:
    """Prompts that are decoded together, by their place in the window, and the task that decodes
    them: the greedy reply of each, then those drawn."""

    def __init__(self, places: list[int], prompts: list[list[int]]):
        self.places, self.prompts = places, prompts
        self.task: asyncio.Task[dict[int, tuple[Generation, ...]]] | None = None


class Window:
    """Some samples in a row; their batches are made when the first of them is wanted."""

    def __init__(self, samples: list[Sample]):
        self.samples = samples
        self._batches: dict[int, Batch] | None = None

    def batch_of(self, place: int, policy: Policy, batch_tokens: int,
                 reply_tokens: int) -> Batch | None:
        """The batch of one sample; None for a sample that does not fit the policy's window."""
        if self._batches is None:
            encoded = {i: policy.encode(sample) for i, sample in enumerate(self.samples)}
            prompts = {i: prompt for i, prompt in encoded.items() if prompt is not None}
            self._batches = {i: batch for batch in make_batches(prompts, batch_tokens, reply_tokens)
                             for i in batch.places}
        return self._batches.get(place)


def make_batches(prompts: dict[int, list[int]], batch_tokens: int,
                 reply_tokens: int) -> Iterator[Batch]:
    """Prompts of like length together, the longest first, at most `batch_tokens` padded tokens with
    their replies.

    A prompt that is longer on its own is a batch of one.
    """
    places = sorted(prompts, key=lambda i: (-len(prompts[i]), i))
    while places:
        fits = max(batch_tokens // (len(prompts[places[0]]) + reply_tokens), 1)
        batch, places = places[:fits], places[fits:]
        yield Batch(batch, [prompts[i] for i in batch])


@dataclass(frozen=True)
class Place:
    """One sample and where it stands."""

    window: Window
    index: int

    @property
    def sample(self) -> Sample:
        return self.window.samples[self.index]


def places(samples: Iterable[Sample], window: int = WINDOW) -> Iterator[tuple[str, Place]]:
    """(id, place) of every sample, the inputs of a stage."""
    samples = iter(samples)
    while some := list(islice(samples, window)):
        shared = Window(some)
        for index, sample in enumerate(some):
            yield sample.id, Place(shared, index)


class Prober:
    """Probes samples one by one for a stage that has at least WINDOW of them in flight, batch by
    batch for the policy."""

    def __init__(self, load: Callable[[], Policy], batch_tokens: int, reply_tokens: int,
                 drawing: Drawing):
        """`load` gives the policy; it is called when the first sample comes."""
        self._policy = lru_cache(load)
        self._batch_tokens, self._reply_tokens = batch_tokens, reply_tokens
        self._drawing = drawing
        self._one_batch = asyncio.Lock()
        self.usage = {"policy": Usage()}

    async def probe(self, place: Place) -> Outcome:
        """The probe of one sample, counted by its match; "too_long" without a record where the
        prompt does not fit."""
        batch = place.window.batch_of(place.index, self._policy(), self._batch_tokens,
                                      self._reply_tokens)
        if batch is None:
            return Outcome([], "too_long")
        if batch.task is None:
            batch.task = asyncio.create_task(self._decode(batch, place.window.samples))
        generation, *drawn = (await batch.task)[place.index]
        probe = make_probe(place.sample, generation, drawn)
        usage = self.usage["policy"]
        usage.calls += 1 + len(drawn)
        prompt = batch.prompts[batch.places.index(place.index)]
        usage.prompt_tokens += len(prompt) * (1 + len(drawn))
        usage.completion_tokens += generation.tokens + sum(reply.tokens for reply in drawn)
        return Outcome([probe], probe.reason)

    async def _decode(self, batch: Batch,
                      samples: list[Sample]) -> dict[int, tuple[Generation, ...]]:
        drawing = self._drawing
        seeds = zip(*(drawing.seeds(samples[place]) for place in batch.places), strict=True)
        async with self._one_batch:
            replies = [await asyncio.to_thread(self._policy().generate, batch.prompts)]
            for numbers in seeds:
                replies.append(await asyncio.to_thread(self._policy().draw, batch.prompts,
                                                       list(numbers), drawing.temperature))
        return dict(zip(batch.places, zip(*replies, strict=True), strict=True))
