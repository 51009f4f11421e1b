"""Which token the processes of a Ray ask each other for.

Ray 2.60 asks for one in every cluster that `ray.init()` starts. Left alone it writes it to
~/.ray/auth_token, and from then on every `ray start --head` asks all nodes for it, which those with
a home of their own do not have (ray/_private/authentication/authentication_token_setup.py). So a
Ray of our own is given one that it keeps to itself.
"""
from __future__ import annotations

import os
import secrets
from pathlib import Path


def own_token() -> dict[str, str]:
    """For the environment of a Ray that is ours alone: a token, unless the user has named one."""
    named = any(name in os.environ for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    return {} if named else {"RAY_AUTH_TOKEN": secrets.token_hex(32)}


def bring_token() -> None:
    """Before joining a Ray by its address: bring the home's token, if any, as `ray start` does.

    By itself Ray does so for a cluster that it finds, not for one that is named to it.
    """
    if "RAY_AUTH_MODE" not in os.environ and (Path.home() / ".ray" / "auth_token").exists():
        os.environ["RAY_AUTH_MODE"] = "token"
