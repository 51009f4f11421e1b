"""Samples for GRPO (section 4.1): one for each decision of the assistant, cut to the student's
prompt length.

In: run_dir/conversations.jsonl (looptool/foreign/conversations.py); or `--input`, a file or folder
of others, JSON, JSON lines or Parquet, with conversations or single-turn tasks in the forms of
docs/formats.md. Out: run_dir/samples.jsonl (looptool.records.Sample) and, where a foreign record
was refused, samples_refused.jsonl beside it with the reason of each.

The context keeps the last student.max_user_turns user turns and at most student.max_prompt_tokens
tokens by the student's own tokenizer; older turns go first, tools never: a sample that does not fit
is left out and counted.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from grpotool.dataset.foreign_records import read_record
from grpotool.dataset.steps import loses_values, samples_of, text_rank
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.foreign.conversations import (
    Conversation, StoredConversation, read_messages, read_tools)
from looptool.foreign.files import files_in, read_foreign
from looptool.ids import sample_id
from looptool.json_lines import read_jsonl
from looptool.prompts.length import StudentFits, leave_torch_out
from looptool.prompts.render import Fits, fit, render_system
from looptool.records import Refused, Sample
from looptool.run_files import RunFiles
from looptool.stages.meta import StageMeta, refuse_imported
from looptool.stages.transform import run_transform


class Candidate(NamedTuple):
    """A step of a conversation: "call" or "text" with its sample, or why it is none."""

    reason: str
    sample: Sample | None = None


def candidate_of(sample: Sample) -> Candidate:
    """The candidate of a sample that fits."""
    return Candidate("call" if sample.label.calls else "text", sample)


class StepReader:
    """From a conversation to candidates; knows nothing of other conversations."""

    def __init__(self, config: Config, fits: Fits):
        self._config, self._fits = config, fits

    def read(self, conversation: Conversation, place: str = "") -> list[Candidate]:
        """A candidate for each step, calls first.

        Raises:
            ValueError: the conversation cannot be read.
        """
        reasons: Counter[str] = Counter()
        samples = samples_of(conversation.id or place, read_tools(conversation), conversation.date,
                             read_messages(conversation), self._config.seed, reasons)
        fitted = self.fit(sorted(samples, key=text_rank))
        return [*fitted, *(Candidate(reason) for reason in reasons.elements())]

    def fit(self, samples: Sequence[Sample]) -> list[Candidate]:
        """Samples of one conversation, cut to length."""
        if not samples:
            return []
        student, candidates = self._config.student, []
        system = render_system(samples[0].tools, samples[0].date, student.instructions)
        # the others' contexts are the beginning of it
        longest = max((sample.messages for sample in samples), key=len)
        # `is`: fit gives the list itself back where nothing had to go
        if fit(longest, system, self._fits, student.max_prompt_tokens,
               student.max_user_turns) is longest:
            return [candidate_of(sample) for sample in samples]
        for sample in samples:
            messages = fit(sample.messages, system, self._fits, student.max_prompt_tokens,
                           student.max_user_turns)
            if messages is None:
                candidates.append(Candidate("too_long"))
                continue
            if loses_values(sample.messages[:len(sample.messages) - len(messages)], messages,
                            sample.label):
                candidates.append(Candidate("values_cut_off"))
                continue
            if len(messages) < len(sample.messages):
                id = sample_id(sample.tools, sample.date, messages, sample.label)
                sample = msgspec.structs.replace(sample, messages=messages, id=id)
            candidates.append(candidate_of(sample))
        return candidates


class SampleMaker:
    """Lets samples in, and keeps count of every step and of every record that was refused."""

    def __init__(self, config: Config, reader: StepReader):
        self.counts: Counter[str] = Counter()
        self.refused: list[Refused] = []
        self.passed_over: Counter[str] = Counter()
        self._text_share, self._reader = config.dialogs.text_share, reader

    def let_in(self, candidates: Iterable[Candidate], capped: bool = True) -> Iterator[Sample]:
        """The samples, in their order; where `capped`, text labels only up to their share."""
        for reason, sample in candidates:
            if reason == "text" and capped and not self._text_fits():
                reason, sample = "text_left_out", None
            self.counts[reason] += 1
            if sample is not None:
                yield sample

    def _text_fits(self) -> bool:
        """Whether one more text label keeps to the share of all samples so far."""
        texts = self.counts["text"] + 1
        return texts <= self._text_share * (self.counts["call"] + texts)

    def from_foreign(self, entries: Iterable[tuple[str, Any]]) -> Iterator[Sample]:
        """The samples of (place, value) pairs that others wrote."""
        for place, raw in entries:
            try:
                read = read_record(raw, self.passed_over)
                candidates = (self._reader.fit([read]) if isinstance(read, Sample)
                              else self._reader.read(read, place))
            except ValueError as error:
                self.refuse(Refused(place=place, code="unreadable", reason=str(error), record=raw))
            else:
                yield from self.let_in(candidates, capped=isinstance(read, Conversation))

    def refuse(self, refused: Refused) -> None:
        """Keep a record aside, and count it."""
        self.counts[refused.code] += 1
        self.refused.append(refused)


def read_stored(reader: StepReader, conversations: Iterable[Conversation]) -> Iterator[Candidate]:
    """The candidates of this project's own conversations.

    Raises:
        InputError: one cannot be read.
    """
    for conversation in conversations:
        try:
            yield from reader.read(conversation)
        except ValueError as error:
            raise InputError(f"conversation {conversation.id!r}: {error}; run "
                             "trans2conversation.py again") from None


def transform(config: Config, source: Path, foreign: bool, output: Path, fits: Fits) -> StageMeta:
    """Write the samples of `source`, and aside what was refused."""
    reader = StepReader(config, fits)
    maker = SampleMaker(config, reader)
    sources = files_in(source) if foreign else [source]
    if foreign:
        samples = maker.from_foreign(entry for file in sources
                                     for entry in read_foreign(file, maker.refuse))
    else:
        samples = maker.let_in(read_stored(reader, read_jsonl(source, StoredConversation)))
    student = config.student
    settings = {"seed": config.seed, "text_share": config.dialogs.text_share,
                "instructions": student.instructions,
                "max_prompt_tokens": student.max_prompt_tokens,
                "max_user_turns": student.max_user_turns}
    return run_transform("samples", samples, output, maker.counts, settings=settings,
                         sources=sources, refused=maker.refused, passed_over=maker.passed_over)


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path, metavar="PATH",
                        help="conversations or tasks of others, a file or a folder "
                             "(default: run_dir/conversations.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="samples (default: run_dir/samples.jsonl)")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    files = RunFiles(config)
    source = args.input or files.conversations
    if args.input is None and args.output is None:
        refuse_imported(files.samples, files.conversations)
    transform(config, source, args.input is not None, args.output or files.samples,
              StudentFits(config))


if __name__ == "__main__":
    leave_torch_out()
    run_main(main)
