"""Whether a sample has been seen in a benchmark: its tools by name and schema, its requests by runs
of words.

In: a benchmark's own JSON or JSON-lines files (BFCL's and ACEBench's forms are known by their
keys), and samples. Out: a reason for each contaminated sample. Nothing of a benchmark is ever
trained on; this finds what came in another way.

A request is held against each of the benchmark's by itself, as common phrases add up over thousands
of them: it is seen where one of them shares half of the runs of the shorter of the two. That finds
all of BFCL's requests inside other text, and with one, two, three words replaced 91, 71 and 50% of
them.
"""
from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from looptool.errors import InputError
from looptool.foreign.files import files_in, read_foreign
from looptool.foreign.parameters import is_json_schema, json_schema
from looptool.ids import OfTool
from looptool.records import Sample

RUN = 5
"""Words in a run."""
LEAST = 3
"""Runs that a request must have; a shorter one has to be the same as a whole, and be more than a
greeting."""
GREETING = 4
"""Words that anybody may say: "how are you today" is in BFCL."""
SHARE = 0.5
WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
"""A word, or one Chinese character."""
SPEAKER = re.compile(r"^(user|system|assistant|agent)\s*:", re.MULTILINE)
"""Begins a turn in ACEBench's conversations, which are one text; "system" is the assistant
there."""
ToolKey = tuple[str, tuple[tuple[str, str], ...]]


class Benchmark:
    """The tools and requests of some benchmark files."""

    def __init__(self, paths: Iterable[Path]):
        """
        Raises:
            InputError: a file cannot be read, or no tool and no request is in any.
        """
        self.tools: dict[ToolKey, str] = {}
        """Where each is first."""
        self.found: Counter[str] = Counter()
        """How many "tools" and "requests" the files hold, repeated ones among them."""
        self._places: list[str] = []
        self._sizes: list[int] = []
        self._having: defaultdict[int, list[int]] = defaultdict(list)
        self._whole: dict[tuple[str, ...], int] = {}
        for path in paths:
            for place, entry in read_foreign(path):
                for name, parameters in tools_in(entry):
                    self.found["tools"] += 1
                    self.tools.setdefault(tool_key(name, parameters), place)
                for text in requests_in(entry):
                    self.found["requests"] += 1
                    self._add(text, place)
        if not self.found:
            raise InputError(
                "the benchmark files hold no tool and no request; name the folder with its data")
        self._key = OfTool(lambda tool: tool_key(tool.name, tool.parameters))

    def _add(self, text: str, place: str) -> None:
        words = _words(text)
        if words in self._whole:
            return
        number = self._whole[words] = len(self._places)
        found = runs(words)
        self._places.append(place)
        self._sizes.append(len(found))
        if len(found) >= LEAST:
            for run in found:
                self._having[run].append(number)

    def reason(self, sample: Sample) -> str | None:
        """"seen_tool:<name>, <place>" or "seen_request:<place>", the place as
        "BFCL_v3_simple.json:3"; None where nothing of the sample is in the benchmark."""
        for tool in sample.tools:
            if (place := self.tools.get(self._key(tool))) is not None:
                return f"seen_tool:{tool.name}, {place}"
        for message in sample.messages:
            if message.role == "user" and (place := self.place_of(message.content)) is not None:
                return f"seen_request:{place}"
        return None

    def place_of(self, text: str) -> str | None:
        """Where a request is in the benchmark."""
        words = _words(text)
        if len(words) > GREETING and words in self._whole:
            return self._places[self._whole[words]]
        found = runs(words)
        if len(found) < LEAST:
            return None
        shared = Counter(number for run in found for number in self._having.get(run, ()))
        near = [number for number, count in shared.items()
                if count >= SHARE * min(len(found), self._sizes[number])]
        # the first in the files, so that each run names the same one
        return self._places[min(near)] if near else None


def benchmark_files(places: Iterable[Path | str]) -> list[Path]:
    """The files that these files and folders stand for.

    Raises:
        InputError: one does not exist, or a folder holds no JSON.
    """
    return [file for place in map(Path, places) for file in files_in(place)]


def tool_key(name: str, parameters: dict[str, Any]) -> ToolKey:
    """What makes two tools the same: the name in letters, digits and "_", and each parameter's name
    and type."""
    try:
        properties = json_schema(parameters)["properties"]
    except ValueError:  # a type that is none of JSON Schema's, such as BFCL's Java types
        properties = parameters.get("properties")
        properties = properties if isinstance(properties, dict) else {}
    return re.sub(r"\W", "_", name.lower()), tuple(sorted(
        (parameter, str(schema.get("type")) if isinstance(schema, dict) else "")
        for parameter, schema in properties.items()))


def _words(text: str) -> tuple[str, ...]:
    return tuple(WORD.findall(text.lower()))


def runs(words: tuple[str, ...]) -> set[int]:
    """Fingerprints of all runs of RUN words; none where there are fewer."""
    # hash() differs between processes, but these fingerprints stay in this one
    return {hash(words[start:start + RUN]) for start in range(len(words) - RUN + 1)}


def tools_in(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and parameters of all objects that have them, at any depth; a part of ACEBench's calls
    the latter arguments."""
    if isinstance(value, dict):
        schema = next((value[key] for key in ("parameters", "arguments")
                       if is_json_schema(value.get(key))), None)
        # what stands inside of a tool, such as a parameter called "name", is none
        if isinstance(value.get("name"), str) and schema is not None:
            yield value["name"], schema
        else:
            for inner in value.values():
                yield from tools_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from tools_in(inner)


def requests_in(entry: Any) -> Iterator[str]:
    """The text of the key "question": a text, of whose turns the user's count where it has turns,
    or messages in lists of any depth."""
    def texts(value: Any) -> Iterator[str]:
        if isinstance(value, str):
            # speakers and what they say, in turn, as the pattern has a group
            start, *turns = SPEAKER.split(value)
            yield from (turns[1::2][index] for index, speaker in enumerate(turns[::2])
                        if speaker == "user")
            if start.strip():
                yield start
        elif isinstance(value, list):
            for inner in value:
                yield from texts(inner)
        elif isinstance(value, dict) and value.get("role") == "user":
            yield str(value.get("content"))

    return texts(entry.get("question")) if isinstance(entry, dict) else iter(())
