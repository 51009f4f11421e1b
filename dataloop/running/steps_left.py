"""What run_loop.sh has still to run after D_1: one SCRIPT:ROUND a line, such as run_round.sh:2.

In: the config, and of its run_dir the outputs of each round and the .meta.json beside them. Out:
the scripts on standard output; in the log a line for each round that is complete.

A config may be edited between rounds. A round that is complete stays as it was made, and is not run
again, where the files of the run that it was made from are still the same; what the config says
otherwise by now is named, and holds for the rounds after it. The same goes for held-out tasks that
were answered already. With --same-config nothing is taken for complete here: each step of each
round looks itself, and refuses what was made with another config.
"""
from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from dataloop.mixing.manifest import read_manifest
from dataloop.verifying.judge import voting
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.judging.checker import checker_of
from looptool.run_files import RoundFiles
from looptool.stages.meta import differences, flatten, make_header, read_meta

_log = logging.getLogger(__name__)
COLD_START = "cold_start.sh:0"
DERIVED = ("model", "start", "round", "world")
"""Recorded settings that no key of the config says alone."""


class Made(NamedTuple):
    """What an output says of its making."""

    output: Path
    settings: Mapping[str, Any]
    sources: Mapping[str, str]
    """Sha256 by path relative to the output's folder."""
    sections: tuple[str, ...] = ()
    """Of the config, where its settings come from."""


def made(output: Path, *sections: str) -> Made | None:
    """An output of a stage; None where it is not complete."""
    meta = read_meta(output) if output.exists() else None
    return None if meta is None else Made(output, meta.settings, meta.sources, sections)


def made_dataset(dataset: Path) -> Made | None:
    """D_j, whose manifest is a file of its own kind."""
    manifest = read_manifest(dataset) if dataset.exists() else None
    return manifest and Made(dataset, {"mix": manifest.mix, "seed": manifest.seed},
                             manifest.sources, ("mix",))


def round_outputs(files: RoundFiles) -> list[Made | None]:
    """Of the steps of run_round.sh."""
    return [made(files.train_parquet, "train", "student"), made(files.policy),
            made(files.probes, "probe", "student"), made(files.verdicts, "verify", "teacher"),
            made(files.expanded, "student", "teacher", "expand"),
            made_dataset(files.next().dataset)]


def heldout_answers(files: RoundFiles) -> Made | None:
    """Those of a policy; None where one failed: as nothing is made of them, it can be tried
    again."""
    meta = read_meta(files.heldout_probes)
    return None if meta is None or meta.failed else made(files.heldout_probes, "probe", "student")


def is_current(step: Made, run_dir: Path) -> bool:
    """Whether the files of the run that an output was made from are the same now."""
    folder = step.output.parent
    # abspath, as recorded paths are relative without a look at links
    own = {path: digest for path, digest in step.sources.items()
           if Path(os.path.abspath(folder / path)).is_relative_to(os.path.abspath(run_dir))}
    if not all((folder / path).exists() for path in own):
        return False
    return make_header("", None, [folder / path for path in own], step.output).sources == own


def edited(step: Made, config: Config) -> list[str]:
    """The keys that the config has otherwise than when the output was made, with both values."""
    known = flatten(msgspec.to_builtins(config)) | flatten(
        {"models": config.teacher.models[:1], "judges": voting(config),
         "checker": checker_of(config) if config.expand.check else None,
         "judging": config.ablation != "no_jglv"})
    old, new = {}, {}
    for section in step.sections:
        options = getattr(config, section)
        for key in options.beyond_paper:  # not recorded where it was off
            value = getattr(options, key)
            old |= flatten(type(value)(), f"{section}.{key}")
            new |= flatten(value, f"{section}.{key}")
    for key, value in flatten(step.settings).items():
        place = next((name for name in (key, *(f"{section}.{key}" for section in step.sections))
                      if name in known), None)
        if key not in DERIVED and place is not None:
            old[place], new[place] = value, known[place]
    return differences(old, new)


def is_done(steps: list[Made | None], what: str, config: Config) -> bool:
    """Whether a step or a round needs no run; says so, and what the config has otherwise by now."""
    if not all(step is not None and is_current(step, Path(config.run_dir)) for step in steps):
        return False
    changes = sorted({change for step in steps for change in edited(step, config)})
    made_with = f", made with other settings ({'; '.join(changes)})" if changes else ""
    _log.info("%s is complete%s; left as it is", what, made_with)
    return True


def steps_left(config: Config, same_config: bool = False) -> Iterator[str]:
    """SCRIPT:ROUND in their order; with `same_config` all of them."""
    def is_left(steps: list[Made | None], what: str, config: Config) -> bool:
        return same_config or not is_done(steps, what, config)

    is_round_left = False
    greedy = replace(config, probe=replace(config.probe, samples=0))  # as held-out tasks are probed
    start = RoundFiles(config.run_dir, 0)
    made_of = [made(start.train_parquet, "train", "student"), made(start.policy, "train")]
    if config.train.cold_start.steps and is_left(made_of, "the cold start", config):
        yield COLD_START
    for number in range(config.rounds + 1):
        files = RoundFiles(config.run_dir, number)
        # a round after one that has to run is made anew from it
        is_round_left = number > 0 and (
            is_round_left or is_left(round_outputs(files), f"round {number}", config))
        if is_round_left:
            yield f"run_round.sh:{number}"
        if is_round_left or is_left([heldout_answers(files)], f"held-out of round {number}",
                                    greedy):
            yield f"evaluate_heldout.sh:{number}"


def main() -> None:
    parser = argument_parser(__doc__)
    parser.add_argument("--same-config", action="store_true",
                        help="name every step, so that each one compares its settings")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    sys.stdout.writelines(f"{step}\n" for step in steps_left(config, args.same_config))


if __name__ == "__main__":
    run_main(main)
