"""verl's own check of a list of overrides; run by the doctor as a process, for importing verl takes
seconds.

In, on stdin: a JSON list of overrides. Out: exit code 0, or verl's or Hydra's exception.
"""
from __future__ import annotations

import json
import sys


def compose_by_verl(overrides: list[str]):
    """verl's whole config, composed by Hydra and validated; raises what they raise."""
    from hydra import compose, initialize_config_module
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import validate_config

    with initialize_config_module("verl.trainer.config", version_base=None):
        config = compose(config_name="ppo_trainer", overrides=overrides)
    validate_config(config, use_reference_policy=need_reference_policy(config),
                    use_critic=need_critic(config))
    return config


if __name__ == "__main__":
    compose_by_verl(json.load(sys.stdin))
