"""A config's own overrides of verl, `train.verl`: passed on as they are, unless they undo ours."""
from __future__ import annotations

from looptool.errors import InputError


def key_of(override: str) -> str:
    """The key that an override sets, adds (+), sets or adds (++), or deletes (~)."""
    return override.lstrip("+~").partition("=")[0]


def refuse_conflicts(ours: list[str], theirs: list[str]) -> None:
    """Refuse an override that would undo one of ours, or another of theirs.

    A key conflicts with itself, with what it is a part of, and with its parts.

    Raises:
        InputError: it does, and the message names both, or it is not written as key=value.
    """
    taken = [key_of(override) for override in ours]
    for override in theirs:
        key = key_of(override)
        if "=" not in override and not override.startswith("~"):
            raise InputError(f"train.verl: {override!r} is not written as key=value; mend it")
        for other in taken:
            if f"{other}.".startswith(f"{key}.") or f"{key}.".startswith(f"{other}."):
                raise InputError(f"train.verl: {override} conflicts with {other}, which is set "
                                 "already (train.py --dry-run shows all); use the config's own key "
                                 "for it, or take it out")
        taken.append(key)
