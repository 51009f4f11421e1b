"""The policy as a probe asks it: a Hugging Face model on a CPU or a GPU, greedy, with perplexities
(engine "transformers").

In: samples. Out: a Generation each. Weights are computed in probe.dtype; "auto" is float32 on a
CPU, and as they are stored on a GPU.
"""
from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.utils.logging import disable_progress_bar

from dataloop.probing.job import Generation, end_tokens, prompt_ids, read_tokens
from looptool.config import Student
from looptool.errors import InputError
from looptool.models.decoding import ATTENTION, Answer, Choose, Dice, decode, likeliest
from looptool.records import Sample

DECODERS = 2
"""Parts of a batch that are decoded side by side on a CPU: two cores are used better by two batches
than by one."""


class TransformersPolicy:
    """One checkpoint, loaded."""

    def __init__(self, path: str, student: Student, cores: int | None = None, dtype: str = "auto"):
        """Load it from a folder, or from the hub by its name.

        Args:
            cores: of the CPU, if it decodes there; default: as many as torch uses.

        Raises:
            InputError: it is no checkpoint, or one that this engine cannot decode.
        """
        disable_progress_bar()  # of loading weights; a step has a bar of its own
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.path, self._student = path, student
        try:
            kinds = set(getattr(AutoConfig.from_pretrained(path), "layer_types", None)
                        or ["full_attention"])
            self.tokenizer = AutoTokenizer.from_pretrained(path)
            self.model = AutoModelForCausalLM.from_pretrained(
                path, dtype="float32" if (dtype, self.device) == ("auto", "cpu") else dtype,
                attn_implementation=ATTENTION)
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is no checkpoint that transformers can load ({error}); "
                             "train the round first, or name one with --model") from None
        if kinds != {"full_attention"}:
            raise InputError(f"{path}: has attention of the kinds {', '.join(sorted(kinds))}; this "
                             "engine decodes full attention only")
        self.model = self.model.eval().to(self.device)
        self.ends = end_tokens(path, self.tokenizer)
        cores = cores or torch.get_num_threads()
        self._parts = 1 if self.device == "cuda" else min(DECODERS, cores)
        self._threads = cores // self._parts

    def encode(self, sample: Sample) -> list[int] | None:
        """See dataloop.probing.job.prompt_ids."""
        return prompt_ids(self.tokenizer, sample, self._student)

    def generate(self, prompts: Sequence[list[int]]) -> list[Generation]:
        """Greedy replies to prompts of like length, decoded together.

        Raises:
            InputError: a probability is not a number, so the weights are damaged.
        """
        return self._in_parts(prompts, lambda part: likeliest)

    def draw(self, prompts: Sequence[list[int]], seeds: Sequence[int],
             temperature: float) -> list[Generation]:
        """A reply to each prompt drawn at a temperature, the same one for the same seed.

        Raises: as `generate`.
        """
        return self._in_parts(prompts, lambda part: Dice(seeds[part], temperature))

    def _in_parts(self, prompts: Sequence[list[int]],
                  choose: Callable[[slice], Choose]) -> list[Generation]:
        # in turn, as a batch is sorted: each part has long prompts and short ones
        parts = [slice(part, None, self._parts) for part in range(min(self._parts, len(prompts)))]
        # torch's number of threads holds for the thread that sets it
        with ThreadPoolExecutor(len(parts), initializer=torch.set_num_threads,
                                initargs=(self._threads,)) as pool:
            answers = list(pool.map(self._decode, [prompts[part] for part in parts],
                                    map(choose, parts)))
        in_order = (answers[index % len(parts)][index // len(parts)]
                    for index in range(len(prompts)))
        return [read_tokens(self.tokenizer, answer.tokens, sum(answer.log_probs), answer.ended,
                            self.path)
                for answer in in_order]

    def _decode(self, prompts: Sequence[list[int]], choose: Choose) -> list[Answer]:
        return [answer for answer, in decode(self.model, prompts, self._student.max_response_tokens,
                                             self.ends, choose)]
