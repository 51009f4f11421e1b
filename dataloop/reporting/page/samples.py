"""The samples of a run as the browser in the page shows them: every D_j with what became of each.

In, per round: dataset.jsonl, probes.jsonl, verdicts.jsonl, label_changes.jsonl. Out: one
SampleData, and its packed form for the page. What repeats is held once: a dialog's tools, the
messages that its steps share, a sample that is in several rounds.
"""
from __future__ import annotations

import base64
import gzip
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from dataloop.reporting.files import stream
from dataloop.reporting.measures import Known, predicted_right
from looptool.ids import OfTool
from looptool.records import (
    LabelChange, Message, Origin, Probe, Record, Sample, Tool, Verdict, VerdictName, Vote)
from looptool.run_files import RoundFiles

MOST_SAMPLES = 20_000
"""Of each round that the page holds: the paper's 18,304, and no page that a browser cannot open."""
MOST_CHARACTERS = 4_000
"""Of a reply that could not be read; probes.jsonl has the whole."""
MOST_DEPTH = 6
"""Levels of an argument that are told apart; what is deeper is compared as one value."""
T = TypeVar("T")


class ShownCall(Record):
    """A call whose arguments are texts that are equal where ToolMatch finds the values equal."""

    name: str
    arguments: dict[str, str]
    """JSON by path: {"place.city": '"Bern"'}."""


class ShownMessage(Record, omit_defaults=True):
    """A message without its reasoning, which is the longest part and stays in probes.jsonl."""

    role: str
    content: str = ""
    calls: list[ShownCall] = []


class ShownSample(Record, omit_defaults=True):
    """A sample; numbers are places in the lists of SampleData."""

    id: str
    tools: int
    date: str
    messages: list[int]
    label: int
    made: int
    """The round that made it, 0 for seed data."""
    parent: str | None = None
    source: str = ""


class ShownRow(Record, omit_defaults=True):
    """A sample as one round has it; None is what the round has not come to yet, or no truth."""

    sample: int
    round: int
    origin: Origin
    reason: str | None = None
    prediction: int | None = None
    perplexity: float | None = None
    pass_rate: float | None = None
    faults: list[str] = []
    text: str = ""
    """The reply, where it has faults."""
    verdict: VerdictName | None = None
    votes: list[Vote] = []
    label_right: bool | None = None
    prediction_right: bool | None = None


class ShownChange(Record):
    """A label that was replaced."""

    old_id: str
    new_id: str
    round: int
    label: int
    """The new one."""
    undone: bool


class SampleData(Record):
    """All that the browser holds."""

    simulated: bool
    left_out: dict[int, int]
    """By round: samples past MOST_SAMPLES."""
    tools: list[Tool]
    toolsets: list[list[int]]
    messages: list[ShownMessage]
    samples: list[ShownSample]
    rows: list[ShownRow]
    changes: list[ShownChange]


class _Once(Generic[T]):
    """Values in the order in which they first came, each once."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._places: dict[bytes, int] = {}

    def add(self, key: Any, value: Callable[[], T]) -> int:
        """The place of the value with this key."""
        place = self._places.setdefault(msgspec.json.encode(key), len(self.values))
        if place == len(self.values):
            self.values.append(value())
        return place


def collect_samples(rounds: Iterable[RoundFiles], known: Known | None) -> SampleData:
    """The samples of these rounds; `known` is the truth of a SIMULATED world.

    Raises:
        InputError: a file is damaged.
    """
    collector = _Collector(known)
    for files in rounds:
        collector.add_round(files)
    return SampleData(
        simulated=known is not None, left_out=collector.left_out, tools=collector.tools.values,
        toolsets=collector.toolsets.values, messages=collector.messages.values,
        samples=collector.samples.values, rows=collector.rows, changes=collector.changes)


def pack(data: SampleData) -> str:
    """As text without any character that HTML gives a meaning: JSON, gzip, base64."""
    # mtime=0: the same run gives the same page
    return base64.b64encode(gzip.compress(msgspec.json.encode(data), 6, mtime=0)).decode()


class _Collector:
    """Fills the lists of SampleData, round by round."""

    def __init__(self, known: Known | None):
        self.known: Known = known or (lambda sample, answer: None)
        self.left_out: dict[int, int] = {}
        self.tools: _Once[Tool] = _Once()
        self.toolsets: _Once[list[int]] = _Once()
        self.messages: _Once[ShownMessage] = _Once()
        self.samples: _Once[ShownSample] = _Once()
        self.rows: list[ShownRow] = []
        self.changes: list[ShownChange] = []
        self._place_of_tool = OfTool(lambda tool: self.tools.add(tool, lambda: tool))

    def add_round(self, files: RoundFiles) -> None:
        rows: dict[str, ShownRow] = {}
        for count, sample in enumerate(stream(files.dataset, Sample) or (), 1):
            if count > MOST_SAMPLES:
                self.left_out[files.round] = count - MOST_SAMPLES
                continue
            rows[sample.id] = ShownRow(
                sample=self._sample(sample), round=files.round, origin=sample.origin,
                label_right=self.known(sample, sample.label))
        for probe in stream(files.probes, Probe) or ():
            if row := rows.get(probe.sample.id):
                self._add_probe(row, probe)
        for verdict in stream(files.verdicts, Verdict) or ():
            if row := rows.get(verdict.probe.sample.id):
                row.verdict, row.votes = verdict.verdict, verdict.votes
        for change in stream(files.label_changes, LabelChange) or ():
            if row := rows.get(change.old_id):
                row.votes = row.votes or change.votes
                self.changes.append(ShownChange(
                    old_id=change.old_id, new_id=change.new_id, round=change.round,
                    label=self._message(change.new_label), undone=change.undone))
        self.rows += rows.values()

    def _add_probe(self, row: ShownRow, probe: Probe) -> None:
        row.reason, row.faults = probe.reason, probe.faults
        row.prediction = self._message(probe.prediction)
        row.perplexity, row.pass_rate = round(probe.perplexity, 4), probe.pass_rate
        row.text = probe.text[:MOST_CHARACTERS] if probe.faults else ""
        row.prediction_right = predicted_right(probe, self.known)

    def _sample(self, sample: Sample) -> int:
        return self.samples.add(sample.id, lambda: ShownSample(
            id=sample.id, tools=self._toolset(sample.tools), date=sample.date,
            messages=[self._message(message) for message in sample.messages],
            label=self._message(sample.label), made=sample.round, parent=sample.parent,
            source=sample.source))

    def _toolset(self, tools: Sequence[Tool]) -> int:
        places = [self._place_of_tool(tool) for tool in tools]
        return self.toolsets.add(places, lambda: places)

    def _message(self, message: Message) -> int:
        key = message.role, message.content, message.calls
        return self.messages.add(key, lambda: ShownMessage(
            role=message.role, content=message.content,
            calls=[ShownCall(name=call.name, arguments=shown_arguments(call.arguments))
                   for call in message.calls]))


def shown_arguments(arguments: dict[str, Any]) -> dict[str, str]:
    """See ShownCall: 1.0 is written as 1, and keys below the first level in their order."""
    same = _decode(msgspec.json.encode(arguments))
    return {path: msgspec.json.encode(value, order="sorted").decode()
            for path, value in _leaves(same, "", MOST_DEPTH)}


def _number(text: str) -> int | float:
    number = float(text)
    # above, floats are further apart than 1, so the text of an integer would claim too much
    return int(number) if number.is_integer() and abs(number) < 2 ** 53 else number


_decode = msgspec.json.Decoder(float_hook=_number).decode


def _leaves(values: dict[str, Any], path: str, depth: int) -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        # a path has to say which dot is a level
        quoted = msgspec.json.encode(name).decode() if set(name) & set('."') else name
        if isinstance(value, dict) and value and depth > 1:
            yield from _leaves(value, f"{path}{quoted}.", depth - 1)
        else:
            yield path + quoted, value
