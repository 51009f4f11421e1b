"""One tool of a foreign file, before it is read."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


def as_it_stands(record: Any) -> Any:
    return record


class Entry(NamedTuple):
    """A piece of a file that stands for one tool."""

    place: str
    """File, position, and the path inside: "apis.json[0] get /pets"."""
    record: Any
    """As it stood in the file; kept aside when the tool is refused."""
    convert: Callable[[Any], Any] = as_it_stands
    """`record` -> a tool as looptool.schema.read_tool knows them; a ValueError where its meaning is not certain."""
    folder: str = ""
    """The subfolder that holds the file: the domain of a tool that names none."""
