"""In place of verl's load balancer, a process that imports all of verl (5 s, 0.3 GB) to choose
between no servers."""
from __future__ import annotations

from typing import Any


class NoRouter:
    """Answers nothing; grpotool.cpu.verl_rollout asks no server."""

    def __init__(self, servers: dict[str, Any], config: dict[str, Any]):
        pass
