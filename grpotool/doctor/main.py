"""Preflight of a round's training: everything that would fail later, said now, the cheap checks
first.

In: a config and a round; files that are not there yet are not needed. Out: one line a check, "ok
...", "FAIL ... -> what to do", "warn ... -> what to do" or "skip ...: why", and exit code 1 if one
failed. Nothing is written. scripts/04_train.sh runs it with --training: the servers of teacher and
policy may be down, only what is wrong is shown, and after round 1 nothing is said twice.
"""
from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Iterable, Iterator

from grpotool.doctor import data
from grpotool.doctor.check_result import Check, Finding, fail, skip
from grpotool.doctor.gpu import check_attention, check_gpu_memory, check_sampler
from grpotool.doctor.machine import (
    check_disk, check_endpoints, check_gpus, check_packages, check_paths, check_probing, check_verl)
from grpotool.doctor.replies import check_cut, check_structured
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.run_files import RoundFiles, round_files

_log = logging.getLogger(__name__)
CHECKS: list[Check] = [check_paths, check_disk, check_packages, check_gpus, check_gpu_memory,
                       check_attention, check_sampler, check_endpoints, check_structured,
                       check_cut, check_probing, *data.CHECKS, check_verl]
SERVERS: list[Check] = [check_endpoints, check_structured, check_probing]
"""Checks of what no training needs."""
ONCE: list[Check] = [check_packages, data.check_updates]
"""Checks that find the same in every round of a loop."""


def findings(checks: Iterable[Check], config: Config, files: RoundFiles) -> Iterator[Finding]:
    """What all checks find; an InputError of one is its failure, and the next one goes on. Rows
    that are not made yet are not checked."""
    rows = (files.train_parquet, files.test_parquet)
    lacking = [path for path in rows if not path.exists()]
    for check in checks:
        if lacking and check in data.CHECKS:
            if check is data.CHECKS[0]:
                yield skip("rows", f"{lacking[0]} is not made yet, see json2parquet.py")
            continue
        try:
            yield from check(config, files)
        except InputError as error:
            # an InputError ends with what to do, behind a semicolon
            what, _, to_do = " ".join(str(error).split()).rpartition("; ")
            yield fail(what or to_do, to_do)


def level_of(finding: Finding, training: bool) -> int:
    """Before a training only what is wrong is shown."""
    if finding.state in ("FAIL", "warn"):
        return logging.ERROR if finding.state == "FAIL" else logging.WARNING
    return logging.DEBUG if training else logging.INFO


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--training", action="store_true",
                        help="only what a training needs, if there is one to run")
    parser.add_argument("--fresh", action="store_true",
                        help="there is one to run even where the round is trained already")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    files, counts = round_files(args, config), Counter()
    if args.training and files.policy.exists() and not args.fresh:
        _log.debug("doctor: round %d is trained already", files.round)
        return
    left_out = [*SERVERS, *(ONCE if files.round > 1 else [])] if args.training else []
    for finding in findings([check for check in CHECKS if check not in left_out], config, files):
        counts[finding.state] += 1
        _log.log(level_of(finding, args.training), "%s", finding)
    warned = f", {counts['warn']} warned of" if counts["warn"] else ""
    quiet = args.training and files.round > 1 and not (counts["FAIL"] or counts["warn"])
    _log.log(logging.DEBUG if quiet else logging.INFO, "doctor: %d ok, %d failed%s, %d skipped",
             counts["ok"], counts["FAIL"], warned, counts["skip"])
    sys.exit(1 if counts["FAIL"] else 0)


if __name__ == "__main__":
    run_main(main)
