"""What the answers in a folder are answers to: another run goes on there only with the same
settings."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from bfcl.card import UNKNOWN, model_revision
from bfcl.serving.served_model import telling, value_of
from looptool.config_file import ROOT
from looptool.json_lines import write_json
from looptool.stages.meta import Header, refuse_changes

Settings = dict[str, Any]
"""All that changes an answer; `model` and what `model_settings` gives are among it."""
BETWEEN = [ROOT / name for name in (
    "bfcl/serving/ask.py", "bfcl/system_text.py", "looptool/models/completion.py",
    "looptool/calling/reply.py", "looptool/calling/type_names.py", "looptool/prompts/render.py",
    "looptool/foreign/parameters.py", "looptool/foreign/tool_objects.py",
    "looptool/foreign/unread_keys.py", "looptool/prompts/system_prompt_full.md",
    "looptool/prompts/system_prompt_short.md")]
"""Our files between any benchmark and the model; a change in one may change answers."""
LEARNED = ("revision", "context")
"""What may not be known before a server is up: an unknown one is not compared."""


def model_settings(model: str, flags: Sequence[str]) -> Settings:
    """What is known of a model and its context before a server is up, and the flags for one that
    may change replies."""
    context = value_of("--max-model-len", flags)
    return {"model": model, "revision": model_revision(model, value_of("--revision", flags)),
            "context": int(context) if context.isdecimal() else UNKNOWN,
            "server_flags": telling(flags)}


def go_on(path: Path, benchmark: str, settings: Settings) -> Settings:
    """Write the settings to `path`, or compare them with those there; returns them, as far as they
    are known.

    Raises:
        InputError: the folder was begun with other settings.
    """
    header = Header(stage=benchmark, settings=dict(settings), sources={})
    if path.exists():
        begun = msgspec.json.decode(path.read_bytes(), type=Header)
        for key in LEARNED:
            for unknown, other in ((header, begun), (begun, header)):
                # in both directions: either run may be the one that did not know yet
                if unknown.settings[key] == UNKNOWN and key in other.settings:
                    unknown.settings[key] = other.settings[key]
        refuse_changes(begun, header, path.parent)
    write_json(path, header)
    return header.settings


def once_served(path: Path, benchmark: str, settings: Settings, context: int) -> Settings:
    """The same once the server is up: it tells its context, 0 if not, and may have downloaded a
    newer commit."""
    learned: Settings = {"context": context or UNKNOWN}
    if not Path(settings["model"]).is_dir():
        learned["revision"] = model_revision(settings["model"],
                                             value_of("--revision", settings["server_flags"]))
    return go_on(path, benchmark, settings | learned)
