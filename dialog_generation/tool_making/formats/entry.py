"""One tool of a foreign file, before it is read."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from looptool.calling.type_names import quote
from looptool.foreign.unread_keys import is_known

PassedOver = Counter[str]
"""How often each key was there and was not read."""


class Origin(NamedTuple):
    """The file that a value stands in, for references to other files."""

    file: Path
    root: Path
    """The folder that references may not leave."""


def as_it_stands(record: Any, passed_over: PassedOver) -> Any:
    return record


class Entry(NamedTuple):
    """A piece of a file that stands for one tool."""

    place: str
    """File, position, and the path inside: "apis.json[0] get /pets"."""
    record: Any
    """As it stood in the file; kept aside when the tool is refused."""
    convert: Callable[[Any, PassedOver], Any] = as_it_stands
    """`record` -> a tool as looptool.foreign.tool_objects knows them, its unread keys counted; a
    ValueError where its meaning is not certain."""
    folder: str = ""
    """The subfolder that holds the file: the domain of a tool that names none."""


def refused(place: str, record: Any, reason: str) -> Entry:
    """What stands for no tool, and why."""
    return Entry(place, record, partial(_refuse, reason))


def beside(place: str, others: dict[str, Any], companions: Collection[str],
           passed_over: PassedOver) -> Iterator[Entry]:
    """Counts what stands beside a list of tools; what may be tools too is refused.

    Args:
        companions: keys that say nothing of the tools, whatever they hold.
    """
    for key, value in others.items():
        if value and isinstance(value, (dict, list)) and not is_known(key, companions):
            yield refused(f"{place}.{key}", value,
                          f'the key "{key}" beside a list of tools is not read: {quote(value)}')
        else:
            passed_over[key] += 1


def _refuse(reason: str, record: Any, passed_over: PassedOver) -> NoReturn:
    raise ValueError(reason)
