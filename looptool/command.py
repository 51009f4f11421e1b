"""What every command has: its flags, its log, and what it ends with."""
from __future__ import annotations

import argparse
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from looptool.config_file import ROOT
from looptool.errors import InputError, StageFailed
from looptool.terminal import log_to_terminal

_log = logging.getLogger(__name__)
_SIGNAL_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of Linux's prctl."""


class ArgumentParser(argparse.ArgumentParser):
    """argparse, but what it refuses is an InputError like any other."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{self.prog}: {message}; see {self.prog} --help")


def argument_parser(description: str | None, with_round: bool = False) -> argparse.ArgumentParser:
    """The flags every script has: --config, --set, and for the stages of a round --round."""
    parser = ArgumentParser(description=description,
                            formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config",
                        default=os.environ.get("LOOPTOOL_CONFIG",
                                               str(ROOT / "configs" / "laptop.yaml")),
                        help="YAML config (default: $LOOPTOOL_CONFIG, else configs/laptop.yaml)")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE",
                        dest="overrides",
                        help="override one value of the config; can be given again")
    if with_round:
        parser.add_argument("--round", default=os.environ.get("ROUND"), metavar="J",
                            help="round (default: $ROUND, else the newest unfinished one)")
    return parser


def end_on_sigterm() -> None:
    """SIGTERM ends this process as Ctrl-C does, so that what it has started is ended on the way
    out; exit code 143."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def end_with_parent(sign: signal.Signals = signal.SIGTERM) -> None:
    """In a child: get this signal when the parent is killed, so that nothing goes on unseen."""
    # None is this process, which has the C library in it
    ctypes.CDLL(None).prctl(_SIGNAL_WITH_PARENT, sign)


def run_main(main: Callable[[], None]) -> None:
    """What every script calls: log to stderr. A wrong input is one line and exit code 2, a stage
    that no server answers any more one line and 1, Ctrl-C is 130, `| head` 141."""
    log_to_terminal()
    try:
        main()
        # here and not at exit, where nobody would catch that the reader has gone
        sys.stdout.flush()
    except BrokenPipeError:
        # so that nothing is flushed into it at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except (InputError, StageFailed) as error:
        _log.error("%s", " ".join(str(error).split()))
        sys.exit(2 if isinstance(error, InputError) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
