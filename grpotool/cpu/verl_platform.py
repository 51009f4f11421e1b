"""The CPU as a platform of verl 0.9: in comes nothing, out goes a registered platform named "cpu".

verl imports this module at the end of its own import, in the driver and in every Ray worker,
because train.py names it in VERL_USE_EXTERNAL_MODULES. Nothing of verl is changed on disk. Workers
are placed on *logical* GPUs, which train.py declares to Ray, so verl's placement and its resource
check work as they do on a cluster.
"""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import verl.utils.distributed
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

# else verl looks for a device by itself
os.environ["VERL_PLATFORM"] = "cpu"


class CpuDevice:
    """torch.cpu with the calls that verl makes on torch.cuda; memory figures are 0, the rest does
    nothing."""

    def __getattr__(self, name: str) -> Any:
        # else copy and pickle would find hooks here, which do nothing
        if name.startswith("__"):
            raise AttributeError(name)
        if hasattr(torch.cpu, name):
            return getattr(torch.cpu, name)
        if name == "mem_get_info":
            return lambda *args, **kwargs: (0, 0)
        answer = 0 if "memory" in name else None
        return lambda *args, **kwargs: answer

    def get_device_name(self, *args: Any) -> str:
        return "CPU"

    def get_rng_state(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        return torch.get_rng_state()

    def set_rng_state(self, state: torch.Tensor, *args: Any, **kwargs: Any) -> None:
        torch.set_rng_state(state)


@PlatformRegistry.register(platform="cpu")
class CpuPlatform(PlatformBase):
    """What verl asks of a device; where it wants an index for Tensor.to, the answer is "cpu"."""

    device_name = "cpu"
    vendor_name = "cpu"
    device_module = CpuDevice()

    def is_available(self) -> bool:
        return True

    def current_device(self) -> str:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def set_device(self, device_index: int) -> None:
        pass

    def synchronize(self, device_index: int | None = None) -> None:
        pass

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None:
        pass

    def empty_cache(self) -> None:
        pass

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return None, None

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None:
        pass

    def profiler_stop(self) -> None:
        pass

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return ["RAY_EXPERIMENTAL_NOSET_CUDA_VISIBLE_DEVICES"]

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None


_start_process_group = verl.utils.distributed.initialize_global_process_group_ray


def start_process_group(timeout_second: int | None = None, backend: str | None = None) -> None:
    """verl would ask torch for "cpu:gloo,cpu:gloo", which torch refuses as naming one device
    twice."""
    _start_process_group(timeout_second, backend or "cpu:gloo")


verl.utils.distributed.initialize_global_process_group_ray = start_process_group
# that of torchrun's processes
verl.utils.distributed.initialize_global_process_group = start_process_group
