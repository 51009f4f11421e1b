"""What decontamination finds of a benchmark, and what it takes for one by mistake.

    python benchmarks/contamination.py --benchmark bfcl_eval/data [--benchmark ACEBench/data_all
        ...] [--samples FILE]

Planted copies: tools of the benchmark under a name that a client would make of theirs
(math.factorial becomes math_factorial), and its requests as they are, with a sentence before and
behind, and with one, two and three words replaced at random (requests of at least 8 words, drawn by
seed). What is flagged of `--samples` is printed, for a person to judge.

The last line is one JSON object: tools and requests read, seconds, shares found, samples flagged by
reason.
"""
from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path

from dataloop.mixing.contamination import WORD, Benchmark, benchmark_files, requests_in, tools_in
from looptool.calling.sample_rules import fault_kind
from looptool.foreign.files import read_foreign
from looptool.json_lines import read_jsonl
from looptool.records import Message, Sample, Tool

OTHER_WORDS = ("zebra", "Kyoto", "417", "violet", "perhaps", "Monday")


def asking(text: str, *tools: Tool) -> Sample:
    return Sample(id="", tools=list(tools), date="unknown",
                  messages=[Message(role="user", content=text)],
                  label=Message(role="assistant", content="Yes."))


def with_words_replaced(rng: random.Random, text: str, count: int) -> str:
    words = text.split()
    for index in rng.sample(range(len(words)), count):
        words[index] = rng.choice(OTHER_WORDS)
    return " ".join(words)


def planted(benchmark: Benchmark, files: list[Path], count: int, seed: int) -> dict[str, float]:
    """Share of planted copies that are found, by kind."""
    rng = random.Random(seed)
    entries = [entry for path in files for _, entry in read_foreign(path)]
    tools = [tool for entry in entries for tool in tools_in(entry)]
    requests = [text for entry in entries for text in requests_in(entry)
                if len(WORD.findall(text)) >= 8 and len(text.split()) > 3]
    drawn = rng.sample(requests, min(count, len(requests)))
    copies = {"tools": [asking("x", Tool(name=name.replace(".", "_"), parameters=parameters))
                        for name, parameters in rng.sample(tools, min(count, len(tools)))],
              "as they are": [asking(text) for text in drawn],
              "with a sentence before and behind": [asking(f"Good morning. {text} Thank you very "
                                                           "much.") for text in drawn]}
    for words in (1, 2, 3):
        copies[f"{words} words replaced"] = [asking(with_words_replaced(rng, text, words))
                                             for text in drawn]
    return {kind: sum(benchmark.reason(copy) is not None for copy in made) / len(made)
            for kind, made in copies.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--benchmark", type=Path, action="append", required=True, metavar="PLACE")
    parser.add_argument("--samples", type=Path, action="append", default=[], metavar="FILE",
                        help="samples to look through")
    parser.add_argument("--count", type=int, default=1000, help="planted copies of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    files = benchmark_files(args.benchmark)
    begun = time.perf_counter()
    benchmark = Benchmark(files)
    reading = time.perf_counter() - begun
    figures = {"files": len(files), **benchmark.found, "distinct tools": len(benchmark.tools),
               "seconds to read": round(reading, 2)}
    print(f"{len(files)} files: {benchmark.found['tools']:,} tools ({len(benchmark.tools):,} "
          f"distinct), {benchmark.found['requests']:,} requests, read in {reading:.2f} s")
    figures["found"] = planted(benchmark, files, args.count, args.seed)
    for kind, share in figures["found"].items():
        print(f"{share:7.1%} of planted copies found: {kind}")
    figures["samples"] = {}
    for path in args.samples:
        samples = list(read_jsonl(path, Sample))
        begun = time.perf_counter()
        reasons = [benchmark.reason(sample) for sample in samples]
        seconds = time.perf_counter() - begun
        counts = Counter(fault_kind(reason or "unseen") for reason in reasons)
        print(f"{path.name}: {len(samples):,} samples, {dict(counts)}, "
              f"{len(samples) / seconds:,.0f} a second")
        for reason, sample in zip(reasons, samples, strict=True):
            if reason is not None:
                print(f"    {reason} <- {sample.source}: {sample.messages[0].content[:80]!r}")
        figures["samples"][path.name] = dict(counts)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
