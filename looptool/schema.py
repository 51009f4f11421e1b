"""Calls against their tools' JSON Schemas."""
from __future__ import annotations

from collections.abc import Sequence

from looptool.records import Call, Tool


def check_call(call: Call, tool: Tool) -> list[str]:
    """Every fault of one call, as a code that names the argument; empty when the call fits its tool."""
    properties = tool.parameters.get("properties", {})
    return [*(f"missing_required:{name}" for name in tool.parameters.get("required", []) if name not in call.arguments),
            *(f"unknown_argument:{name}" for name in call.arguments if name not in properties)]


def check_calls(calls: Sequence[Call], tools: Sequence[Tool]) -> list[str]:
    """Every fault of all calls, in their order; a call of no given tool is "unknown_tool:<name>"."""
    by_name = {tool.name: tool for tool in tools}
    faults = []
    for call in calls:
        tool = by_name.get(call.name)
        faults += [f"unknown_tool:{call.name}"] if tool is None else check_call(call, tool)
    return faults
