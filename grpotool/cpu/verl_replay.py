"""verl's replay buffer, asked every 20 ms instead of every 2 s whether the rollouts are there.

train.py names it as trainer.v1.sampler.custom_sampler; on a GPU a step takes minutes and verl's own pace is right.
"""
from __future__ import annotations

from typing import Any

from verl.trainer.ppo.v1.replay_buffer import ReplayBuffer

POLL_SECONDS = 0.02


class PromptReplayBuffer(ReplayBuffer):
    """Keeps everything of verl's but the pause between two looks."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, poll_interval=POLL_SECONDS, **kwargs)
