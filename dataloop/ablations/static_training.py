"""Static training beside a run of the loop: D_1 again in every round (Figure 2), from the same
beginning.

In: a run whose round 1 is probed. Out: <run_dir>_static, a run of its own; up to the probing of
round 1 it is copied.

    python dataloop/ablations/static_training.py [--config FILE] [--set SECTION.KEY=VALUE]
    python dataloop/report.py --static [--config FILE] [--set SECTION.KEY=VALUE]
"""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from dataloop.ablations.run import copy_beginning, own_settings
from dataloop.ablations.variants import VARIANTS
from looptool.command import argument_parser, run_main
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.run_files import RoundFiles


def main() -> None:
    args = argument_parser(__doc__).parse_args()
    run = Path(load_config(args.config, args.overrides).run_dir)
    folder = run.with_name(f"{run.name}_static")
    if not folder.exists():
        if not RoundFiles(run, 1).probes.exists():
            raise InputError(f"{run}: round 1 is not probed yet; run the loop first")
        copy_beginning(run, folder, VARIANTS["static"])
    settings = [*args.overrides, *own_settings("static"), f"run_dir={folder}"]
    command = ["bash", str(ROOT / "scripts" / "run_loop.sh"), "--config", args.config,
               *(word for setting in settings for word in ("--set", setting))]
    if subprocess.run(command).returncode:
        sys.exit(f"{folder}: static training has ended with an error; run this again to go on")


if __name__ == "__main__":
    run_main(main)
