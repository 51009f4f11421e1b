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
    if hasattr(model, "peft_config"):
        with merged_lora_context(model, backup_adapters=True):
            weights = normalize_peft_param_name(_gather(model, **how))
    else:
        weights = _gather(model, **how)
    if get_device_name() != "cpu":
        for name, weight in weights.items():  # one by one, so that not all are there twice
            weights[name] = weight.to(torch.bfloat16) if weight.is_floating_point() else weight
    return weights


fsdp_checkpoint_manager.get_fsdp_full_state_dict = gather
