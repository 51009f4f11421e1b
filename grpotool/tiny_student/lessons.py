"""Lessons as batches of tokens. In: a level of the curriculum and a seed. Out: endless batches."""
from __future__ import annotations

import random
from collections.abc import Iterator

from transformers import PreTrainedTokenizerFast

from grpotool.tiny_student.curriculum import EVERYTHING, Lesson, Level, draw_lesson
from grpotool.tiny_student.drills import BATCH_TOKENS, Batch, pad
from looptool.prompts.render import render_conversation, render_messages, render_system
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.tasks import draw_tools
from looptool.simulation.world.values import plain_words

LONGEST = 640
"""Tokens of a lesson; longer ones are left out."""
Row = tuple[list[int], list[bool]]
"""Token ids, and which of them are to be learnt."""


def task_batches(rng: random.Random, tokenizer: PreTrainedTokenizerFast,
                 level: Level) -> Iterator[Batch]:
    """Endless batches of at most BATCH_TOKENS tokens, rows of like length together."""
    while True:
        drawn = (encode(draw_lesson(rng, level), tokenizer) for _ in range(256))
        rows = sorted((row for row in drawn if len(row[0]) <= LONGEST),
                      key=lambda row: -len(row[0]))
        batches = []
        while rows:
            fits = max(1, BATCH_TOKENS // len(rows[0][0]))
            batches.append(rows[:fits])
            rows = rows[fits:]
        rng.shuffle(batches)
        for batch in batches:
            yield pad(batch, tokenizer.pad_token_id)


def encode(lesson: Lesson, tokenizer: PreTrainedTokenizerFast) -> Row:
    """Token ids of a whole conversation, and which of them are to be learnt, end tokens
    included."""
    chat = [{"role": "system", "content": render_system(lesson.tools, lesson.date, "short")},
            *render_messages(lesson.messages)]
    learnt = iter([wanted for message, wanted in zip(lesson.messages, lesson.learnt, strict=True)
                   if message.role == "assistant"])
    parts = []
    for turn in chat:
        is_learnt = turn["role"] == "assistant" and next(learnt)
        parts += [(f"<|im_start|>{turn['role']}\n", False),
                  (f"{turn['content']}<|im_end|>", is_learnt), ("\n", False)]
    ids, wanted = [], []
    # the tokenizer behind the wrapper takes a third of the time, and lessons are written beside the
    # training
    for (_, is_learnt), part in zip(parts,
                                    tokenizer.backend_tokenizer.encode_batch_fast(
                                        [text for text, _ in parts]),
                                    strict=True):
        ids += part.ids
        wanted += [is_learnt] * len(part.ids)
    return ids, wanted


def tokenizer_texts(rng: random.Random) -> Iterator[str]:
    """Lessons of every kind, and tasks of the training catalogue so that its words are not torn to
    pieces."""
    pool = catalogue("train")
    for _ in range(2000):
        lesson = draw_lesson(rng, EVERYTHING)
        tools = draw_tools(rng, pool, 3)
        yield render_system(lesson.tools, lesson.date,
                            "short") + render_system(tools, lesson.date, "short")
        yield render_conversation(lesson.messages)
    yield from [" " + " ".join(plain_words())] * 20 + ["_".join(plain_words())] * 8
