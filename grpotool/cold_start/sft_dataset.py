"""The samples of a cold start as verl's SFT trainer reads them (data.custom_cls).

In: the rows of json2parquet. Out: token ids, the prompt's being those that rollouts and probes
begin with, and the label as the policy should write it, with the token that ends a turn. Only the
label is trained on. verl's own dataset renders turn by turn, which some chat templates do not
allow, and trains on every assistant turn, also on those that are no label.
"""
from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import torch
from torch.utils.data import Dataset

from grpotool.reward import GroundTruth
from grpotool.rows import read_rows
from looptool.errors import InputError
from looptool.prompts.render import render_answer


class LabelledPrompts(Dataset):
    """Prompt and label of each row; a label of more than data.max_response_length tokens is left
    out.

    Args:
        config: verl's data section; end_token is the id by which a policy's answer ends, null for
            the tokenizer's own.
    """

    # verl hands over processor and max_samples too
    def __init__(self, parquet_files: Any, tokenizer: Any, config: Any, processor: Any = None,
                 max_samples: int = -1):
        paths = [parquet_files] if isinstance(parquet_files, str) else list(parquet_files)
        self.tokenizer = tokenizer
        end = tokenizer.eos_token_id if config.end_token is None else config.end_token
        self.rows: list[tuple[list[dict[str, str]], list[int]]] = []
        for row in (row for path in paths
                    for row in read_rows(Path(path), ["prompt", "reward_model"])):
            label = msgspec.json.decode(row["reward_model"]["ground_truth"], type=GroundTruth)
            answer = [*self.ids(render_answer(label)), end]
            if len(answer) <= config.max_response_length:
                self.rows.append((row["prompt"], answer))
        if len(self.rows) < config.train_batch_size:
            raise InputError(f"{paths[0]}: {len(self.rows)} labels of at most "
                             f"{config.max_response_length} tokens are less than a batch of "
                             f"{config.train_batch_size}; set train.cold_start.batch_size lower or "
                             "student.max_response_tokens higher")

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, no others added."""
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        """Tensors [token]: what verl's engine and loss read, and prompts and responses for
        grpotool.cpu.verl_engine."""
        chat, answer = self.rows[index]
        prompt = self.ids(
            self.tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False))
        mask = [0] * len(prompt) + [1] * len(answer)
        return {"input_ids": torch.tensor(prompt + answer), "position_ids": torch.arange(len(mask)),
                "loss_mask": torch.tensor(mask), "prompts": torch.tensor(prompt),
                "responses": torch.tensor(answer)}
