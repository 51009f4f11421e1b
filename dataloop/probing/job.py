"""What all engines of a probe share: the prompt of a sample, what is made of its reply, and the Job
that they do.

An engine is a function `(Job) -> StageMeta` that writes the same probes in the same order, whatever
decodes them: dataloop.probing.in_process for a policy in this process,
dataloop.probing.endpoint_policy for servers, dataloop.probing.ray_policy for a cluster.
"""
from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec

from dataloop.probing.prefix_order import prefix_order, read_at
from looptool.calling.match import tool_match
from looptool.calling.reply import parse_reply
from looptool.config import Config, Student
from looptool.errors import InputError
from looptool.ids import content_id
from looptool.json_lines import read_some
from looptool.prompts.render import ChatMessage, fit, render_system
from looptool.records import Draw, Message, Probe, Sample


@dataclass(frozen=True)
class Drawing:
    """How the replies beside the greedy one are drawn (probe.samples)."""

    count: int
    temperature: float
    key: str
    """Draws with another key are others; a run that goes on draws what an unbroken one would."""

    def seeds(self, sample: Sample) -> list[int]:
        """One a reply to a sample."""
        return [int(content_id(self.key, sample.id, number)[:8], 16)
                for number in range(self.count)]


@dataclass(frozen=True)
class Job:
    """What an engine is to probe."""

    config: Config
    model: str
    """The checkpoint: a folder, or a name of the hub."""
    samples: Path
    stage: dict[str, Any]
    """Arguments of run_stage that are the same for all engines."""
    round: int = 0

    @property
    def drawing(self) -> Drawing:
        """How further replies are drawn."""
        return Drawing(self.config.probe.samples, self.config.train.temperature,
                       f"{self.config.seed}:{self.round}")

    @cached_property
    def order(self) -> array[int]:
        """Places of the samples in their file, in the order in which they are probed."""
        return prefix_order(self.samples)

    def read(self) -> Iterator[Sample]:
        """The samples in that order."""
        return read_at(self.samples, self.order)


@dataclass(frozen=True)
class Generation:
    """One reply."""

    text: str
    """Without its end token."""
    perplexity: float
    """exp of the mean negative log-probability of all tokens, the end token included (equation
    3)."""
    tokens: int
    finish: str
    """"stop", "length" (cut at the limit) or "empty" (ended at once)."""


def prompt_ids(tokenizer: Any, sample: Sample, student: Student) -> list[int] | None:
    """The prompt's tokens, without its oldest turns where it would be too long; None where it is
    too long even so."""
    ids: list[int] = []

    def fits(chat: list[ChatMessage], limit: int) -> bool:
        nonlocal ids
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        # the template has written the special tokens already
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        return len(ids) <= limit

    system = render_system(sample.tools, sample.date, student.instructions)
    fitted = fit(sample.messages, system, fits, student.max_prompt_tokens, student.max_user_turns)
    return ids if fitted is not None else None  # what was measured last is what fits


def end_tokens(path: str, tokenizer: Any) -> list[int]:
    """The tokens that end a reply: those of the generation config, and the tokenizer's own.

    Raises:
        InputError: none is known, so that no reply would ever end.
    """
    # takes seconds, which a wrong input need not wait for
    from transformers import GenerationConfig

    try:
        named = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:
        named = None
    ends = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id} - {None}
    if not ends:
        raise InputError(
            f"{path}: names no end token; set eos_token_id in its generation_config.json")
    return sorted(ends)


def read_tokens(tokenizer: Any, tokens: list[int], log_probability: float, ended: bool,
                model: str) -> Generation:
    """A reply from its tokens, of which the last is an end token where it `ended`.

    Raises:
        InputError: the log-probability, summed over all tokens, is no number, so the weights of
            `model` are damaged.
    """
    shown = tokens[:-1] if ended else tokens
    # nothing may go: tags are special tokens of some students, and cleaning up takes spaces away
    text = tokenizer.decode(shown, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    return make_generation(text, -log_probability / len(tokens), len(tokens), ended, model)


def make_generation(text: str, surprise: float, tokens: int, ended: bool, model: str) -> Generation:
    """A reply of so many tokens; `surprise` is the mean of their negative log-probabilities.

    Raises: as `read_tokens`.
    """
    if not math.isfinite(surprise):
        raise InputError(
            f"{model}: gives probabilities that are no numbers; the checkpoint is damaged")
    finish = "length" if not ended else "stop" if text.strip() else "empty"
    return Generation(text, round(math.exp(surprise), 6), tokens, finish)


def make_probe(sample: Sample, generation: Generation, drawn: Sequence[Generation] = ()) -> Probe:
    """Read the reply, and those `drawn` beside it, and compare them with the label (section
    4.2)."""
    reply = parse_reply(generation.text)
    prediction, names = reply.message(), [tool.name for tool in sample.tools]
    return Probe(sample=sample, text=generation.text, prediction=prediction, faults=reply.faults,
                 reason=tool_match(prediction, sample.label, reply.faults, names),
                 perplexity=generation.perplexity, tokens=generation.tokens,
                 finish=generation.finish, draws=draws_of(drawn, sample.label, names))


def draws_of(drawn: Sequence[Generation], label: Message, tools: Sequence[str]) -> list[Draw]:
    """Replies with the same calls are one Draw, the most frequent first. Those without a call, or
    whose calls do not count, are one by reason: in whatever order they were drawn."""
    draws: list[Draw] = []
    for generation in drawn:
        reply = parse_reply(generation.text)
        answer = Message(role="assistant", content=reply.message().content,
                         calls=reply.message().calls)
        reason = ("malformed" if generation.finish != "stop"
                  else tool_match(answer, label, reply.faults, tools))
        by_reason = not answer.calls or reason in ("malformed", "invented_turn")
        same = next((draw for draw in draws if draw.reason == reason and (
            by_reason or tool_match(answer, draw.answer, tools=tools) == "match")), None)
        if same is None:
            draws.append(Draw(answer=answer, count=1, reason=reason))
        else:
            same.count += 1
    return sorted(draws, key=lambda draw: -draw.count)


CASES = {"no_think": "without <think>", "length": "cut at the limit", "empty": "empty"}
"""What may be out of the ordinary in a reply, in words."""


def reply_cases(text: str, finish: str) -> list[str]:
    """Which of CASES a reply is; an empty one is no other."""
    if finish == "empty":
        return ["empty"]
    thought = "<think>" in text or "</think>" in text  # some templates open it in the prompt
    return [*(["length"] if finish == "length" else []), *([] if thought else ["no_think"])]


class _Reply(msgspec.Struct):
    """Of a Probe, what its cases need."""

    text: str
    finish: str


def count_cases(probes: Path) -> Counter[str]:
    """How many replies of a file of probes are such cases."""
    return Counter(case for reply in read_some(probes, _Reply)
                   for case in reply_cases(reply.text, reply.finish))
