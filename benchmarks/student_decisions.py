"""Where a student errs: how often its next token is right at each kind of decision in a call
(SIMULATED tasks).

    python benchmarks/student_decisions.py [--model grpotool/tiny_student/checkpoint] [--tasks 100]

Single calls of held-out tasks and of tasks over the training catalogue. The right answer up to each
token is given (teacher forcing); so an error counts once, and does not spoil what comes behind it.
The last line is one JSON object.
"""
from __future__ import annotations

import argparse
import json
import random
import re
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from looptool.config_file import ROOT
from looptool.prompts.render import render_messages, render_system
from looptool.records import Message, Tool
from looptool.simulation.world.catalogue import Split, catalogue
from looptool.simulation.world.tasks import Unspeakable, draw_task, draw_tools

PARTS = {"function name": r'"name": "([^"]*)"',
         "parameter name": r'[{ ]"(?!name"|arguments")([^"]*)": ',
         "value": r'(?<!"name)": "?([^"{}\[\],]+)'}
"""What stands in a call, as patterns whose group is the part; the rest is structure."""


def single_calls(split: Split) -> Iterator[tuple[list[Tool], list[Message]]]:
    """Endless tasks of one call: tools, and the conversation with its right answer."""
    for index in range(1_000_000):
        rng = random.Random(f"decisions:{split}:{index}")
        tools = draw_tools(rng, catalogue(split), rng.randint(2, 4))
        # each of these tools has a sibling, so no task is a plain single call
        with suppress(Unspeakable):
            task = draw_task(rng, tools, split, "single")
            yield tools, [*task.messages, Message(role="assistant", calls=list(task.truth.calls))]


def decisions(answer: str, offsets: list[tuple[int, int]]) -> list[str]:
    """The kind of decision that each token of an answer is; the first token of a part is one of its
    own."""
    spans = [(*found.span(1), kind) for kind, pattern in PARTS.items()
             for found in re.finditer(pattern, answer)]
    kinds, before = [], None
    for _, end in offsets:
        span = next((span for span in spans if span[0] < end <= span[1]), None)
        kinds.append("structure" if span is None
                     else span[2] + (", first token" if span != before else ", rest"))
        before = span
    return kinds


@torch.no_grad()
def measure(model: torch.nn.Module, tokenizer: PreTrainedTokenizerBase, split: Split,
            tasks: int) -> dict[str, list[bool]]:
    """Whether the next token was right, by decision."""
    right = defaultdict(list)
    for tools, messages in islice(single_calls(split), tasks):
        chat = [{"role": "system", "content": render_system(tools, "2024-01-01", "short")},
                *render_messages(messages)]
        prompt = tokenizer(tokenizer.apply_chat_template(chat[:-1], tokenize=False,
                                                         add_generation_prompt=True))["input_ids"]
        answer = chat[-1]["content"]
        written = tokenizer(answer, return_offsets_mapping=True)
        ids = torch.tensor([*prompt, *written["input_ids"]])
        guesses = model(ids[None]).logits[0, len(prompt) - 1:-1].argmax(-1)
        hits = (guesses == ids[len(prompt):]).tolist()
        for kind, hit in zip(decisions(answer, written["offset_mapping"]), hits, strict=True):
            right[kind].append(hit)
    return right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path,
                        default=ROOT / "grpotool" / "tiny_student" / "checkpoint")
    parser.add_argument("--tasks", type=int, default=100)
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    shares = {split: {kind: sum(hits) / len(hits) for kind, hits in sorted(right.items())}
              for split in ("heldout", "train")
              for right in [measure(model, tokenizer, split, args.tasks)]}
    for kind in shares["heldout"]:
        print(f"{kind:28} held-out {shares['heldout'][kind]:6.1%}   training catalogue "
              f"{shares['train'][kind]:6.1%}")
    print(json.dumps(shares))


if __name__ == "__main__":
    main()
