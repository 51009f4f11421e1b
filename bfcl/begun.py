"""What the answers in a folder are answers to: another run goes on there only with the same settings."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bfcl.card import UNKNOWN, model_revision
from looptool.meta import Header, refuse_changes
from looptool.records import write_atomic

Settings = dict[str, Any]
"""All that changes an answer; `model` and `revision` are among it."""


def go_on(path: Path, benchmark: str, settings: Settings) -> Settings:
    """Write the settings to `path`, or compare them with those there; returns them, the revision as far as it is known.

    A hub model has no revision here until a server has downloaded it, so an unknown one is not compared.

    Raises:
        InputError: the folder was begun with other settings.
    """
    header = Header(stage=benchmark, settings=dict(settings), sources={})
    if path.exists():
        begun = msgspec.json.decode(path.read_bytes(), type=Header)
        for unknown, other in ((header, begun), (begun, header)):
            if unknown.settings["revision"] == UNKNOWN:
                unknown.settings["revision"] = other.settings["revision"]
        refuse_changes(begun, header, path.parent)
    write_atomic(path, [msgspec.json.format(msgspec.json.encode(header), indent=2) + b"\n"])
    return header.settings


def once_served(path: Path, benchmark: str, settings: Settings) -> Settings:
    """The same once the server is up, which may have downloaded the model, or a newer commit of it."""
    if Path(settings["model"]).is_dir():
        return settings
    return go_on(path, benchmark, settings | {"revision": model_revision(settings["model"])})
