"""Whether a sample has been seen in a benchmark: its tools by name and schema, its requests by runs of words.

In: a benchmark's own JSON or JSON-lines files (BFCL's and ACEBench's forms are known by their keys), and samples. Out: a
reason for each contaminated sample. Nothing of a benchmark is ever trained on; this finds what came in another way.
"""
from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from looptool.foreign import WHOLE, read_foreign
from looptool.records import InputError, Sample

RUN = 8
"""Words in a run; a request with fewer words must be the same as a whole."""
SHARE = 0.5
"""A request counts as seen when so many of its runs are in the benchmark."""
WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
"""A word, or one Chinese character."""
ToolKey = tuple[str, tuple[tuple[str, str], ...]]


class Benchmark:
    """The tools and requests of some benchmark files."""

    def __init__(self, paths: Iterable[Path]):
        """
        Raises:
            InputError: a file cannot be read, or no tool and no request is in any.
        """
        self.tools: set[ToolKey] = set()
        self._runs: set[int] = set()
        for path in paths:
            for _, entry in read_foreign(path):
                for tool in _tools_in(entry):
                    self.tools.add(tool_key(tool["name"], tool["parameters"]))
                for text in _requests_in(entry):
                    self._runs.update(runs(text))
        if not self.tools and not self._runs:
            raise InputError("the benchmark files hold no tool and no request; name the folder with its data")

    def reason(self, sample: Sample) -> str | None:
        """"seen_tool:<name>" or "seen_request"; None where nothing of the sample is in the benchmark."""
        for tool in sample.tools:
            if tool_key(tool.name, tool.parameters) in self.tools:
                return f"seen_tool:{tool.name}"
        for message in sample.messages:
            if message.role == "user" and self.share(message.content) >= SHARE:
                return "seen_request"
        return None

    def share(self, text: str) -> float:
        """Share of a request's runs that the benchmark has."""
        found = runs(text)
        return sum(run in self._runs for run in found) / len(found) if found else 0.0


def benchmark_files(places: Iterable[Path | str]) -> list[Path]:
    """The files that these files and folders stand for.

    Raises:
        InputError: one does not exist, or a folder holds no JSON.
    """
    files = []
    for place in map(Path, places):
        inside = sorted(file for file in place.rglob("*") if file.suffix in (".jsonl", *WHOLE)) if place.is_dir() else [place]
        if not inside:
            raise InputError(f"{place}: holds no .json or .jsonl file; name the folder with the benchmark's data")
        files += inside
    return files


def tool_key(name: str, parameters: Any) -> ToolKey:
    """What makes two tools the same: the name without case, and each parameter's name and type."""
    properties = parameters.get("properties", {}) if isinstance(parameters, dict) else {}
    return name.lower(), tuple(sorted((parameter, str(schema.get("type")) if isinstance(schema, dict) else "")
                                      for parameter, schema in properties.items()))


def runs(text: str) -> list[int]:
    """Fingerprints of all runs of RUN words, or of the whole text where it is shorter."""
    words = WORD.findall(text.lower())
    return [hash(tuple(words[start:start + RUN])) for start in range(max(1, len(words) - RUN + 1))] if words else []


def _tools_in(value: Any) -> Iterator[dict[str, Any]]:
    """All objects with a name and parameters, at any depth."""
    if isinstance(value, dict):
        if isinstance(value.get("name"), str) and isinstance(value.get("parameters"), dict):
            yield value
        else:
            for inner in value.values():
                yield from _tools_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _tools_in(inner)


def _requests_in(entry: Any) -> Iterator[str]:
    """The text of the key "question": a string, or messages in lists of any depth, of which the user's count."""
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, dict) and value.get("role") == "user":
            yield from texts(value.get("content"))

    return texts(entry.get("question")) if isinstance(entry, dict) else iter(())
