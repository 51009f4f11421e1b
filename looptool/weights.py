"""How large a checkpoint is, from the headers of its files."""
from __future__ import annotations

import math
from pathlib import Path

import msgspec

from looptool.records import InputError


def count_parameters(policy: Path) -> int:
    """Parameters of a Hugging Face folder, by the headers of its safetensors files.

    Raises:
        InputError: it has none, or one is damaged.
    """
    shards, count = sorted(policy.glob("*.safetensors")), 0
    for shard in shards:
        try:
            with shard.open("rb") as file:
                header = msgspec.json.decode(file.read(int.from_bytes(file.read(8), "little")))
            count += sum(math.prod(tensor["shape"]) for name, tensor in header.items() if name != "__metadata__")
        except (OSError, OverflowError, MemoryError, msgspec.DecodeError, AttributeError, TypeError, KeyError):
            raise InputError(f"{shard}: is damaged; copy or train the policy again") from None
    if not shards:
        raise InputError(f"{policy}: holds no *.safetensors; set student.model to a folder with weights")
    return count
