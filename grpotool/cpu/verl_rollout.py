"""Rollouts for verl 0.9 without a server (rollout.name=in_process): sampled where the task runner
is, a whole batch at once.

verl asks a server process for each rollout by itself, through an agent loop process and with the
reward in one more. That is right for many GPUs; on a CPU it would cost a minute of imports and a
second a step, and on one GPU it needs vLLM. So RolloutManager, verl's
agent.agent_loop_manager_class, takes a batch of prompts, samples all rollouts with
looptool.models.decoding, scores them and puts them into verl's queue, where verl finds them at its
first look. Prompts are tokens of the tokenizer's chat template, replies are decoded and scored as
verl does it elsewhere. The training worker hands over the weights in a file.
"""
from __future__ import annotations

import os
import random
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import torch
import transfer_queue
from safetensors.torch import load_file, save_file
from tensordict import NonTensorData, NonTensorStack, TensorDict
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from verl.trainer.ppo.reward import get_custom_reward_fn
from verl.utils.config import omega_conf_to_dataclass
from verl.utils.tensordict_utils import list_of_dict_to_tensordict
from verl.workers.rollout.base import _ROLLOUT_REGISTRY, BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry

# registers the engine where verl loads model.external_lib
from grpotool.cpu import verl_engine  # noqa: F401
from grpotool.verl_run.overrides import IN_PROCESS
from looptool.models.decoding import ATTENTION, Answer, decode, draws


class WeightsFile(BaseRollout):
    """The end of the rollout in the training worker: it writes the weights to
    rollout.engine_kwargs.in_process.weights."""

    async def resume(self, tags: list[str]) -> None:
        pass

    async def release(self) -> None:
        pass

    async def update_weights(self, weights: Iterable[tuple[str, torch.Tensor]],
                             **kwargs: Any) -> None:
        """Every rank walks through the weights, as gathering one is a collective call.

        The first rank keeps them, in the machine's memory, and writes them.
        """
        first = os.environ["RANK"] == "0"
        state: dict[int, tuple[str, torch.Tensor]] = {}
        for name, tensor in weights:
            if first:
                tensor = tensor.detach().to("cpu", torch.float32).contiguous()
                state.setdefault(tensor.data_ptr(), (name, tensor))  # of two tied ones the first
        if first:
            path = Path(self.config.engine_kwargs[IN_PROCESS]["weights"])
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".part")
            save_file(dict(state.values()), aside)
            aside.replace(path)


class NoReplica(RolloutReplica):
    """verl wants to know a server; there is none."""

    async def launch_servers(self) -> None:
        self.servers, self._server_handle, self._server_address = [], None, IN_PROCESS


_ROLLOUT_REGISTRY[(IN_PROCESS, "async")] = f"{__name__}.{WeightsFile.__name__}"
RolloutReplicaRegistry.register(IN_PROCESS, lambda: NoReplica)


class RolloutManager:
    """From prompts to scored rollouts in verl's queue."""

    def __init__(self, config: Any):
        self.rollout = config.actor_rollout_ref.rollout
        self.prompts_an_update = config.actor_rollout_ref.actor.ppo_mini_batch_size
        model = omega_conf_to_dataclass(config.actor_rollout_ref.model)
        self.tokenizer = model.tokenizer
        architecture = AutoConfig.from_pretrained(model.local_path)
        self.device = torch.device(config.trainer.device)
        self.model = AutoModelForCausalLM.from_config(architecture, dtype=torch.float32,
                                                      attn_implementation=ATTENTION)
        self.model.eval().to(self.device)
        self.fits = memory_for_tokens(self.device) // bytes_a_token(architecture)
        end = model.generation_config.eos_token_id
        self.ends = [end] if isinstance(end, int) else list(end)
        self.reward = get_custom_reward_fn(config)

    @classmethod
    def create(cls, config: Any, **handles: Any) -> RolloutManager:
        """verl's way to make one; the servers and workers it hands over are not needed."""
        return cls(config)

    def load_weights(self, path: Path | str) -> None:
        """Take the policy's weights as the training worker wrote them."""
        # of tied weights the file has one
        missing, unexpected = self.model.load_state_dict(load_file(path), strict=False)
        tied = {"lm_head.weight"} if self.model.config.tie_word_embeddings else set()
        assert not unexpected and set(missing) <= tied, f"{missing=} {unexpected=}"
        self.model.tie_weights()

    def read_prompt(self, chat: list[dict[str, str]]) -> list[int]:
        """Tokens of a chat with the opening of the answer.

        Raises:
            ValueError: there are too many; verl would cut the tools away.
        """
        text = self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        if len(ids) > self.rollout.prompt_length:
            raise ValueError(f"a prompt has {len(ids)} tokens, "
                             f"{len(ids) - self.rollout.prompt_length} too many; it would lose its "
                             "tools: make the Parquet files with json2parquet.py")
        return ids

    def generate_sequences(self, prompts: TensorDict) -> None:
        """Sample, score and store; returns when all is in the queue, partition "train" or "val"."""
        # by index: get() hands out verl's wrapper, which is no bool
        validate = "validate" in prompts and prompts["validate"]
        how = self.rollout.val_kwargs if validate else self.rollout
        if how.top_p != 1.0 or how.top_k > 0:
            raise ValueError("these rollouts are sampled by temperature only, not with "
                             f"top_p={how.top_p} top_k={how.top_k}")
        rows = read_rows(prompts)
        step, partition = rows[0]["global_steps"], "val" if validate else "train"
        chats = [self.read_prompt(list(row["raw_prompt"])) for row in rows]
        # by the step, so that a training that goes on draws what an unbroken one would
        seed = random.Random(f"{self.rollout.seed}:{partition}:{step}").getrandbits(63)
        self.load_weights(self.rollout.engine_kwargs[IN_PROCESS]["weights"])
        answers = self.sample(chats, how.n, how.temperature, seed)
        keys, fields, tags = [], [], []
        # prompts of like length lie together within an update, so that micro batches have little
        # padding
        for i in sorted(range(len(rows)),
                        key=lambda i: (i // self.prompts_an_update, len(chats[i]))):
            for number, answer in enumerate(answers[i]):
                # verl's form of a key: prompt, rollout, output
                keys.append(f"{rows[i]['uid']}_{number}_0")
                fields.append(self.make_fields(rows[i], chats[i], answer))
                tags.append({"status": "success", "prompt_len": len(chats[i]),
                             "response_len": len(answer.tokens),
                             "seq_len": len(chats[i]) + len(answer.tokens), "global_steps": step,
                             # the policy that wrote them is that of the step before
                             "min_global_steps": step - 1, "max_global_steps": step - 1})
        transfer_queue.kv_batch_put(keys=keys, partition_id=partition,
                                    fields=list_of_dict_to_tensordict(fields), tags=tags)
        done = {"is_prompt": True, "status": "finished", "global_steps": step}
        transfer_queue.kv_batch_put(keys=[row["uid"] for row in rows], partition_id=partition,
                                    tags=[done] * len(rows))

    def sample(self, chats: list[list[int]], count: int, temperature: float,
               seed: int) -> list[list[Answer]]:
        """`count` answers to each prompt, of as many prompts at once as memory allows.

        A GPU's memory is the trainer's in between, so nothing of it is kept.
        """
        generator, answers = torch.Generator(self.device).manual_seed(seed), []
        for some in chunks(chats, count, self.rollout.response_length, self.fits):
            answers += decode(self.model, some, self.rollout.response_length, self.ends,
                              draws(temperature, generator), [count] * len(some))
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
        return answers

    def make_fields(self, row: dict[str, Any], prompt: list[int], answer: Answer) -> dict[str, Any]:
        """What verl's trainer reads of one rollout; the reward stands at its last token."""
        score = self.reward(data_source=row["data_source"],
                            ground_truth=row["reward_model"]["ground_truth"],
                            solution_str=self.tokenizer.decode(answer.tokens,
                                                               skip_special_tokens=True),
                            extra_info=row["extra_info"])
        mask = torch.ones(len(answer.tokens), dtype=torch.long)
        rewards = torch.zeros(len(answer.tokens))
        rewards[-1] = score["score"]
        return {
            "prompts": torch.tensor(prompt), "responses": torch.tensor(answer.tokens),
            "input_ids": torch.tensor(prompt + answer.tokens),
            "position_ids": torch.arange(len(prompt) + len(answer.tokens)),
            "response_mask": mask, "loss_mask": mask,
            "rollout_log_probs": torch.tensor(answer.log_probs), "rm_scores": rewards,
            "uid": row["uid"], "data_source": row["data_source"],
            "reward_model": row["reward_model"], "num_turns": 2,
            "extra_fields": {"reward_extra_info": score}, }


def memory_for_tokens(device: torch.device) -> int:
    """Bytes for keys and values; constant, as answers depend on what is drawn together."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory // 4
    return 4 << 30


def bytes_a_token(architecture: PretrainedConfig) -> int:
    """Of its keys and values in all layers, in float32."""
    head = getattr(architecture, "head_dim", None) or (
        architecture.hidden_size // architecture.num_attention_heads)
    return 2 * 4 * architecture.num_hidden_layers * architecture.num_key_value_heads * head


def chunks(prompts: list[list[int]], count: int, longest: int,
           fits: int) -> Iterator[list[list[int]]]:
    """The prompts in order, as many together as fit, one at least.

    Args:
        count: answers to each.
        longest: tokens of an answer, all of which are allocated before it is known how long it is.
        fits: tokens, those of prompts counted as many as the longest one of the chunk has.
    """
    chunk: list[list[int]] = []
    for prompt in prompts:
        width = max(map(len, [*chunk, prompt]))
        if chunk and (len(chunk) + 1) * (width + count * longest) > fits:
            yield chunk
            chunk = []
        chunk.append(prompt)
    if chunk:
        yield chunk


def read_rows(batch: TensorDict) -> list[dict[str, Any]]:
    """The rows of verl's batch as plain dictionaries."""
    def value(column: Any, row: int) -> Any:
        if isinstance(column, NonTensorStack):
            return column[row].data
        return column.data if isinstance(column, NonTensorData) else column[row]

    return [{name: value(column, row) for name, column in batch.items()}
            for row in range(len(batch))]
