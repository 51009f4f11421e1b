"""Dialogs by four agents (section 3): planner, user, assistant and tool talk turn by turn over a
drawn set of tools.

    python run.py --func data_crawl [--tools_path tools/toolbench] [--used_models Qwen3-32B]
        [--crawl_num 1000] ...
    python run.py --func data_post_process

data_crawl          In: run_dir/tools.jsonl. Out: run_dir/dialogs.jsonl, one Dialog a line, by their
                    ids.
data_post_process   In: run_dir/dialogs.jsonl. Out: run_dir/verified_dialogs.jsonl, the dialogs that
                    pass both tiers of verification.py, and the others aside. With
                    --processed_data_extreme_split also verified_dialogs_{short,medium,long}.jsonl:
                    up to 8, up to 20, more messages.

The flags are those of the released code, --print_num apart; without them everything comes from the
config. A killed crawl goes on where it was; a dialog in which a call got no answer is tried again
by the next run.

Departures from the paper
1. Half of a dialog's tools are of one domain, so that there are alike ones to choose from.
2. A call that breaks its tool's schema gets an error without asking the tool agent; a tool with a
   backend is run by its code, and planner and user are told what that world holds when the dialog
   begins.
3. The user answers within a need, up to three times, as long as the assistant's text ends with a
   question.
"""
from __future__ import annotations

import asyncio
import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dialog_generation.agents import ROLES, Abandoned, Ask, prompt_file
from dialog_generation.backends import backend_files
from dialog_generation.flags import parse_arguments, with_flags
from dialog_generation.orchestrator import play
from dialog_generation.scene import GroupPool, Scene, ToolPool, draw_scene
from dialog_generation.tool_making.files import read_tool_files
from dialog_generation.tool_making.groups import read_groups
from dialog_generation.verification import check_dialogs, write_verified
from looptool.command import run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.foreign.files import files_in
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.models.client import Client
from looptool.models.completion import Reply
from looptool.models.sampling import Sampling
from looptool.models.structured_outputs import Form
from looptool.prompts.render import ChatMessage
from looptool.records import Dialog, Tool
from looptool.run_files import RunFiles
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta, refuse_imported
from looptool.stages.workers import Outcome

LENGTHS = {"short": (1, 8), "medium": (9, 20), "long": (21, 1_000_000)}
"""Messages of a dialog, for --processed_data_extreme_split."""
_log = logging.getLogger(__name__)


def read_pool(path: Path | None, files: RunFiles,
              grouped: bool = False) -> tuple[ToolPool | GroupPool, list[Path]]:
    """What dialogs draw their tools from, and the files that the tools come from.

    Args:
        path: a file or folder of tools in any form, or of groups; None for the run's own list.

    Raises:
        InputError: a file cannot be read, holds no tool, or the run's list names a tool twice.
    """
    if path is None:
        tools = list(read_jsonl(files.tools, Tool))
        twice = [name for name, count in Counter(tool.name for tool in tools).items() if count > 1]
        if twice:
            raise InputError(
                f"{files.tools}: the tool {twice[0]!r} is there twice; remove one, or run "
                "synthesize_tools.py again")
        return ToolPool(tools), [files.tools]
    if grouped:
        groups, refused = read_groups(path)
        pool: ToolPool | GroupPool = GroupPool(groups)
    else:
        tools, refused = read_tool_files(path, Counter())
        pool = ToolPool(tools)
    for entry in refused:
        _log.warning("%s: left out, %s", entry.place, entry.reason)
    if not pool.tools:
        raise InputError(
            f"{path}: holds no tool that can be read; synthesize_tools.py --tools says why of each")
    return pool, files_in(path)


def make_ask(client: Client, models: Sequence[str], sampling: Sampling, id: str, seed: int) -> Ask:
    """How the agents of one dialog reach a model; with several models each call draws its own."""

    async def ask(role: str, chat: list[ChatMessage], draw: int,
                  tools: list[dict[str, Any]] | None = None, form: Form | None = None) -> Reply:
        model = models[0]
        if len(models) > 1:
            # from the question: a crawl that goes on asks the same model, whose answer is paid
            model = random.Random(f"{seed}:{id}:{role}:{draw}:{chat[-1]['content']}").choice(models)
        drawn = msgspec.structs.replace(sampling, form=form)
        return await client.ask(role, chat, drawn, draw, model, tools)

    return ask


async def crawl(config: Config, pool: ToolPool | GroupPool, sources: list[Path], output: Path, *,
                thinking: bool | None = None, fresh: bool = False) -> StageMeta:
    """Generate dialogs.count dialogs over the tools of `pool`; see
    looptool.stages.llm_stage.run_stage."""
    dialogs, models = config.dialogs, config.teacher.models
    sampling = Sampling(temperature=dialogs.temperature, thinking=thinking)

    def scenes() -> Iterator[tuple[str, Scene]]:
        for index in range(dialogs.count):
            scene = draw_scene(f"d{index:06d}", pool, dialogs, config.seed)
            yield scene.id, scene

    async with Client.from_config(config, RunFiles(config).answers) as client:

        async def work(scene: Scene) -> Outcome:
            try:
                dialog, end = await play(scene,
                                         make_ask(client, models, sampling, scene.id, config.seed),
                                         dialogs, config.seed)
            except Abandoned as reason:
                return Outcome([], f"abandoned_{reason}")
            return Outcome([dialog], end)

        settings = {**client.settings(*ROLES), "seed": config.seed, "models": models,
                    "thinking": thinking, "dialogs": {
            # only what changes a dialog: what is done with it later may change in between
            name: getattr(dialogs, name)
            for name in ("count", "tools_per_dialog", "messages", "plan", "chat", "language",
                         "clock", "native_calls", "max_bad_turns", "temperature")}}
        code = backend_files(pool.tools)
        assistant = "assistant_native" if dialogs.native_calls else "assistant"
        prompts = ["planner", "user", assistant, "tool", *(["world"] if code else [])]
        return await run_stage("dialogs", Inputs(scenes), work, output, settings=settings,
                               sources=[*sources, *code,
                                        *(prompt_file(name, dialogs.language) for name in prompts)],
                               in_flight=config.teacher.in_flight, usage=client.usage, fresh=fresh,
                               later=RunFiles(config).made_from(output))


def post_process(config: Config, dialogs: Path, output: Path, split: bool = False,
                 fresh: bool = False) -> None:
    """Verify the dialogs, write those that pass; see verification.py.

    Args:
        split: also write a file for each length of LENGTHS.
    """
    checks = output.with_name("dialog_checks.jsonl")
    asyncio.run(check_dialogs(config, dialogs, checks, fresh))
    write_verified(dialogs, checks, output)
    for name, (least, most) in LENGTHS.items() if split else ():
        path = output.with_name(f"{output.stem}_{name}.jsonl")
        count = write_jsonl(path, (dialog for dialog in read_jsonl(output, Dialog)
                                   if least <= len(dialog.messages) <= most))
        _log.info("%d %s dialogs -> %s", count, name, path)


def dialog_file(place: Path, name: str = "dialogs.jsonl") -> Path:
    """The file of dialogs that a flag stands for: the file itself, or `name` in the folder."""
    return place if place.suffix == ".jsonl" else place / name


def main() -> None:
    args = parse_arguments(__doc__)
    config = with_flags(load_config(args.config, args.overrides), args)
    files = RunFiles(config)
    if args.func == "data_post_process":
        output = dialog_file(args.processed_data_path or files.verified_dialogs,
                             files.verified_dialogs.name)
        if config.dialogs.verify == "none":
            _log.info("verified dialogs: dialogs.verify is none, so every dialog goes on")
            return
        post_process(config, dialog_file(args.raw_data_path or files.dialogs), output,
                     args.processed_data_extreme_split, args.fresh)
        return
    refuse_imported(files.samples, files.conversations)  # said before any dialog is paid for
    pool, sources = read_pool(args.tools_path, files, args.group_tool)
    asyncio.run(crawl(config, pool, sources, files.dialogs, thinking=True if args.use_cot else None,
                      fresh=args.fresh))
    if args.raw_data_path:
        dialog_file(args.raw_data_path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files.dialogs, dialog_file(args.raw_data_path))


if __name__ == "__main__":
    run_main(main)
