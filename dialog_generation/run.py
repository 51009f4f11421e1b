"""Dialogs by four agents (section 3): planner, user, assistant and tool talk turn by turn over a drawn set of tools.

    python run.py --func data_crawl [--tools_path tools/toolbench] [--used_models Qwen3-32B] [--crawl_num 1000] ...
    python run.py --func data_post_process

data_crawl          In: run_dir/tools.jsonl. Out: run_dir/dialogs.jsonl, one Dialog a line, by their ids.
data_post_process   In: run_dir/dialogs.jsonl. Out: run_dir/verified_dialogs.jsonl, the same dialogs with the call steps
                    that break a rule marked; see verification.py.

The flags are those of the released code; without them everything comes from the config. A killed crawl goes on where it
was; a dialog in which a call got no answer is tried again by the next run.

Departures from the paper
1. Half of a dialog's tools are of one domain, so that there are alike ones to choose from.
2. A call that breaks its tool's schema gets an error without asking the tool agent; a tool with a backend is run by
   its code, and planner and user are told what that world holds when the dialog begins.
3. The user answers within a need, up to three times, as long as the assistant's text ends with a question.
"""
from __future__ import annotations

import argparse
import asyncio
import logging
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from dialog_generation.agents import PROMPTS, ROLES, Abandoned, Ask
from dialog_generation.backends import backend_files
from dialog_generation.orchestrator import play
from dialog_generation.scene import Scene, ToolPool, draw_scene
from dialog_generation.tool_files import read_tool_files, tool_files
from dialog_generation.verification import verify_dialog
from looptool.config import Config, RunFiles, argument_parser, load_config
from looptool.llm import Client, Reply, Sampling
from looptool.meta import StageMeta
from looptool.prompt import ChatMessage
from looptool.records import Dialog, InputError, Tool, read_jsonl
from looptool.stage import Inputs, Outcome, run_main, run_stage
from looptool.transform import run_transform

_log = logging.getLogger(__name__)


def read_tools(path: Path | None, files: RunFiles) -> tuple[list[Tool], list[Path]]:
    """The tools of --tools_path in any form, else the run's own list; and the files that they come from.

    Raises:
        InputError: a file cannot be read, or the run's list names a tool twice.
    """
    if path is None:
        tools = list(read_jsonl(files.tools, Tool))
        twice = [name for name, count in Counter(tool.name for tool in tools).items() if count > 1]
        if twice:
            raise InputError(f"{files.tools}: the tool {twice[0]!r} is there twice; remove one, or run "
                             "synthesize_tools.py again")
        return tools, [files.tools]
    counts: Counter[str] = Counter()
    tools, refused = read_tool_files(path, counts)
    for entry in refused:
        _log.warning("%s: left out, %s", entry.place, entry.reason)
    if not tools:
        raise InputError(f"{path}: holds no tool that can be read; synthesize_tools.py --tools says why of each")
    return tools, tool_files(path)


def make_ask(client: Client, models: Sequence[str], sampling: Sampling, id: str, seed: int) -> Ask:
    """How the agents of one dialog reach a model; with several models each call draws its own."""

    async def ask(role: str, chat: list[ChatMessage], draw: int) -> Reply:
        model = models[0]
        if len(models) > 1:
            model = random.Random(f"{seed}:{id}:{role}:{draw}:{chat[-1]['content']}").choice(models)
        return await client.ask(role, chat, sampling, draw, model)

    return ask


async def crawl(config: Config, tools: list[Tool], sources: list[Path], output: Path, thinking: bool | None = None,
                fresh: bool = False) -> StageMeta:
    """Generate dialogs.count dialogs over `tools`; see looptool.stage.run_stage."""
    dialogs, models, pool = config.dialogs, config.teacher.models, ToolPool(tools)
    sampling = Sampling(temperature=dialogs.temperature, thinking=thinking)

    def scenes() -> Iterator[tuple[str, Scene]]:
        for index in range(dialogs.count):
            scene = draw_scene(f"d{index:06d}", pool, dialogs, config.seed)
            yield scene.id, scene

    async with Client.from_config(config, RunFiles(config).answers) as client:

        async def work(scene: Scene) -> Outcome:
            try:
                dialog, end = await play(scene, make_ask(client, models, sampling, scene.id, config.seed), dialogs,
                                         config.seed)
            except Abandoned as reason:
                return Outcome([], f"abandoned_{reason}")
            return Outcome([dialog], end)

        settings = {"world": client.world, "seed": config.seed, "models": models, "thinking": thinking,
                    "count": dialogs.count, "tools_per_dialog": dialogs.tools_per_dialog,
                    "messages": dialogs.messages, "plan": dialogs.plan, "max_bad_turns": dialogs.max_bad_turns,
                    "temperature": dialogs.temperature}
        code = backend_files(tools)
        prompts = (*ROLES, "world") if code else ROLES
        return await run_stage("dialogs", Inputs(scenes), work, output, settings=settings,
                               sources=[*sources, *code, *(PROMPTS / f"{name}.md" for name in prompts)],
                               in_flight=config.teacher.in_flight, usage=client.usage, fresh=fresh)


def post_process(dialogs: Path, output: Path) -> StageMeta:
    """Write the verified dialogs; counts call steps by reason."""
    counts: Counter[str] = Counter()
    verified = (verify_dialog(dialog, counts) for dialog in read_jsonl(dialogs, Dialog))
    return run_transform("verified dialogs", verified, output, counts, settings={}, sources=[dialogs])


def with_flags(config: Config, args: argparse.Namespace) -> Config:
    """The config with the released code's flags put over it."""
    config.teacher.models = args.used_models or config.teacher.models
    config.teacher.in_flight = args.thread_num or config.teacher.in_flight
    config.dialogs.count = args.crawl_num or config.dialogs.count
    config.dialogs.plan = args.use_plan or config.dialogs.plan
    return config


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--func", choices=("data_crawl", "data_post_process"), default="data_crawl")
    parser.add_argument("--raw_data_path", type=Path, metavar="PLACE",
                        help="data_crawl: folder or .jsonl file that gets a copy of dialogs.jsonl; data_post_process: "
                             "where the dialogs are read from")
    parser.add_argument("--tools_path", type=Path, metavar="PLACE",
                        help="file or folder of tools (default: run_dir/tools.jsonl)")
    parser.add_argument("--used_models", nargs="+", metavar="MODEL", help="drawn per call (default: teacher.models)")
    parser.add_argument("--is_en", action="store_true", help="dialogs in English, today the only language")
    parser.add_argument("--use_plan", action="store_true", help="with the planner (default: dialogs.plan)")
    parser.add_argument("--use_cot", action="store_true",
                        help="switch the models' thinking on (default: as the server has it)")
    parser.add_argument("--thread_num", type=int, metavar="N", help="dialogs in flight (default: teacher.in_flight)")
    parser.add_argument("--crawl_num", type=int, metavar="N", help="dialogs to generate (default: dialogs.count)")
    parser.add_argument("--fresh", action="store_true", help="forget the dialogs of an earlier run")
    return parser.parse_args()


def dialog_file(place: Path) -> Path:
    """The file of dialogs that --raw_data_path stands for."""
    return place if place.suffix == ".jsonl" else place / "dialogs.jsonl"


def main() -> None:
    args = parse_arguments()
    config = with_flags(load_config(args.config, args.overrides), args)
    files = RunFiles(config)
    if args.func == "data_post_process":
        post_process(dialog_file(args.raw_data_path) if args.raw_data_path else files.dialogs, files.verified_dialogs)
        return
    tools, sources = read_tools(args.tools_path, files)
    asyncio.run(crawl(config, tools, sources, files.dialogs, True if args.use_cot else None, args.fresh))
    if args.raw_data_path:
        dialog_file(args.raw_data_path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files.dialogs, dialog_file(args.raw_data_path))


if __name__ == "__main__":
    run_main(main)
