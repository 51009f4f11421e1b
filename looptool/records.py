"""The records that stages pass to each other: one record is one JSON line, typed and validated on
reading.

Ids come from content, never from the clock, so that the same input gives the same file.
docs/formats.md shows one real record of each kind.
"""
from __future__ import annotations

from typing import Any, Literal

import msgspec


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
    """How each need that was talked about was served: "as_planned", or what is otherwise
    (dialog_generation/needs.py)."""


Origin = Literal["seed", "error_seed", "expanded", "high_ppl"]


class Sample(Record):
    """One training or evaluation task (T, c_t, a*_t) of section 4.1."""

    id: str
    """Hash of tools, date, messages and label: a sample with a new label is a new sample, its
    parent the old one."""
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
    """Where it came from: "<dialog id>#<step>", a file's record, or the scenario of an
    expansion."""


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
    """"match", or the reason code of looptool.calling.match.tool_match."""
    perplexity: float
    """exp of the mean negative log-probability of the reply's tokens, its end token included
    (equation 3)."""
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
    """UNDECIDED when the votes do not agree across both orders; such a sample is kept out and
    counted."""
    votes: list[Vote]
    audited: bool = False
    """Of a match (verify.audit_mastered): the policy's own reply is the label, whatever stands in
    its place in `probe`."""


class LabelChange(Record):
    """A label that was replaced, and why. It can be rolled back."""

    old_id: str
    new_id: str
    old_label: Message
    new_label: Message
    round: int
    votes: list[Vote]
    undone: bool = False
    """Rolled back: the old label is not trained on, nor is the new one."""


class ErrorSeed(Record):
    """A sample the policy failed on, or whose label it corrected: D_ES = D_MR + D_LR (section
    4.4)."""

    sample: Sample
    """Its label is the right answer: the kept label, or the prediction that replaced it."""
    wrong: Message
    """The answer that was judged wrong."""
    cause: Literal["mispredicted", "relabeled"]
    """D_MR or D_LR."""
    analysis: str
    approach: str


class Refused(Record):
    """A foreign record that has no certain meaning here."""

    place: str
    """File and line, or file and position in its list."""
    code: str
    """One of the reader's few words for what is wrong; counted."""
    reason: str
    record: Any
    """As it stood in the file."""
