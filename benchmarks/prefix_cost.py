"""Prompt tokens that a server with a prefix cache must compute for one accepted dialog.

    python benchmarks/prefix_cost.py [--dialogs 200] [--in_flight 64] [--cache_tokens 100000]

Dialogs of the SIMULATED agents over the built-in tools; each request is laid out as it is sent, and
once more with the history before the instruction and the tools. The cache is that of vLLM and
SGLang in small: blocks of 16 tokens, found by all that stands before and in them, the least
recently used ones dropped. Tokens are the tiny student's.

The last line is one JSON object: tokens a dialog without a cache, and computed with one, by layout.
"""
from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from collections import OrderedDict
from pathlib import Path

from dialog_generation.agents import Abandoned
from dialog_generation.orchestrator import play
from dialog_generation.run import make_ask
from dialog_generation.scene import ToolPool, draw_scene
from looptool.config_file import ROOT, load_config
from looptool.models.client import Client
from looptool.models.completion import Reply
from looptool.models.sampling import Sampling
from looptool.prompts.length import student_tokenizer
from looptool.prompts.render import ChatMessage
from looptool.simulation.world.catalogue import catalogue

BLOCK = 16


class PrefixCache:
    """What of a prompt must be computed when the blocks of earlier prompts are kept."""

    def __init__(self, blocks: int):
        self._blocks, self._kept = blocks, OrderedDict[int, None]()
        self.computed = self.total = 0

    def add(self, ids: list[int]) -> None:
        """Count one prompt, and keep its full blocks."""
        prefix, known = 0, True
        self.total += len(ids)
        self.computed += len(ids)
        for start in range(0, len(ids) - BLOCK + 1, BLOCK):
            prefix = hash((prefix, *ids[start:start + BLOCK]))
            known = known and prefix in self._kept
            if known:
                self.computed -= BLOCK
            self._kept[prefix] = None
            self._kept.move_to_end(prefix)
            if len(self._kept) > self._blocks:
                self._kept.popitem(last=False)


def as_sent(chat: list[ChatMessage]) -> str:
    return "".join(f"<|im_start|>{turn['role']}\n{turn['content']}<|im_end|>\n" for turn in chat)


def history_first(chat: list[ChatMessage]) -> str:
    return as_sent([*chat[1:], chat[0]])


LAYOUTS = {"as sent": as_sent, "history first": history_first}


async def measure(dialogs: int, in_flight: int, cache_tokens: int) -> dict[str, dict[str, float]]:
    """Tokens for each accepted dialog, those of abandoned ones included, by layout."""
    config = load_config(ROOT / "configs" / "laptop.yaml", [])
    tokenizer = student_tokenizer(config)
    caches = {layout: PrefixCache(cache_tokens // BLOCK) for layout in LAYOUTS}
    pool, sampling = ToolPool(catalogue("train")), Sampling(temperature=config.dialogs.temperature)
    slots, accepted = asyncio.Semaphore(in_flight), 0
    with tempfile.TemporaryDirectory() as folder:
        async with Client.from_config(config, Path(folder) / "answers.sqlite") as client:

            async def run(index: int) -> None:
                nonlocal accepted
                scene = draw_scene(f"d{index:06d}", pool, config.dialogs, config.seed)
                ask = make_ask(client, config.teacher.models, sampling, scene.id, config.seed)

                async def recorded(role: str, chat: list[ChatMessage], draw: int,
                                   tools: None = None) -> Reply:
                    for layout, cache in caches.items():
                        cache.add(tokenizer(LAYOUTS[layout](chat))["input_ids"])
                    return await ask(role, chat, draw, tools)

                async with slots:
                    try:
                        await play(scene, recorded, config.dialogs, config.seed)
                        accepted += 1
                    except Abandoned:
                        pass

            await asyncio.gather(*map(run, range(dialogs)))
    return {layout: {"without a cache": round(cache.total / accepted),
                     "computed": round(cache.computed / accepted)}
            for layout, cache in caches.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dialogs", type=int, default=200)
    parser.add_argument("--in_flight", type=int, default=64, help="dialogs at once")
    parser.add_argument("--cache_tokens", type=int, default=100_000,
                        help="tokens that the server can keep")
    result = asyncio.run(measure(**vars(parser.parse_args())))
    for layout, tokens in result.items():
        print(f"{layout:14} {tokens['computed']:7,} of {tokens['without a cache']:7,} prompt "
              f"tokens a dialog computed ({tokens['computed'] / tokens['without a cache']:.0%})")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
