"""How many tokens a prompt has by the student's tokenizer, and whether it fits, mostly without
asking the tokenizer.

Tokenizing is nearly all of the time that samples take to make. A text has no more tokens than
bytes, and a tool's definition, which comes again with every sample, is counted once: so the
tokenizer is asked only near the limit.
"""
from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from looptool.config import Config
from looptool.config_file import student_path
from looptool.errors import InputError
from looptool.prompts.render import ChatMessage

_LINE_END = re.compile(r"\n(?=\S)")
CHECKED = 32
"""So many first prompts are counted both ways."""
MARGIN = 32
"""Bytes that a chat template may put around a turn beyond those it puts around an empty one."""


def leave_torch_out() -> None:
    """For scripts that tokenize only: transformers would import torch, which takes two seconds and
    260 MB, for nothing.

    Where torch is there already, it stays.
    """
    # None makes `import torch` fail, which transformers takes for an absent package
    sys.modules.setdefault("torch", None)  # type: ignore[arg-type]
    os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"


def student_tokenizer(config: Config) -> Any:
    """The student's tokenizer, of transformers.

    Raises:
        InputError: there is none.
    """
    return load_tokenizer(student_path(config), f"student.model {config.student.model!r}")


def load_tokenizer(path: str, name: str = "") -> Any:
    """The tokenizer of a checkpoint, of transformers.

    Raises:
        InputError: there is none; calls it by `name`.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{name or path}: its tokenizer cannot be loaded "
                         f"({str(error).splitlines()[0]}); name a folder or a model of the "
                         "hub") from None


def token_length(tokenizer: Any) -> Callable[[list[ChatMessage]], int]:
    """Tokens of a rendered prompt with the opening of the answer, as training and probing will see
    it."""
    def length(chat: list[ChatMessage]) -> int:
        text = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        return len(tokenizer(text, add_special_tokens=False)["input_ids"])

    return length


class StudentFits:
    """`PromptFits` by the student's tokenizer, loaded with the first prompt: a wrong input need not
    wait for that."""

    def __init__(self, config: Config):
        self._config = config
        self._loaded: PromptFits | None = None

    def __call__(self, chat: list[ChatMessage], limit: int) -> bool:
        """See PromptFits.

        Raises:
            InputError: there is no such tokenizer.
        """
        if self._loaded is None:
            self._loaded = PromptFits(student_tokenizer(self._config))
        return self._loaded(chat, limit)


class PromptFits:
    """Whether a prompt fits, answered as `token_length` would.

    The bounds: the bytes of all; or, nearer, the tokens of the system text's lines, each line
    counted once for all prompts, and the bytes of the rest. Lines are counted by themselves, which
    is right for tokenizers that never join text across the end of a line; the first prompts are
    counted whole too, and where a bound fails, none is used again.
    """

    def __init__(self, tokenizer: Any):
        self._length, self._checks, self._trusted = token_length(tokenizer), 0, True
        sizes = [len(tokenizer.apply_chat_template(_empty(turns), add_generation_prompt=True,
                                                   tokenize=False).encode())
                 for turns in (1, 2, 3)]
        # of a pair of turns, for each turn: a bound may be too high
        self._a_turn = MARGIN + max(sizes[1] - sizes[0], sizes[2] - sizes[1])
        self._template = sizes[0] + MARGIN

        @lru_cache(maxsize=20_000)
        def count(line: str) -> int:
            return len(tokenizer(line, add_special_tokens=False)["input_ids"])

        @lru_cache(maxsize=256)
        def count_lines(text: str) -> int:
            *lines, last = _LINE_END.split(text)
            return sum(count(line + "\n") for line in lines) + count(last)

        self._count_lines = count_lines

    def __call__(self, chat: list[ChatMessage], limit: int) -> bool:
        if not self._trusted:
            return self._length(chat) <= limit
        if self._checks < CHECKED:
            self._checks += 1
            exact = self._length(chat)
            # `size` needs no look: `bound` is never more
            self._trusted = exact <= self.bound(chat)
            return exact <= limit
        return self.size(chat) <= limit or self.bound(chat) <= limit or self._length(chat) <= limit

    def size(self, chat: list[ChatMessage]) -> int:
        """Bytes of the prompt, or more."""
        return (self._template + len(chat) * self._a_turn
                + sum([len(turn["content"].encode()) for turn in chat]))

    def bound(self, chat: list[ChatMessage]) -> int:
        """No fewer tokens than the prompt has, and no more than `size`."""
        system = chat[0]["content"]
        return self.size(chat) - len(system.encode()) + self._count_lines(system)


def _empty(turns: int) -> list[ChatMessage]:
    """A system turn, and so many pairs of turns without text."""
    pair = [{"role": "user", "content": ""}, {"role": "assistant", "content": ""}]
    return [{"role": "system", "content": ""}, *(pair * turns)[:-1]]
