"""`python -m verl.trainer.main_ppo` with verl's task runner in this process, where verl has it in
an actor of Ray.

That actor would import all of verl once more, 4 s of the start on a laptop, and Ray would hide the
GPU from it, on which grpotool.cpu.verl_rollout samples. In: verl's overrides, as verl takes them.
"""
from __future__ import annotations

import os
from typing import Any

import hydra
import ray
from verl.trainer.main_ppo import TaskRunnerV1, run_ppo
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config


class _Run:
    """Stands where verl expects a method of an actor."""

    @staticmethod
    def remote(config: Any) -> ray.ObjectRef:
        """Train to the end; verl waits for what this returns."""
        # the class that Ray has made an actor of
        TaskRunnerV1.__ray_metadata__.modified_class().run(config)
        return ray.put(None)


class TaskRunnerHere:
    """Stands where verl expects an actor's class, and the actor."""

    run = _Run

    @classmethod
    def remote(cls) -> type[TaskRunnerHere]:
        return cls


@hydra.main(config_path="pkg://verl.trainer.config", config_name="ppo_trainer", version_base=None)
def main(config: Any) -> None:
    """As verl's own, apart from where the task runner is."""
    validate_config(config, use_reference_policy=need_reference_policy(config),
                    use_critic=need_critic(config))
    os.environ["TRANSFER_QUEUE_ENABLE"] = "1"  # verl sets it for actors only
    run_ppo(config, task_runner_class=TaskRunnerHere)


if __name__ == "__main__":
    main()
