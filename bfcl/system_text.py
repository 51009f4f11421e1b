"""The system text that a benchmark's tasks stand under: one of ours, or a file's, for models
trained with another."""
from __future__ import annotations

from pathlib import Path

from looptool.errors import InputError
from looptool.prompts.render import (
    fill, read_prompt, render_system, render_tools, without_turn_markers)
from looptool.records import Tool


def system_text(tools: list[Tool], prompt: str, date: str = "unknown") -> str:
    """The text by "full" or "short", which are ours, or by a file with {{tools}}, and {{date}} if
    it likes.

    Raises:
        InputError: the file cannot be read, or has no place for the tools.
    """
    if prompt in ("full", "short"):
        return render_system(tools, date, prompt)
    try:
        template = read_prompt(Path(prompt))
        if "{{tools}}" not in template:
            raise InputError(
                f"--prompt {prompt}: has no {{{{tools}}}}; put it where the tools shall stand")
        return fill(template, date=date, tools=without_turn_markers(render_tools(tools)))
    except (OSError, KeyError) as error:
        raise InputError(f"--prompt {prompt}: {error}; give one that --help names, or a file with "
                         "{{tools}}") from None
