"""The weights that verl 0.9.1 exports from a checkpoint as a Hugging Face folder, put right.

- LoRA is merged. verl writes the names and tensors of peft, with the adapter apart, into a folder
  that has the config of the model itself, which loads as its untrained weights
  (fsdp_checkpoint_manager.py, `if self.should_save_hf_model`).
- On GPUs they are bfloat16, as verl's own merger writes them (model_merger/fsdp_model_merger.py),
  and as the config.json beside them says already. What is trained on stays float32 in the shards.
"""
from __future__ import annotations

import torch
from verl.utils.checkpoint import fsdp_checkpoint_manager
from verl.utils.device import get_device_name
from verl.utils.fsdp_utils import merged_lora_context, normalize_peft_param_name

_gather = fsdp_checkpoint_manager.get_fsdp_full_state_dict


def gather(model: torch.nn.Module, **how: bool) -> dict[str, torch.Tensor]:
    """verl's own, which gathers all weights on the first rank; see above."""
    if not hasattr(model, "peft_config"):
        return copied(_gather(model, **how))
    with merged_lora_context(model, backup_adapters=True):  # at whose end the weights are put back
        return copied(normalize_peft_param_name(_gather(model, **how)))


def copied(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same, each a copy, made one after the other, so that not all are there twice."""
    on_gpus = get_device_name() != "cpu"
    for name, weight in weights.items():
        dtype = torch.bfloat16 if on_gpus and weight.is_floating_point() else weight.dtype
        weights[name] = weight.to(dtype, copy=True)
    return weights


fsdp_checkpoint_manager.get_fsdp_full_state_dict = gather
