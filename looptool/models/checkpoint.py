"""How large a checkpoint is, and whether it is whole, from the headers of its files."""
from __future__ import annotations

import math
from pathlib import Path

import msgspec

from looptool.errors import InputError


def count_parameters(policy: Path) -> int:
    """Parameters of a Hugging Face folder, by the headers of its safetensors files.

    Raises:
        InputError: it has none, or one is damaged, cut off, or named in the folder's index and not
            there.
    """
    shards, count = sorted(policy.glob("*.safetensors")), 0
    for shard in shards:
        try:
            with shard.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                header = msgspec.json.decode(file.read(length))
            tensors = [tensor for name, tensor in header.items() if name != "__metadata__"]
            count += sum(math.prod(tensor["shape"]) for tensor in tensors)
            end = 8 + length + max((tensor["data_offsets"][1] for tensor in tensors), default=0)
            size = shard.stat().st_size
        # OverflowError, MemoryError: a damaged header tells a length beyond all bounds
        except (OSError, OverflowError, MemoryError, msgspec.DecodeError, AttributeError, TypeError,
                KeyError, IndexError):
            raise InputError(f"{shard}: is damaged; copy or train the policy again") from None
        if size != end:
            raise InputError(
                f"{shard}: has {size:,} bytes and not {end:,}; copy or train the policy again")
    if not shards:
        raise InputError(
            f"{policy}: holds no *.safetensors; set student.model to a folder with weights")
    index = policy / "model.safetensors.index.json"
    named = msgspec.json.decode(index.read_bytes())["weight_map"].values() if index.exists() else []
    if missing := sorted({*named} - {shard.name for shard in shards}):
        raise InputError(f"{index}: names {', '.join(missing)}, which is not there; copy or train "
                         "the policy again")
    return count
