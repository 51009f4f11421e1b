"""Verification of dialogs (section 3.2), first tier: rules.

In: a dialog. Out: the same dialog, each call step that breaks a rule marked suspect, so that it stays in the history
and is never a label; and a count of steps by reason. The second tier, a judge, is not part of it yet.
"""
from __future__ import annotations

from collections import Counter

import msgspec

from looptool.calls import check_calls
from looptool.records import Dialog
from looptool.sample_rules import fault_kind


def verify_dialog(dialog: Dialog, counts: Counter[str]) -> Dialog:
    """Check every call step; counts "pass", "suspect" (marked before), or the kind of its first fault."""
    messages = list(dialog.messages)
    for index, message in enumerate(messages):
        if not message.calls:
            continue
        faults = check_calls(message.calls, dialog.tools)
        counts["suspect" if message.suspect else fault_kind(faults[0]) if faults else "pass"] += 1
        if faults:
            messages[index] = msgspec.structs.replace(message, suspect=True)
    return msgspec.structs.replace(dialog, messages=messages)
