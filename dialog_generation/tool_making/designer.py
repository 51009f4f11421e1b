"""Tools that a model writes for drawn paths of the dual tree (section 3.1).

In: the trees, a count, and the models. Out: run_dir/designed_tools.jsonl, one Design a line: the
paths, and the tool or the reason why there is none. A reply that cannot be read, is no valid tool
or breaks a drawn rule is asked for again, up to three draws in all.
"""
from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from dialog_generation.tool_making.dual_tree import Paths, Trees, Written, broken_rules
from dialog_generation.tool_making.files import valid_tool
from dialog_generation.tool_making.formats import Entry
from looptool.calling.json_in_text import read_object
from looptool.config import Config
from looptool.models.client import Client
from looptool.models.completion import Reply
from looptool.models.sampling import Sampling
from looptool.models.structured_outputs import ANY_OBJECT, TEXT, Form, closed
from looptool.prompts.render import ChatMessage, read_prompt
from looptool.records import Record, Tool
from looptool.run_files import RunFiles
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta
from looptool.stages.workers import Outcome

PROMPT = Path(__file__).resolve().parent / "prompts" / "designer.md"
TRIES = 3
DESIGN = Form("tool", closed(name=TEXT, description=TEXT, parameters=ANY_OBJECT,
                             returns=closed(type=TEXT, description=TEXT)), strict=False)
Ask = Callable[[list[ChatMessage], int], Awaitable[Reply]]
"""(chat, draw) -> one reply of a model."""


class Design(Record):
    """What became of one draw from the trees."""

    id: str
    paths: Paths
    reason: str
    """ "accepted", "unreadable", "cut", "invalid", or the first rule that the last reply broke."""
    tool: Tool | None


def design_prompt(paths: Paths, trees: Trees) -> list[ChatMessage]:
    """The two paths merged into one structured prompt."""
    demands = "\n".join(f"- {branch.text}" for branch in trees.branches(paths))
    content = (f"<context>\n{' > '.join(paths.context)}\n</context>\n\n"
               f"<constraints>\n{demands}\n</constraints>")
    return [{"role": "system", "content": read_prompt(PROMPT)},
            {"role": "user", "content": content}]


async def design(id: str, paths: Paths, trees: Trees, ask: Ask) -> Design:
    """One tool, or the reason of the last of TRIES replies.

    Raises:
        CallFailed: a call got no answer.
    """
    chat, reason = design_prompt(paths, trees), ""
    for draw in range(TRIES):
        reply = await ask(chat, draw)
        tool, reason = None, "cut"
        if reply.finish != "length":
            tool, reason = read_design(reply.text, paths, trees)
        if tool is not None:
            return Design(id=id, paths=paths, reason=reason, tool=tool)
    return Design(id=id, paths=paths, reason=reason, tool=None)


def read_design(text: str, paths: Paths, trees: Trees) -> tuple[Tool | None, str]:
    """The tool of a reply and "accepted", or None and the reason; what the result is joins the
    description."""
    written = read_object(text, Written)
    if written is None:
        return None, "unreadable"
    result = written.returns.get("description")
    try:
        tool = valid_tool(Entry(
            "", {"name": written.name, "parameters": written.parameters, "domain": paths.context[0],
                 "description": f"{written.description} Returns: {result}" if result
                 else written.description}))
    except ValueError:
        return None, "invalid"
    broken = broken_rules(written, trees.branches(paths))
    return (None, broken[0]) if broken else (tool, "accepted")


async def design_tools(config: Config, trees: Trees, sources: list[Path], count: int, output: Path,
                       fresh: bool = False) -> StageMeta:
    """Draw `count` pairs of paths and have a tool written for each; see
    looptool.stages.llm_stage.run_stage."""
    models = config.teacher.models
    sampling = Sampling(temperature=config.dialogs.temperature, form=DESIGN)

    def draws() -> Iterator[tuple[str, tuple[str, Paths]]]:
        for index in range(count):
            id = f"t{index:06d}"
            yield id, (id, trees.draw(random.Random(f"{config.seed}:{id}:paths")))

    async with Client.from_config(config, RunFiles(config).answers) as client:

        async def ask(chat: list[ChatMessage], draw: int) -> Reply:
            return await client.ask("designer", chat, sampling, draw, models[0])

        async def work(drawn: tuple[str, Paths]) -> Outcome:
            designed = await design(*drawn, trees, ask)
            return Outcome([designed], designed.reason)

        settings = {**client.settings("designer"), "seed": config.seed, "models": models[:1],
                    "count": count, "temperature": config.dialogs.temperature}
        return await run_stage("design", Inputs(draws), work, output, settings=settings,
                               sources=[*sources, PROMPT], in_flight=config.teacher.in_flight,
                               usage=client.usage, fresh=fresh,
                               later=RunFiles(config).made_from(output))
