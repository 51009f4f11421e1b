"""Runs in a process of the benchmark's own code, before anything of it is imported: keeps it
harmless and small.

The benchmark imports vendors' SDKs, spreadsheets and vLLM at the top of modules whose other parts
are needed, so those are stood in for here. And it gives text that a model wrote to `eval`: a sum in
an argument, and every call of an agent task. Its modules get an `eval` that does the same for what
a call may hold, and nothing else.
"""
from __future__ import annotations

import ast
import operator
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

# no power, as 9 ** 9 ** 9 has no end
_SUMS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
         ast.Div: operator.truediv}


def arithmetic(expression: str) -> int | float:
    """The value of a sum of numbers.

    Raises:
        ValueError: it is anything else.
    """
    return _number(ast.parse(expression, mode="eval").body)


def _number(node: ast.expr) -> int | float:
    # type(), as True is an int too
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
        return _SUMS[type(node.op)](_number(node.left), _number(node.right))
    raise ValueError("an argument is neither a value nor a sum of numbers")


def method_caller(namespace: dict[str, Any]) -> Callable[[str], Any]:
    """An `eval` of `instance.method(key=literal)`, the instance by its name in `namespace`, the
    method a public one."""

    def call(expression: str) -> Any:
        node = ast.parse(expression, mode="eval").body
        if (not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute)
                or not isinstance(node.func.value, ast.Name) or node.func.attr.startswith("_")
                or any(keyword.arg is None for keyword in node.keywords)):
            raise ValueError("this is no call of a listed function")
        method = getattr(namespace[node.func.value.id], node.func.attr)
        return method(*map(ast.literal_eval, node.args),
                      **{keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords})

    return call


def stand_in(name: str, **content: Any) -> None:
    """A module of this content, in the place of the one that would be imported under this name."""
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
