"""The records that stages pass to each other: one record is one JSON line, typed and validated on reading.

Ids come from content, never from the clock, so that the same input gives the same file.
docs/formats.md shows one real record of each kind.
"""
from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import msgspec


class InputError(Exception):
    """Something the user gave is wrong. The message names file, line or key and says what to do; scripts exit 2."""


class Record(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Base of all records: keyword fields, unknown fields refused."""


class Tool(Record, frozen=True, omit_defaults=True):
    """One function that the model may call."""

    name: str
    """Kept exactly as its source writes it; unique within one sample."""
    description: str = ""
    parameters: dict[str, Any] = msgspec.field(
        default_factory=lambda: {"type": "object", "properties": {}, "required": []})
    """JSON Schema of type "object"."""
    domain: str = ""
    """Category that tools are drawn by; not shown to any model."""


class Call(Record, frozen=True):
    """One function call, as written in a <tool_call> block."""

    name: str
    arguments: dict[str, Any]


class Message(Record, frozen=True, omit_defaults=True):
    """One turn of a conversation. A label or a prediction is an assistant message."""

    role: Literal["user", "assistant", "tool"]
    content: str = ""
    """Text; for role "tool" the result of one call, results in the order of the calls."""
    calls: list[Call] = []
    """Only for role "assistant"."""
    reasoning: str = ""
    """What stood inside <think>; never shown to a model again."""
    suspect: bool = False
    """An assistant turn without a majority: stays in the history, is never a label."""
    failed: bool = False
    """A tool result that reports an error: the step that led to it is never a label."""


class Need(Record, frozen=True):
    """One line of a dialog's outline (section 3, planner)."""

    kind: Literal["single-step", "multi-step", "parallel", "chat"]
    tools: list[str]
    """Names of the tools the need asks for, in order; empty for "chat"."""
    text: str


class Dialog(Record):
    """A generated conversation over a set of tools."""

    id: str
    tools: list[Tool]
    date: str
    """Day on which the dialog takes place, "2024-05-01", or "unknown"."""
    plan: list[Need]
    messages: list[Message]
    served: list[str] = []
    """How each need that was talked about was served: "as_planned", or what is otherwise (dialog_generation/needs.py)."""


Origin = Literal["seed", "error_seed", "expanded", "high_ppl"]


class Sample(Record):
    """One training or evaluation task (T, c_t, a*_t) of section 4.1."""

    id: str
    """Hash of tools, date, messages and label: a sample with a new label is a new sample, its parent the old one."""
    tools: list[Tool]
    date: str
    messages: list[Message]
    """The context c_t; ends with a user or a tool message."""
    label: Message
    """The reference a*_t; without calls it is a plain-text label."""
    origin: Origin = "seed"
    """The part of D_j by which the sample entered its dataset (equation 5)."""
    round: int = 0
    """The round that made the sample; 0 for seed data."""
    parent: str | None = None
    """Id of the sample this one was made from, by a new label or by expansion."""
    source: str = ""
    """Where it came from: "<dialog id>#<step>", a file's record, or the scenario of an expansion."""


class Draw(Record):
    """One answer among the replies that were drawn to a sample."""

    answer: Message
    count: int
    """Replies that make these calls."""
    reason: str
    """As that of a Probe; "malformed" for all that could not be read or were cut."""


class Probe(Record, omit_defaults=True):
    """What the policy answered to one sample, greedily (section 4.2, GCP)."""

    sample: Sample
    text: str
    """The reply as generated, thinking included."""
    prediction: Message
    faults: list[str]
    """Reasons why <tool_call> blocks of the reply could not be read."""
    reason: str
    """"match", or the reason code of looptool.calls.tool_match."""
    perplexity: float
    """exp of the mean negative log-probability of the reply's tokens, its end token included (equation 3)."""
    tokens: int
    finish: Literal["stop", "length", "empty"]
    draws: list[Draw] = []
    """Further replies at a temperature (probe.samples), the most frequent answer first."""

    @property
    def matches(self) -> bool:
        return self.reason == "match"

    @property
    def pass_rate(self) -> float | None:
        """Share of the drawn replies that match the label; None where none were drawn."""
        passed = sum(draw.count for draw in self.draws if draw.reason == "match")
        return passed / sum(draw.count for draw in self.draws) if self.draws else None


VerdictName = Literal["PRED_WRONG", "LABEL_WRONG", "BOTH_CORRECT", "BOTH_WRONG", "UNDECIDED"]


class Vote(Record):
    """One answer of one judge."""

    verdict: VerdictName
    label_first: bool
    """Whether the label was shown before the prediction."""
    judge: str
    draw: int
    analysis: str
    approach: str


class Verdict(Record, omit_defaults=True):
    """What the judges said of one mismatch (section 4.3, JGLV)."""

    probe: Probe
    verdict: VerdictName
    """UNDECIDED when the votes do not agree across both orders; such a sample is kept out and counted."""
    votes: list[Vote]
    audited: bool = False
    """Of a match (verify.audit_mastered): the policy's own reply is the label, whatever stands in
    its place in `probe`."""


class LabelChange(Record):
    """One line of the ledger: a label that was replaced, and why. It can be rolled back."""

    old_id: str
    new_id: str
    old_label: Message
    new_label: Message
    round: int
    votes: list[Vote]
    undone: bool = False
    """Rolled back: the old label is not trained on, nor is the new one."""


class ErrorSeed(Record):
    """A sample the policy failed on, or whose label it corrected: D_ES = D_MR + D_LR (section 4.4)."""

    sample: Sample
    """Its label is the right answer: the kept label, or the prediction that replaced it."""
    wrong: Message
    """The answer that was judged wrong."""
    cause: Literal["mispredicted", "relabeled"]
    """D_MR or D_LR."""
    analysis: str
    approach: str


R = TypeVar("R")
BUFFER = 1 << 20
"""Bytes that are written at once."""


def content_id(*parts: Any) -> str:
    """16 hex digits that depend on the content of `parts` only, the order of dictionary keys apart."""
    encoded = msgspec.json.encode(parts, order="sorted")
    return hashlib.sha256(encoded).hexdigest()[:16]


def sample_id(tools: list[Tool], date: str, messages: list[Message], label: Message) -> str:
    """The id of a Sample with this content; reasoning does not count."""
    ids = SampleIds(tools, date)
    ids.add(messages)
    return ids.id(label)


class SampleIds:
    """`sample_id` at the steps of a growing context, each message being encoded once."""

    def __init__(self, tools: list[Tool], date: str):
        names, schemas = (b",".join(parts) for parts in zip(*map(_encoded_tool, tools))) if tools else (b"", b"")
        self._hash = hashlib.sha256(b"[[%b],[%b],%b,[" % (names, schemas, msgspec.json.encode(date)))
        self._between = b""

    def add(self, messages: list[Message]) -> None:
        """The context grows by these messages."""
        if messages:
            content = _encode_sorted([(message.role, message.content, message.calls) for message in messages])
            self._hash.update(self._between + content[1:-1])
            self._between = b","

    def id(self, label: Message) -> str:
        """The id of the sample with the context so far."""
        answer = {"calls": label.calls, "content": "" if label.calls else label.content}
        whole = self._hash.copy()
        whole.update(b"],%b]" % _encode_sorted(answer))
        return whole.hexdigest()[:16]


_encode_sorted = msgspec.json.Encoder(order="sorted").encode


class OfTool(Generic[R]):
    """A function of a tool that remembers its answers by the tool's identity; a tool holds dictionaries, so it has no hash."""

    def __init__(self, function: Callable[[Tool], R], size: int = 20_000):
        self._function, self._size = function, size
        self._known: dict[int, tuple[Tool, R]] = {}  # a tool that is held here keeps its id

    def __call__(self, tool: Tool) -> R:
        known = self._known.get(id(tool))
        if known is None:
            if len(self._known) >= self._size:
                self._known.clear()
            known = self._known[id(tool)] = tool, self._function(tool)
        return known[1]


_encoded_tool = OfTool(lambda tool: (msgspec.json.encode(tool.name), msgspec.json.encode(tool.parameters, order="sorted")))


def encode_line(record: Any) -> bytes:
    """One JSON line, newline included."""
    return msgspec.json.encode(record) + b"\n"


class StoredSample(Sample):
    """A Sample as a file holds it, its tools not decoded: the same ones come again and again."""

    tools: list[msgspec.Raw]


class _StoredProbe(Probe):
    sample: StoredSample


class _StoredVerdict(Verdict):
    probe: _StoredProbe


class _StoredSeed(ErrorSeed):
    sample: StoredSample


_STORED: dict[type, type] = {Sample: StoredSample, Probe: _StoredProbe, Verdict: _StoredVerdict, ErrorSeed: _StoredSeed}
_PLAIN = {stored: plain for plain, stored in _STORED.items()}
_decode_tool = lru_cache(maxsize=20_000)(msgspec.json.Decoder(Tool).decode)


def decoder(record_type: type[R]) -> Callable[[bytes | msgspec.Raw], R]:
    """What decodes one line; of equal tools there is one in all of its records, which is three times as fast."""
    stored = _STORED.get(record_type)
    if stored is None:
        return msgspec.json.Decoder(record_type).decode
    decode = msgspec.json.Decoder(stored).decode

    def with_shared_tools(line: bytes | msgspec.Raw) -> R:
        record = decode(line)
        part = record
        while not isinstance(part, StoredSample):
            part.__class__, part = _PLAIN[type(part)], part.probe if isinstance(part, Verdict) else part.sample
        part.tools = [_decode_tool(bytes(raw)) for raw in part.tools]
        part.__class__ = Sample
        return record

    return with_shared_tools


def read_jsonl(path: Path | str, record_type: type[R]) -> Iterator[R]:
    """Stream the records of a JSON-lines file.

    Raises:
        InputError: the file is absent or empty, or a line does not hold such a record; names file, line and field.
    """
    path, empty = Path(path), True
    try:
        with path.open("rb") as file:
            for record in decode_lines(path, file, record_type):
                empty = False
                yield record
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the step that writes it first") from None
    if empty:
        raise InputError(f"{path}: is empty; run the step that writes it again")


def decode_lines(path: Path, lines: Iterable[bytes], record_type: type[R], first: int = 1) -> Iterator[R]:
    """The records of lines of a file, of which the first is line `first`.

    Raises:
        InputError: a line does not hold such a record; names file, line and field.
    """
    decode = decoder(record_type)
    number = first - 1
    try:
        for number, line in enumerate(lines, first):
            yield decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path}:{number}: not a valid {record_type.__name__} record: {error}; "
                         "mend or remove the line, or run the step that writes this file again") from None


def write_atomic(path: Path | str, chunks: Iterable[bytes]) -> None:
    """Write a whole file aside and rename it, so that an existing file is always a complete one.

    Raises:
        InputError: the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); check the folder's permissions "
                         "or set run_dir to another one") from None
    try:
        with os.fdopen(handle, "wb", BUFFER) as file:
            file.writelines(chunks)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)  # still there only where the write did not come to its end


def write_jsonl(path: Path | str, records: Iterable[Any]) -> int:
    """Write records as JSON lines, atomically; returns how many."""
    count = 0

    def lines() -> Iterator[bytes]:
        nonlocal count
        for record in records:
            count += 1
            yield encode_line(record)

    write_atomic(path, lines())
    return count
