"""How fast the reward is on one core, and what the worst reply costs.

    python benchmarks/reward.py --samples FILE [--times 3]

FILE holds single-turn tasks as xLAM and ToolRL write them, JSON lines of {"id", "query", "answers",
"tools"}. Scored are: each label as its own reply, with and without thinking before it; the same
with one to three random edits; text that means nothing; and replies of 100 KB made to be slow. Time
is CPU time of this thread, in the fastest of 20 passes a repetition; a busy machine still blurs it,
as other work takes its caches.

The last line is one JSON object; targets: 90,000 scores a second, and 1 ms at the 99th percentile
of 100 KB replies.
"""
from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import msgspec

from grpotool.dataset.xlam_samples import read_task
from grpotool.reward import compute_score
from looptool.calling.reply import render_calls
from looptool.records import Message

SIZE = 100_000
"""Characters of a long reply."""
THOUGHT = ("<think>\n" + "The user asks for one thing, and one of these tools does it. " * 8
           + "\n</think>\n\n")
CALL = '<tool_call>\n{"name": "f", "arguments": %s}\n</tool_call>'
SIGNS = [*'"\\{}[],:1- \n', "<tool_call>", "</tool_call>", "<think>", "</think>", "null", "1e9",
         "é"]
PASSES = 20
"""Over the short replies, in one repetition."""
Pairs = list[tuple[str, str]]
"""(reply, label as JSON)"""


def encoded(label: Message) -> str:
    return msgspec.json.encode(label).decode()


def read_labels(path: Path) -> list[Message]:
    """The labels of all tasks that can be read."""
    labels = []
    for line in path.read_bytes().splitlines():
        try:
            labels.append(read_task(msgspec.json.decode(line)).label)
        except ValueError:  # a tool whose types are not certain
            continue
    return labels


def edited(reply: str, rng: random.Random) -> str:
    """One to three random edits: cut, delete, insert, replace."""
    for _ in range(rng.randint(1, 3)):
        start = rng.randrange(len(reply) + 1)
        stop = start + rng.choice([1, 3, 40])
        reply = rng.choice([reply[:stop], reply[:start] + reply[stop:],
                            reply[:start] + rng.choice(SIGNS) + reply[start:],
                            reply[:start] + rng.choice("09aZ") + reply[start + 1:]])
    return reply


def short_replies(labels: list[Message], rng: random.Random) -> dict[str, Pairs]:
    """By kind, replies of the length that a model writes."""
    answers = [(render_calls(label.calls) or label.content, encoded(label)) for label in labels]
    thought = [(THOUGHT + answer, label) for answer, label in answers]
    return {"label": answers, "thinking, label": thought,
            "edited": [(edited(answer, rng), label) for answer, label in answers * 2 + thought * 2],
            "garbage": [("".join(rng.choices(SIGNS, k=rng.randint(0, 200))), label)
                        for _, label in answers * 2]}


def filled(part: str, before: str = "", after: str = "") -> str:
    """`part` repeated to SIZE characters."""
    return before + part * ((SIZE - len(before) - len(after)) // len(part)) + after


def call_of(part: str, before: str, after: str) -> str:
    """A block whose argument is `part`, repeated."""
    return CALL % filled(part, f'{{"x": {before}', f"{after}}}")


def long_replies() -> dict[str, str]:
    """Replies of SIZE characters, each made to be slow in another way."""
    keys = ", ".join(f'"{number}": 0' for number in range(SIZE // 11))
    return {
        "plain text": filled("some words. "),
        "thinking, then a call": filled("some words. ", "<think>", "</think>") + CALL % "{}",
        "long string": call_of("some words. ", '"', '"'), "escapes": call_of("\\u0041", '"', '"'),
        "escaped quotes": call_of('\\"', '"', '"'),
        "tags in a string": call_of("<tool_call>", '"', '"'), "integers": call_of("1,", "[", "1]"),
        "fractions": call_of("1.5,", "[", "1]"), "digits": call_of("9", "", ""),
        "fraction of digits": call_of("9", "0.", ""),
        "long integers": call_of("9" * 4000 + ",", "[", "1]"), "lists": call_of("[],", "[", "1]"),
        "objects": call_of('{"a":1},', "[", "1]"), "keys": CALL % f"{{{keys}}}",
        "one key again": call_of('"a":1,', "{", '"a":1}'),
        "nested lists": filled("[", "<tool_call>"),
        "nested objects": filled('{"a":', "<tool_call>"),
        "closed nesting": CALL % ("[" * (SIZE // 2) + "]" * (SIZE // 2)),
        "openings": filled("<tool_call>\n"),
        "openings with a brace": filled('<tool_call>\n{"name": '),
        "openings with a quote": filled('<tool_call>"'), "closings": filled("</tool_call>"),
        "thoughts": filled("<think>"),
        "ends of thoughts": filled("</think>"), "empty thoughts": filled("<think></think>"),
        "calls": filled(CALL % "{}"), "broken calls": filled("<tool_call>{</tool_call>"),
        "quotes": filled('"', "<tool_call>"),
        "spaces at the end": filled(" ", CALL % "{}"),
        "ends of turns": filled("<|im_end|>", CALL % "{}"),
        "spaced ends of turns": filled(" <|im_end|>", "text"), "less-than signs": filled("<"),
        "zeros": filled("\x00"), "beyond ASCII": filled("漢字", CALL % "{}"),
        "lone surrogates": call_of("\\ud800", '"', '"'), }


def seconds_a_score(pairs: Pairs, passes: int) -> float:
    """Mean over the pairs, in the fastest of so many passes."""
    best = float("inf")
    for _ in range(passes):
        begun = time.thread_time()
        for reply, label in pairs:
            compute_score("looptool", reply, label)
        best = min(best, time.thread_time() - begun)
    return best / len(pairs)


def p99(reply: str, label: str) -> float:
    """Seconds that at most 99 of 100 scores of one reply take."""
    return sorted(seconds_a_score([(reply, label)], 1) for _ in range(100))[98]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, required=True, help="tasks whose labels are scored")
    parser.add_argument("--times", type=int, default=3,
                        help="repetitions, of which the best counts")
    args = parser.parse_args()
    labels = read_labels(args.samples)
    kinds = short_replies(labels, random.Random(0))
    kinds["all"] = [pair for pairs in list(kinds.values()) for pair in pairs]
    figures: dict[str, float] = {"labels": len(labels)}
    print(f"{'replies':24} {'scores':>7} {'right':>6} {'CPU a score':>12} {'a second':>9}")
    for name, pairs in kinds.items():
        best = seconds_a_score(pairs, PASSES * args.times)
        right = sum(compute_score("", *pair)["score"] for pair in pairs) / len(pairs)
        figures[name] = round(1 / best)
        print(f"{name:24} {len(pairs):7,} {right:6.0%} {best * 1e6:9.2f} us {1 / best:9,.0f}")
    label = encoded(next(label for label in labels if label.calls))
    print(f"\n{'replies of 100 KB':24} {'reason':>20} {'p99':>11}")
    for name, reply in long_replies().items():
        worst = min(p99(reply, label) for _ in range(args.times))
        figures[f"p99_ms_{name}"] = round(worst * 1e3, 3)
        print(f"{name:24} {compute_score('', reply, label)['reason']:>20} "
              f"{worst * 1e3:8.3f} ms")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
