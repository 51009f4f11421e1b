"""verl's FSDP engine for a CPU, reading each prompt once however many rollouts of it are in a micro
batch.

GRPO trains on n rollouts of one prompt, and where prompts are long and answers short nearly all of
the work is the prompt, n times over. Here the rollouts of a prompt stand behind it in one row, each
at its own positions and seeing the prompt and itself only, so that the log-probabilities, and so
the gradients, are those of n separate rows up to rounding. Logits are computed where an answer is
predicted and nowhere else. Registered under verl's (language_model, fsdp2, cpu).
"""
from __future__ import annotations

from typing import Any

import torch
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils import torch_functional as verl_F
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from grpotool.verl_run import export as verl_export  # noqa: F401  (what a checkpoint exports)


class Packed:
    """Sequences laid out as [prompt | answer | answer ...], one row for each different prompt.

    Prompts are padded on the left to one width, so that all answers start in the same column.
    """

    def __init__(self, prompts: list[torch.Tensor], answers: list[torch.Tensor], pad: int):
        members: dict[tuple[int, ...], list[int]] = {}
        for sequence, prompt in enumerate(prompts):
            members.setdefault(tuple(prompt.tolist()), []).append(sequence)
        self.prompt_width = max(len(prompt) for prompt in members)
        used = [sum(len(answers[sequence]) - 1 for sequence in group) for group in members.values()]
        shape = (len(members), self.prompt_width + max(used))
        self.input_ids = torch.full(shape, pad)
        self.position_ids = torch.zeros(shape, dtype=torch.long)
        segment = torch.full(shape, -1)
        self.places: list[tuple[int, torch.Tensor]] = [(0, segment)] * len(prompts)
        for row, (prompt, group) in enumerate(members.items()):
            start, column = self.prompt_width - len(prompt), self.prompt_width
            self.input_ids[row, start:column] = torch.tensor(prompt)
            self.position_ids[row, start:column] = torch.arange(len(prompt))
            segment[row, start:column] = 0
            for number, sequence in enumerate(group, 1):
                end = column + len(answers[sequence]) - 1
                # the last token is predicted, and predicts nothing
                self.input_ids[row, column:end] = answers[sequence][:-1]
                self.position_ids[row, column:end] = torch.arange(len(prompt),
                                                                  len(prompt) + end - column)
                segment[row, column:end] = number
                # the prompt's last column predicts an answer's first token
                predicting = torch.cat(
                    (torch.tensor([self.prompt_width - 1]), torch.arange(column, end)))
                self.places[sequence] = (row, predicting - (self.prompt_width - 1))
                column = end
        self.attention_mask = visible(segment)

    @property
    def logits_to_keep(self) -> int:
        """Columns from the last one of the prompt on."""
        return self.input_ids.shape[1] - self.prompt_width + 1


def visible(segment: torch.Tensor) -> torch.Tensor:
    """Which column sees which, [row, 1, from, to]: the prompt (segment 0) and its own answer, up to
    itself.

    Padding (-1) sees only itself, since a row of the mask without any True has no softmax.
    """
    length = segment.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    same, prompt = (segment[:, :, None] == segment[:, None, :],
                    (segment == 0)[:, None, :] & (segment >= 0)[:, :, None])
    return ((same | prompt) & causal
            & ((segment >= 0)[:, None, :] | torch.eye(length, dtype=torch.bool)))[:, None]


def jagged(parts: list[torch.Tensor], sequences: torch.Tensor) -> torch.Tensor:
    """verl's layout: a value at each token of each sequence, that of the next token; 0 within the
    prompt."""
    values = []
    for part, length in zip(parts, sequences.offsets().diff().tolist(), strict=True):
        values += [part.new_zeros(length - len(part) - 1), part, part.new_zeros(1)]
    return torch.nested.nested_tensor_from_jagged(torch.cat(values), sequences.offsets())


@EngineRegistry.register(model_type="language_model", backend="fsdp2", device="cpu")
class SharedPromptEngine(FSDPEngineWithLMHead):
    """FSDPEngineWithLMHead with another layout of the model's input."""

    def prepare_model_inputs(self,
                             micro_batch: TensorDict) -> tuple[dict[str, Any], dict[str, Any]]:
        pad = tu.get_non_tensor_data(data=micro_batch, key="pad_token_id", default=0)
        packed = Packed(list(micro_batch["prompts"].unbind()),
                        list(micro_batch["responses"].unbind()), pad)
        inputs = {"input_ids": packed.input_ids, "attention_mask": packed.attention_mask,
                  "position_ids": packed.position_ids, "logits_to_keep": packed.logits_to_keep}
        return inputs, {"packed": packed}

    def prepare_model_outputs(self, output: Any, output_args: dict[str, Any],
                              micro_batch: TensorDict,
                              logits_processor_func: Any) -> dict[str, torch.Tensor]:
        packed, answers = output_args["packed"], micro_batch["responses"]
        temperature = tu.get_non_tensor_data(data=micro_batch, key="temperature", default=1.0)
        rows = torch.cat([torch.full_like(columns, row) for row, columns in packed.places])
        columns = torch.cat([columns for _, columns in packed.places])
        logits = output.logits[rows, columns].float() / temperature
        chosen = logits.log_softmax(dim=-1).gather(1, answers.values()[:, None])[:, 0]
        lengths = answers.offsets().diff().tolist()
        result = {"log_probs": jagged(list(chosen.split(lengths)), micro_batch["input_ids"])}
        if tu.get_non_tensor_data(data=micro_batch, key="calculate_entropy", default=False):
            entropy = verl_F.entropy_from_logits(logits)
            result["entropy"] = jagged(list(entropy.split(lengths)), micro_batch["input_ids"])
        return result
