"""What a check of the doctor finds: one line for the terminal."""
from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from looptool.config import Config
from looptool.run_files import RoundFiles


class Finding(NamedTuple):
    """One line."""

    state: Literal["ok", "FAIL", "warn", "skip"]
    text: str

    def __str__(self) -> str:
        return f"{self.state:4} {self.text}"


Check = Callable[[Config, RoundFiles], Iterator[Finding]]
"""Yields what it finds; an InputError that it raises is a failure."""


def ok(text: str) -> Finding:
    return Finding("ok", text)


def fail(text: str, to_do: str) -> Finding:
    return Finding("FAIL", f"{text} -> {to_do}")


def warn(text: str, to_do: str) -> Finding:
    """What may go well."""
    return Finding("warn", f"{text} -> {to_do}")


def skip(text: str, why: str) -> Finding:
    return Finding("skip", f"{text}: {why}")
