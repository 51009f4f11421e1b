"""Errors that scripts end with: one line on the screen, and an exit code."""
from __future__ import annotations


class InputError(Exception):
    """Something the user gave is wrong. The message names file, line or key and says what to do;
    scripts exit 2."""


class StageFailed(Exception):
    """No input gets an answer any more: every one failed, or very many in a row. The message holds
    the first cause."""
