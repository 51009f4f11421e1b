"""The command line of run.py: the released code's flags, each over a value of the config."""
from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from looptool.command import argument_parser
from looptool.config import Config, Dialogs, Teacher
from looptool.errors import InputError


def parse_arguments(description: str | None) -> argparse.Namespace:
    parser = argument_parser(description)
    flag = parser.add_argument
    flag("--func", choices=("data_crawl", "data_post_process"), default="data_crawl")
    flag("--raw_data_path", type=Path, metavar="PLACE",
         help="data_crawl: folder or .jsonl file that gets a copy of dialogs.jsonl; "
              "data_post_process: where the dialogs are read from")
    flag("--processed_data_path", type=Path, metavar="PLACE",
         help="data_post_process: folder or .jsonl file to write (default: "
              "run_dir/verified_dialogs.jsonl)")
    flag("--processed_data_extreme_split", action="store_true",
         help="data_post_process: also one file each for short, medium and long dialogs")
    flag("--tools_path", type=Path, metavar="PLACE",
         help="file or folder of tools (default: run_dir/tools.jsonl)")
    flag("--group_tool", action="store_true",
         help='--tools_path holds groups, {"apis": [...], "plans": [...]}; a dialog has the tools '
              'of one')
    flag("--used_models", nargs="+", metavar="MODEL",
         help="drawn per call (default: teacher.models)")
    flag("--use_func_call", action="store_true",
         help="ask by the API's native tool calls (default: dialogs.native_calls)")
    flag("--use_cot", action="store_true",
         help="switch the models' thinking on (default: as the server has it)")
    flag("--use_plan", action="store_true", help="with the planner (default: dialogs.plan)")
    flag("--need_chat", action="store_true",
         help="with needs that no tool serves (default: dialogs.chat)")
    flag("--is_en", action="store_true", help="dialogs in English (default: dialogs.language)")
    flag("--use_time_or_day", choices=("time", "day"),
         help="what a dialog's date tells (default: dialogs.clock)")
    flag("--crawl_num", type=int, metavar="N", help="dialogs to generate (default: dialogs.count)")
    flag("--thread_num", type=int, metavar="N", help="calls in flight (default: teacher.in_flight)")
    flag("--try_num", type=int, metavar="N", help="tries a call (default: teacher.tries)")
    flag("--tgt_turn_num_a", type=int, metavar="N",
         help="fewest messages of a dialog (default: dialogs.messages[0])")
    flag("--tgt_turn_num_b", type=int, metavar="N",
         help="most messages of a dialog (default: dialogs.messages[1])")
    flag("--tool_num_a", type=int, metavar="N",
         help="fewest tools of a dialog (default: dialogs.tools_per_dialog[0])")
    flag("--tool_num_b", type=int, metavar="N",
         help="most tools of a dialog (default: dialogs.tools_per_dialog[1])")
    flag("--fresh", action="store_true", help="forget the dialogs of an earlier run")
    return parser.parse_args()


def with_flags(config: Config, args: argparse.Namespace) -> Config:
    """The config with the flags put over it.

    Raises:
        InputError: a value is out of its range, or the least is above the most; --group_tool
            without --tools_path.
    """
    if args.group_tool and args.tools_path is None:
        raise InputError("--group_tool: name the file or folder of groups with --tools_path")
    dialogs = {
        # a flag without a value can say yes only: where it is not given the config counts
        "count": args.crawl_num, "plan": args.use_plan or None, "chat": args.need_chat or None,
        "language": "en" if args.is_en else None, "clock": args.use_time_or_day,
        "native_calls": args.use_func_call or None,
        "messages": _range(config.dialogs.messages, args.tgt_turn_num_a, args.tgt_turn_num_b,
                           "--tgt_turn_num"),
        "tools_per_dialog": _range(config.dialogs.tools_per_dialog, args.tool_num_a,
                                   args.tool_num_b, "--tool_num")}
    config.dialogs = _put_over(config.dialogs, dialogs, Dialogs)
    config.teacher = _put_over(config.teacher,
                               {"models": args.used_models, "in_flight": args.thread_num,
                                "tries": args.try_num}, Teacher)
    return config


def _range(configured: tuple[int, int], least: int | None, most: int | None,
           flag: str) -> tuple[int, int]:
    least, most = configured[0] if least is None else least, configured[1] if most is None else most
    if least > most:
        raise InputError(f"{flag}_a is {least} and {flag}_b is {most}; give the least first, and "
                         "both where the config has others")
    return least, most


def _put_over(section: Dialogs | Teacher, values: dict[str, object],
              kind: type) -> Dialogs | Teacher:
    given = {key: value for key, value in values.items() if value is not None}
    try:
        return msgspec.convert(msgspec.to_builtins(section) | given, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"{error}; see run.py --help") from None
