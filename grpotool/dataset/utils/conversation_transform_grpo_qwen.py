"""Samples for GRPO (section 4.1): one for each decision of the assistant, cut to the student's prompt length.

In: run_dir/conversations.jsonl (looptool/conversations.py); or `--input`, a file of others with conversations of the
same form or single-turn tasks {"id", "query", "answers", "tools"}. Out: run_dir/samples.jsonl (looptool.records.Sample)
and, where a foreign record was refused, samples_refused.jsonl beside it with the reason of each.

The context keeps the last student.max_user_turns user turns and at most student.max_prompt_tokens tokens by the
student's own tokenizer; older turns go first, tools never: a sample that does not fit is left out and counted.
Departure from the paper: a share of the samples has plain-text labels, see grpotool/dataset/steps.py.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from grpotool.dataset.steps import loses_values, samples_of, text_rank
from grpotool.dataset.xlam_samples import read_task
from looptool.config import Config, argument_parser, load_config
from looptool.conversations import Conversation, StoredConversation, read_messages, read_tools
from looptool.foreign import Refused, read_foreign, write_refused
from looptool.meta import StageMeta
from looptool.prompt import fit, render_system
from looptool.prompt_length import Fits, student_fits
from looptool.records import InputError, Sample, read_jsonl, sample_id
from looptool.run_files import RunFiles
from looptool.stage import run_main
from looptool.transform import run_transform


class SampleMaker:
    """Turns records into samples, and keeps count of every step and of every record that was refused."""

    def __init__(self, config: Config, fits: Fits):
        self.counts: Counter[str] = Counter()
        self.refused: list[Refused] = []
        self._config, self._fits = config, fits

    def from_conversations(self, conversations: Iterable[Conversation]) -> Iterator[Sample]:
        """The fitted samples of this project's own conversations.

        Raises:
            InputError: one cannot be read.
        """
        for conversation in conversations:
            try:
                yield from self._fitted(self._steps(conversation), capped=True)
            except ValueError as error:
                raise InputError(f"conversation {conversation.id!r}: {error}; run trans2conversation.py again"
                                 ) from None

    def from_foreign(self, entries: Iterable[tuple[str, Any]]) -> Iterator[Sample]:
        """The fitted samples of (place, value) pairs that others wrote."""
        for place, raw in entries:
            is_conversation = isinstance(raw, dict) and "messages" in raw
            try:
                samples = (self._steps(msgspec.convert(raw, Conversation), place) if is_conversation
                           else [read_task(raw)])
            except ValueError as error:  # msgspec.ValidationError is one
                self.counts["unreadable"] += 1
                self.refused.append(Refused(place=place, code="unreadable", reason=str(error), record=raw))
            else:
                yield from self._fitted(samples, capped=is_conversation)

    def _steps(self, conversation: Conversation, place: str = "") -> list[Sample]:
        messages = read_messages(conversation)
        samples = samples_of(conversation.id or place, read_tools(conversation), conversation.date, messages,
                             self._config.seed, self.counts)
        return sorted(samples, key=text_rank)

    def _fitted(self, samples: Iterable[Sample], capped: bool) -> Iterator[Sample]:
        """Cut to length; where `capped`, text labels only up to their share."""
        student, system = self._config.student, ""
        for sample in samples:  # of one conversation, with the same tools and date
            is_text = not sample.label.calls
            if is_text and capped and not self._text_fits():
                self.counts["text_left_out"] += 1
                continue
            system = system or render_system(sample.tools, sample.date, student.instructions)
            messages = fit(sample.messages, system, self._fits, student.max_prompt_tokens, student.max_user_turns)
            if messages is None:
                self.counts["too_long"] += 1
                continue
            if loses_values(sample.messages[:len(sample.messages) - len(messages)], messages, sample.label):
                self.counts["values_cut_off"] += 1
                continue
            self.counts["text" if is_text else "call"] += 1
            if len(messages) < len(sample.messages):
                id = sample_id(sample.tools, sample.date, messages, sample.label)
                sample = msgspec.structs.replace(sample, messages=messages, id=id)
            yield sample

    def _text_fits(self) -> bool:
        """Whether one more text label keeps to the share of all samples so far."""
        texts = self.counts["text"] + 1
        return texts <= self._config.dialogs.text_share * (self.counts["call"] + texts)


def transform(config: Config, source: Path, foreign: bool, output: Path,
              fits: Fits) -> StageMeta:
    """Write the samples of `source`, and aside what was refused."""
    maker = SampleMaker(config, fits)
    samples = (maker.from_foreign(read_foreign(source)) if foreign
               else maker.from_conversations(read_jsonl(source, StoredConversation)))
    student = config.student
    settings = {"seed": config.seed, "text_share": config.dialogs.text_share, "instructions": student.instructions,
                "max_prompt_tokens": student.max_prompt_tokens, "max_user_turns": student.max_user_turns}
    meta = run_transform("samples", samples, output, maker.counts, settings=settings, sources=[source])
    write_refused(output, maker.refused)
    return meta


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--input", type=Path, metavar="FILE", help="conversations or single-turn tasks of others "
                                                                   "(default: run_dir/conversations.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="samples (default: run_dir/samples.jsonl)")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    files = RunFiles(config)
    transform(config, args.input or files.conversations, args.input is not None, args.output or files.samples,
              student_fits(config))


if __name__ == "__main__":
    run_main(main)
