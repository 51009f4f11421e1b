"""From a class to tools: each public method of a registered class is one, and its Tool record comes
from the code.

In: a subclass of Backend under `@register("domain")`. Out: for each method a name, a JSON Schema
from its type hints (msgspec.Meta gives bounds and lengths), and descriptions from its docstring:
the text before "Args:", and its lines.
"""
from __future__ import annotations

import importlib
import inspect
import pkgutil
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

import msgspec

from looptool.errors import InputError
from looptool.records import Tool


E = TypeVar("E")


class ToolError(Exception):
    """A call that the backend refuses; its text is what the caller reads in {"error": ...}."""


class Backend:
    """The state of one domain in one dialog. A subclass draws the first state in __init__; _methods
    are no tools."""

    def __init__(self, rng: random.Random, today: date):
        """Draw the first state from `rng` alone; `today` is the day of the dialog."""

    def facts(self) -> dict[str, Any]:
        """What a user knows of the first state, so that it is asked for by its right names; planner
        and user see it."""
        return {}

    @staticmethod
    def _known(entries: dict[str, E], id: str, kind: str) -> E:
        """The entry of this id.

        Raises:
            ToolError: there is none.
        """
        if id not in entries:
            raise ToolError(f"no {kind} {id!r}")
        return entries[id]


@dataclass(frozen=True)
class Action:
    """One method that is a tool."""

    backend: type[Backend]
    tool: Tool
    arguments: type[msgspec.Struct]
    """The method's parameters as a record; converting a call's arguments to it checks them."""

    def run(self, state: Backend, arguments: dict[str, Any]) -> dict[str, Any]:
        """What the method returns, or {"error": ...} where it refuses or the arguments do not
        fit."""
        try:
            # not strict, so that 3.0 is an integer, as it is for the schema
            given = msgspec.convert(arguments, self.arguments, strict=False)
            values = {name: getattr(given, name) for name in given.__struct_fields__}
            return getattr(state, self.tool.name)(
                **{name: value for name, value in values.items() if value is not msgspec.UNSET})
        except (ToolError, msgspec.ValidationError) as error:
            return {"error": str(error)}


_ACTIONS: dict[str, Action] = {}
B = TypeVar("B", bound=type[Backend])


def register(domain: str) -> Callable[[B], B]:
    """Class decorator: the public methods of the class become tools of `domain`.

    Raises:
        InputError: a tool of that name is there already, or a method lacks a docstring or the hint
            of a parameter.
    """

    def add(backend: B) -> B:
        actions = [_action(backend, method, domain) for name, method in vars(backend).items()
                   if inspect.isfunction(method) and not name.startswith("_") and name != "facts"]
        for action in actions:
            other = _ACTIONS.get(action.tool.name)
            if other is not None:
                raise InputError(
                    f"{_place(backend)}: {other.backend.__name__} has a tool {action.tool.name!r} "
                    "already; give the method another name")
        _ACTIONS.update((action.tool.name, action) for action in actions)
        return backend

    return add


@cache
def _load() -> dict[str, Action]:
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        importlib.import_module(f"dialog_generation.backends.{module.name}")
    return _ACTIONS


def backend_tools() -> list[Tool]:
    """The tools of every registered backend, by module and in the order of their methods."""
    return [action.tool for action in _load().values()]


def action_for(tool: Tool) -> Action | None:
    """The method behind a tool: same name and same parameters; the description is free."""
    action = _load().get(tool.name)
    # a tool of others may have the same name by chance
    return action if action is not None and action.tool.parameters == tool.parameters else None


def backend_files(tools: list[Tool]) -> list[Path]:
    """The source files of the backends that run some of `tools`."""
    actions = [action for tool in tools if (action := action_for(tool)) is not None]
    return sorted({Path(inspect.getfile(action.backend)) for action in actions})


def _action(backend: type[Backend], method: Callable[..., Any], domain: str) -> Action:
    hints = get_type_hints(method, include_extras=True)
    fields: list[tuple[str, Any, Any]] = []
    about, lines = _read_docstring(method.__doc__ or "")
    for parameter in list(inspect.signature(method).parameters.values())[1:]:
        hint = hints.get(parameter.name)
        if hint is None or not about:
            raise InputError(f"{_place(backend)}: {method.__qualname__} needs a docstring and a "
                             "type hint for each parameter; its tool is made from them")
        fields.append(_field(parameter, hint))
    arguments = msgspec.defstruct(method.__name__, fields, kw_only=True, forbid_unknown_fields=True)
    schema = msgspec.json.schema(arguments)
    definitions = schema["$defs"]
    body = definitions.pop(method.__name__)
    for name, text in lines.items():
        body["properties"][name]["description"] = text
    parameters = {"type": "object", "properties": body["properties"],
                  "required": body.get("required", [])}
    parameters |= {"$defs": definitions} if definitions else {}
    tool = Tool(name=method.__name__, description=about, parameters=_with_types(parameters),
                domain=domain)
    return Action(backend, tool, arguments)


def _field(parameter: inspect.Parameter, hint: Any) -> tuple[str, Any, Any]:
    """A field of the arguments; `X | None = None` is a parameter that may be left out, and null is
    no value of it."""
    if parameter.default is None:
        kept = tuple(part for part in get_args(hint) if part is not type(None))
        return (parameter.name, kept[0] | msgspec.UnsetType if len(kept) == 1 else hint,
                msgspec.UNSET)
    required = parameter.default is inspect.Parameter.empty
    return parameter.name, hint, msgspec.NODEFAULT if required else parameter.default


def _read_docstring(text: str) -> tuple[str, dict[str, str]]:
    """The description, and the text of each parameter's line under "Args:"."""
    about, _, arguments = inspect.cleandoc(text).partition("Args:")
    lines = re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", arguments, re.MULTILINE)
    return " ".join(about.split()), {name: " ".join(said.split()) for name, said in lines}


def _with_types(schema: Any) -> Any:
    """The schema with the type of each enum written out, as models and checkers expect it, and
    without titles."""
    if isinstance(schema, list):
        return [_with_types(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    typed = {name: _with_types(part) for name, part in schema.items()
             if name != "title" or isinstance(part, dict)}  # a dict is a parameter of that name
    if (isinstance(schema.get("enum"), list)
            and all(isinstance(choice, str) for choice in schema["enum"])):
        return {"type": "string", **typed}
    return typed


def _place(backend: type[Backend]) -> str:
    return Path(inspect.getfile(backend)).name
