"""What the tiny student does by kind of task: accuracy of its greedy replies, and how many of its
sampled ones are right.

in   a checkpoint, and the SIMULATED held-out tasks (looptool.simulation.heldout) out  a table, and
as the last line one JSON object: {"greedy": {kind: share}, "sampled": {kind: share}}

    python grpotool/tiny_student/evaluate.py [--model DIR] [--tasks 280] [--draws 8]

A habit is well laid where the sampled replies of its kind are right in 10 to 20% at temperature 1.
"""
from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import AutoTokenizer, PreTrainedTokenizerFast, Qwen3ForCausalLM

from looptool.calling.match import tool_match
from looptool.calling.reply import parse_reply
from looptool.config_file import ROOT
from looptool.prompts.render import render_sample
from looptool.records import Sample
from looptool.simulation.heldout import heldout_samples

BATCH, LONGEST_REPLY = 64, 160
"""Prompts a batch; tokens a reply."""


@torch.no_grad()
def replies(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, samples: Sequence[Sample],
            draws: int = 0) -> Iterator[tuple[Sample, list[str]]]:
    """Each sample with its greedy reply, or with so many sampled ones at temperature 1; samples of
    like length together."""
    prompts = {sample.id: tokenizer.apply_chat_template(render_sample(sample, "short"),
                                                        tokenize=False,
                                                        add_generation_prompt=True)
               for sample in samples}
    by_length = iter(sorted(samples, key=lambda sample: len(prompts[sample.id])))
    how = {"do_sample": True, "temperature": 1.0, "top_k": 0,
           "num_return_sequences": draws} if draws else {"do_sample": False}
    while batch := list(islice(by_length, max(1, BATCH // (draws or 1)))):
        inputs = tokenizer([prompts[sample.id] for sample in batch], return_tensors="pt",
                           padding=True, padding_side="left",
                           return_token_type_ids=False).to(model.device)
        ids = model.generate(**inputs, max_new_tokens=LONGEST_REPLY,
                             **how)[:, inputs["input_ids"].shape[1]:]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        count = draws or 1
        yield from zip(batch, (texts[start:start + count] for start in range(0, len(texts), count)),
                       strict=True)


def is_right(sample: Sample, text: str) -> bool:
    """Whether a reply earns the reward."""
    reply, names = parse_reply(text), [tool.name for tool in sample.tools]
    return tool_match(reply.message(), sample.label, reply.faults, names) == "match"


def shares(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, samples: Sequence[Sample],
           draws: int = 0) -> dict[str, float]:
    """Share of right replies by kind of task, and over all kinds alike."""
    right = defaultdict(list)
    for sample, texts in tqdm(replies(model, tokenizer, samples, draws), total=len(samples),
                              desc="evaluate", disable=None):
        right[sample.source.removeprefix("simulation:")] += [is_right(sample, text)
                                                             for text in texts]
    by_kind = {kind: sum(hits) / len(hits) for kind, hits in right.items()}
    return {**{kind: round(by_kind[kind], 3) for kind in sorted(by_kind)},
            "all": round(sum(by_kind.values()) / len(by_kind), 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path,
                        default=ROOT / "grpotool" / "tiny_student" / "checkpoint")
    parser.add_argument("--tasks", type=int, default=280,
                        help="held-out tasks, the kinds in turn (default 280)")
    parser.add_argument("--draws", type=int, default=8, help="sampled replies a task (default 8)")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    torch.manual_seed(0)
    model = Qwen3ForCausalLM.from_pretrained(args.model, dtype=torch.float32).to(args.device).eval()
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    samples = list(heldout_samples(args.tasks))
    table = {"greedy": shares(model, tokenizer, samples),
             "sampled": shares(model, tokenizer, samples, args.draws)}
    for kind in table["greedy"]:
        print(f"{kind:12} greedy {table['greedy'][kind]:6.1%}   sampled "
              f"{table['sampled'][kind]:6.1%}")
    print(json.dumps(table))


if __name__ == "__main__":
    main()
