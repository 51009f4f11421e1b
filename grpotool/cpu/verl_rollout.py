"""Rollouts on a CPU for verl 0.9 (rollout.name=cpu): in come verl's single requests, out go sampled tokens.

verl imports this module in every process that builds a rollout, because train.py names it as model.external_lib. A
Ray actor holds the model. It gathers the requests of a step into one batch, puts equal prompts together and samples with
grpotool.cpu.shared_prompt. The training worker sends it all weights after every step.
"""
from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import ray
import torch
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

from grpotool.cpu.shared_prompt import ATTENTION, Answer, sample

NAME = "cpu"
QUIET_SECONDS = 0.1
"""A batch that is not full starts when no request has come for so long."""


def actor_name(replica_rank: int) -> str:
    return f"cpu_rollout_{replica_rank}"


@dataclass(frozen=True, order=True)
class Request:
    """What verl wants sampled; equal requests are rollouts of one prompt."""

    temperature: float
    max_tokens: int
    prompt: tuple[int, ...]


@dataclass
class Batch:
    """Requests that are answered together."""

    requests: list[Request] = field(default_factory=list)
    full: asyncio.Event = field(default_factory=asyncio.Event)
    answers: asyncio.Task[list[Answer]] | None = None


def read_request(prompt_ids: list[int], params: dict[str, Any], response_length: int) -> Request:
    """One request of verl.

    Raises:
        ValueError: it asks for a way of sampling that is not built here.
    """
    cut = params.get("top_p", 1.0) != 1.0 or params.get("top_k", -1) > 0
    if cut or params.get("repetition_penalty", 1.0) != 1.0:
        raise ValueError(f"the CPU rollout samples by temperature only, not with {params}")
    return Request(float(params["temperature"]), int(params.get("max_tokens") or response_length), tuple(prompt_ids))


class RolloutServer:
    """The Ray actor that answers; one for each replica."""

    def __init__(self, config: Any, model_config: Any, replica_rank: int):
        from transformers import AutoConfig, AutoModelForCausalLM
        from verl.utils.config import omega_conf_to_dataclass

        model_config = omega_conf_to_dataclass(model_config)
        architecture = AutoConfig.from_pretrained(model_config.local_path)
        self.model = AutoModelForCausalLM.from_config(architecture, dtype=torch.float32, attn_implementation=ATTENTION)
        self.model.eval()
        end = model_config.generation_config.eos_token_id
        self.ends = [end] if isinstance(end, int) else list(end)
        self.response_length, self.full = config.response_length, config.max_num_seqs
        self.seed = f"{config.seed}:{replica_rank}"
        self.global_steps: int | None = None
        self.batches = 0
        self.gathering: Batch | None = None
        self.one_batch = asyncio.Lock()

    async def load_weights(self, state: dict[str, torch.Tensor], global_steps: int | None) -> None:
        """Take the policy's weights; verl calls this before the first request and after every step."""
        missing, unexpected = self.model.load_state_dict(state, strict=False)
        tied = {"lm_head.weight"} if self.model.config.tie_word_embeddings else set()
        assert not unexpected and set(missing) <= tied, f"{missing=} {unexpected=}"
        self.model.tie_weights()
        self.global_steps, self.batches = global_steps, 0

    async def generate(self, prompt_ids: list[int], sampling_params: dict[str, Any], **kwargs: Any) -> TokenOutput:
        """Answer one request, together with those that come with it."""
        if self.gathering is None:
            self.gathering = Batch()
            self.gathering.answers = asyncio.create_task(self.answer(self.gathering))
        batch = self.gathering
        index = len(batch.requests)
        batch.requests.append(read_request(prompt_ids, sampling_params, self.response_length))
        if len(batch.requests) == self.full:
            self.gathering = None
            batch.full.set()
        answer = (await asyncio.shield(batch.answers))[index]
        return TokenOutput(token_ids=answer.tokens, log_probs=answer.log_probs if sampling_params["logprobs"] else None,
                           stop_reason="completed", extra_fields={"global_steps": self.global_steps})

    async def answer(self, batch: Batch) -> list[Answer]:
        """Wait until the batch is full or nothing more comes, then sample."""
        gathered = -1
        while not batch.full.is_set() and gathered < len(batch.requests):
            gathered = len(batch.requests)
            await asyncio.wait([asyncio.ensure_future(batch.full.wait())], timeout=QUIET_SECONDS)
        if self.gathering is batch:
            self.gathering = None
        async with self.one_batch:
            return await asyncio.to_thread(self.sample, batch.requests)

    def sample(self, requests: list[Request]) -> list[Answer]:
        """Answers in the order of the requests; the draws do not depend on that order."""
        assert self.global_steps is not None, "no weights were loaded"
        rows: dict[Request, list[int]] = {}
        for row, request in enumerate(requests):
            rows.setdefault(request, []).append(row)
        self.batches += 1
        seed = random.Random(f"{self.seed}:{self.global_steps}:{self.batches}").getrandbits(63)
        generator = torch.Generator().manual_seed(seed)
        answers: dict[int, Answer] = {}
        for temperature, max_tokens in sorted({(request.temperature, request.max_tokens) for request in rows}):
            group = sorted(r for r in rows if (r.temperature, r.max_tokens) == (temperature, max_tokens))
            drawn = sample(self.model, [list(request.prompt) for request in group],
                           [len(rows[request]) for request in group], max_tokens, self.ends, temperature, generator)
            for request, some in zip(group, drawn, strict=True):
                answers.update(zip(rows[request], some, strict=True))
        return [answers[row] for row in range(len(requests))]

    async def nothing(self, *args: Any, **kwargs: Any) -> None:
        """Memory of a GPU is freed and taken back by these calls; here they do nothing."""

    wake_up = sleep = clear_kv_cache = release_kv_cache = resume_kv_cache = nothing
    abort_all_requests = resume_generation = start_profile = stop_profile = nothing


class CpuReplica(RolloutReplica):
    """Starts the actor and tells verl where it is."""

    async def launch_servers(self) -> None:
        name = actor_name(self.replica_rank)
        options = {"name": name, "num_cpus": 1, "max_concurrency": self.max_concurrency}
        server = ray.remote(RolloutServer).options(**options).remote(self.config, self.model_config, self.replica_rank)
        self.servers, self._server_handle, self._server_address = [server], server, name


class CpuRollout(BaseRollout):
    """The end of the rollout that lives in the training worker: it sends the weights."""

    def __init__(self, config: Any, model_config: Any, device_mesh: Any, **kwargs: Any):
        super().__init__(config, model_config, device_mesh)
        size = self.config.tensor_model_parallel_size * self.config.data_parallel_size
        self.replica_rank, self.rank = divmod(int(os.environ["RANK"]), size)

    async def resume(self, tags: list[str]) -> None:
        pass

    async def release(self) -> None:
        pass

    async def update_weights(self, weights: Iterable[tuple[str, torch.Tensor]], global_steps: int | None = None,
                             **kwargs: Any) -> None:
        """Every rank walks through the weights, as gathering one is a collective call; the first rank sends them."""
        state = {name: tensor.detach().float() for name, tensor in weights}
        if self.rank == 0:
            await ray.get_actor(actor_name(self.replica_rank)).load_weights.remote(state, global_steps)


_ROLLOUT_REGISTRY[(NAME, "async")] = f"{__name__}.{CpuRollout.__name__}"
RolloutReplicaRegistry.register(NAME, lambda: CpuReplica)
