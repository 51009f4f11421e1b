"""What verl 0.9.1 has no key for, in its processes on GPUs; VERL_USE_EXTERNAL_MODULES names this.

Patience: while the first rank writes a checkpoint's export, the others wait in a barrier, which
NCCL ends after 600 s; the 65 GB of a 32B model can take longer. verl reads no key of it:
engine_workers.py starts the process group with timeout_second=None.
"""
from __future__ import annotations

import verl.utils.distributed

from grpotool.verl_run import export as verl_export  # noqa: F401  (what a checkpoint exports)

BARRIER_SECONDS = 2 * 3600

_start_process_group = verl.utils.distributed.initialize_global_process_group_ray


def start_process_group(timeout_second: int | None = None, backend: str | None = None) -> None:
    """verl's own, with more patience."""
    _start_process_group(timeout_second or BARRIER_SECONDS, backend)


verl.utils.distributed.initialize_global_process_group_ray = start_process_group
