"""Checks of the doctor that look at a round's rows: schema, batches, labels, lengths, and the chat
template."""
from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

import msgspec
from jinja2 import TemplateError

from grpotool.batches import WARNING, batch_lines, check_batches
from grpotool.doctor.check_result import Check, Finding, fail, ok, warn
from grpotool.reward import GroundTruth, compute_score
from grpotool.rows import VERSION, count_rows, read_rows
from grpotool.train import check_current, left_out
from looptool.calling.reply import render_calls
from looptool.config import Config
from looptool.errors import InputError
from looptool.prompts.length import student_tokenizer, token_length
from looptool.run_files import RoundFiles

FEW = 50
"""Rows that are looked at where all rows would take long."""
BARS = 8
"""Of the histogram of lengths, up to the limit."""
MAKE_AGAIN = "run grpotool/dataset/utils/json2parquet.py again"


def round_rows(files: RoundFiles, *columns: str) -> Iterator[dict[str, Any]]:
    """The rows of both files."""
    for parquet in (files.train_parquet, files.test_parquet):
        yield from read_rows(parquet, list(columns))


def check_rows(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Both files are of this version, made from the dataset beside them, and hold enough rows for a
    batch."""
    rows = {path: count_rows(path) for path in (files.train_parquet, files.test_parquet)}
    yield ok(
        f"{' + '.join(f'{count:,}' for count in rows.values())} rows of schema version {VERSION}")
    check_current(files)
    check_batches(config, files, rows[files.train_parquet])


def check_updates(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """How many steps and updates a round has, and whether clip-higher can work."""
    rows = count_rows(files.train_parquet)
    if rows < config.train.batch_size:  # said by check_rows
        return
    for line in batch_lines(config.train, rows, left_out(files)):
        said, _, to_do = line.removeprefix(WARNING).rpartition("; ")
        yield warn(said, to_do) if line.startswith(WARNING) else ok(line)


def answer_of(ground_truth: str) -> str:
    """A row's label as a reply.

    Raises:
        InputError: the label is none.
    """
    try:
        label = msgspec.json.decode(ground_truth, type=GroundTruth)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InputError(f"a label is no message ({error}); {MAKE_AGAIN}") from None
    return render_calls(label.calls) or label.content


def check_labels(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Each label, given as its own reply, earns 1.0."""
    count, wrong = 0, []
    for row in round_rows(files, "reward_model", "extra_info"):
        truth = row["reward_model"]["ground_truth"]
        result = compute_score("looptool", answer_of(truth), truth, mode=config.train.reward)
        count += 1
        if result["score"] != 1.0:
            wrong.append(f"{row['extra_info']['id']} ({result['reason']})")
    if wrong:
        yield fail(
            f"{len(wrong):,} of {count:,} labels do not match themselves: {', '.join(wrong[:5])}",
            "take these samples out of the dataset; " + MAKE_AGAIN)
    else:
        yield ok(f"all {count:,} labels score 1.0 against themselves")


def length_lines(lengths: Iterable[int], limit: int) -> Iterator[Finding]:
    """The histogram of prompt lengths in tokens, and how many would lose their tools."""
    lengths = sorted(lengths)
    if not lengths:
        raise InputError(f"the Parquet files hold no rows; {MAKE_AGAIN}")
    bars = Counter(min((length - 1) * BARS // limit, BARS) for length in lengths)
    shown = ", ".join(
        f"{'over' if bar == BARS else f'to {(bar + 1) * limit // BARS}'}: {bars[bar]:,}"
        for bar in sorted(bars))
    words = f"tokens a prompt: {shown}; longest {lengths[-1]:,} of {limit:,}"
    if over := sum(length > limit for length in lengths):
        yield fail(f"{over:,} samples would lose tools ({words})",
                   f"{MAKE_AGAIN}, or raise student.max_prompt_tokens")
    else:
        yield ok(f"0 samples would lose tools; {words}")


def check_lengths(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """No prompt is longer than the limit beyond which verl cuts it on the left."""
    length = token_length(student_tokenizer(config))
    with template_errors():
        lengths = [length(row["prompt"]) for row in round_rows(files, "prompt")]
    yield from length_lines(lengths, config.student.max_prompt_tokens)


@contextmanager
def template_errors() -> Iterator[None]:
    """Turn what a chat template raises into an InputError."""
    try:
        yield
    except (TemplateError, ValueError) as error:
        raise InputError("the student's chat template cannot show a prompt "
                         f"({' '.join(str(error).split())}); set student.model to one whose "
                         "template has system, user and assistant turns") from None


def template_fault(tokenizer: Any, chat: list[dict[str, str]], truth: str, mode: str) -> str | None:
    """What one row loses between text and tokens, as verl writes its prompt and reads its reply;
    None if nothing."""
    with template_errors():
        shown = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
    for message in chat:
        if message["content"].strip() not in shown:
            return f"the chat template leaves out text of the {message['role']}"
    back = tokenizer.decode(tokenizer(shown, add_special_tokens=False)["input_ids"],
                            skip_special_tokens=False)
    # Qwen's tokenizer composes letters
    if unicodedata.normalize("NFC", back) != unicodedata.normalize("NFC", shown):
        return "a prompt is another text after encoding and decoding"
    ids = tokenizer(answer_of(truth), add_special_tokens=False)["input_ids"]
    result = compute_score("looptool", tokenizer.decode(ids, skip_special_tokens=True), truth,
                           mode=mode)
    return (None if result["score"] == 1.0
            else f"a label that is encoded and decoded scores 0 ({result['reason']})")


def check_template(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Prompts and labels come back whole from the student's tokenizer; special tool tags would be
    lost in replies."""
    tokenizer = student_tokenizer(config)
    rows = list(islice(round_rows(files, "prompt", "reward_model"), FEW))
    faults = Counter(
        filter(None, (template_fault(tokenizer, row["prompt"], row["reward_model"]["ground_truth"],
                                     config.train.reward) for row in rows)))
    for fault, count in faults.items():
        yield fail(f"{fault} in {count} of {len(rows)} rows",
                   "use a tokenizer with a plain chat template, whose tool "
                                                              "tags are added tokens and not "
                                                              "special ones")
    if not faults:
        yield ok(
            f"prompts and labels of {len(rows)} rows come back whole from the student's tokenizer")


CHECKS: list[Check] = [check_rows, check_updates, check_labels, check_template, check_lengths]
"""Those of this file, which need the rows."""
