"""How large a checkpoint is, and whether it is whole, from the headers of its files."""
from __future__ import annotations

import math
from pathlib import Path

import msgspec
from safetensors import SafetensorError, safe_open

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
            # as numpy's, since nothing is loaded and torch takes seconds to import
            with safe_open(shard, "np") as file:
                count += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())
        except (OSError, SafetensorError) as error:
            raise InputError(f"{shard}: is damaged or cut off ({error}); copy or train the policy "
                             "again") from None
    if not shards:
        raise InputError(
            f"{policy}: holds no *.safetensors; set student.model to a folder with weights")
    index = policy / "model.safetensors.index.json"
    named = msgspec.json.decode(index.read_bytes())["weight_map"].values() if index.exists() else []
    if missing := sorted({*named} - {shard.name for shard in shards}):
        raise InputError(f"{index}: names {', '.join(missing)}, which is not there; copy or train "
                         "the policy again")
    return count
