"""The policy as a probe asks it: a Hugging Face model on a CPU or a GPU, greedy, with perplexities (engine "transformers").

In: samples. Out: a Generation each. Weights are computed in float32 on a CPU and as they are stored on a GPU.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from dataloop.greedy_decoding import ATTENTION, Answer, decode
from dataloop.probing import Generation, prompt_ids
from looptool.config import Student
from looptool.records import InputError, Sample

DECODERS = 2
"""Parts of a batch that are decoded side by side on a CPU: two cores are used better by two batches than by one."""


class TransformersPolicy:
    """One checkpoint, loaded."""

    def __init__(self, path: str, student: Student, cores: int | None = None):
        """Load it from a folder, or from the hub by its name.

        Args:
            cores: of the CPU, if it decodes there; default: as many as torch uses.

        Raises:
            InputError: it is no checkpoint, or one that this engine cannot decode.
        """
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.path, self._student = path, student
        try:
            kinds = set(getattr(AutoConfig.from_pretrained(path), "layer_types", None) or ["full_attention"])
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            self.model = AutoModelForCausalLM.from_pretrained(
                path, dtype="auto" if self.device == "cuda" else torch.float32, attn_implementation=ATTENTION)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is no checkpoint that transformers can load ({error}); train the round first, or "
                             "name one with --model") from None
        if kinds != {"full_attention"}:
            raise InputError(f"{path}: has attention of the kinds {', '.join(sorted(kinds))}; this engine decodes full "
                             "attention only")
        self.model = self.model.eval().to(self.device)
        self.ends = end_tokens(path, self.tokenizer)
        cores = cores or torch.get_num_threads()
        self._parts = 1 if self.device == "cuda" else min(DECODERS, cores)
        self._threads = cores // self._parts

    def encode(self, sample: Sample) -> list[int] | None:
        """See dataloop.probing.prompt_ids."""
        return prompt_ids(self.tokenizer, sample, self._student)

    def generate(self, prompts: Sequence[list[int]]) -> list[Generation]:
        """Greedy replies to prompts of like length, decoded together.

        Raises:
            InputError: a probability is not a number, so the weights are damaged.
        """
        parts = [prompts[part::self._parts] for part in range(min(self._parts, len(prompts)))]
        with ThreadPoolExecutor(len(parts), initializer=torch.set_num_threads, initargs=(self._threads,)) as pool:
            answers = list(pool.map(self._decode, parts))
        return [self._read(answers[index % len(parts)][index // len(parts)]) for index in range(len(prompts))]

    def _decode(self, prompts: Sequence[list[int]]) -> list[Answer]:
        return decode(self.model, prompts, self._student.max_response_tokens, self.ends)

    def _read(self, answer: Answer) -> Generation:
        perplexity = math.exp(-answer.log_probability / len(answer.tokens))
        if not math.isfinite(perplexity):
            raise InputError(f"{self.path}: gives probabilities that are no numbers; the checkpoint is damaged")
        text = self.tokenizer.decode(answer.tokens[:-1] if answer.ended else answer.tokens, skip_special_tokens=False,
                                     clean_up_tokenization_spaces=False)
        finish = "length" if not answer.ended else "stop" if text.strip() else "empty"
        return Generation(text, round(perplexity, 6), len(answer.tokens), finish)


def end_tokens(path: str, tokenizer) -> list[int]:
    """The tokens that end a reply: those of the generation config, and the tokenizer's own.

    Raises:
        InputError: none is known, so that no reply would ever end.
    """
    try:
        named = GenerationConfig.from_pretrained(path).eos_token_id
    except OSError:
        named = None
    ends = {*(named if isinstance(named, list) else [named]), tokenizer.eos_token_id} - {None}
    if not ends:
        raise InputError(f"{path}: names no end token; set eos_token_id in its generation_config.json")
    return sorted(ends)
