"""The variants of Table 4, and the options beyond the paper, over several seeds and worlds.

In: a config; --worlds, --variants, --seeds, --rounds. Out: a run in
<run_dir>/ablations/<world>/<variant>_seed<S> for each, what came of it in
<results>/<world>/<variant>_seed<S>.json as soon as it has ended, and on standard output, from all
results that are there, Table 4 and the figures beside the paper's, with 95% intervals over seeds.
The same as pictures: <results>/*.svg.

Killed and run again, it goes on. What has a result is not run again, so that seeds can be run on
several days and machines and their results put into one folder. --table makes all tables and
pictures again from the results that are there. Figure 3 is the gain by size of the student: --also
names the results of other ones.

Up to the probing of round 1 the variants of a seed do the same, so that is run once and copied.
With the simulated teacher all figures are SIMULATED: accuracy on the held-out tasks, where the
paper's are BFCL-v3 overall. Worlds (dataloop/ablations/variants.py) are ways in which its teacher
and judge err.
"""
from __future__ import annotations

import argparse
import logging
import shutil
import subprocess
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import msgspec

from dataloop.ablations.results import Runs, by_world, read_results, result_of
from dataloop.ablations.table_4 import figure_3, lines_of_world
from dataloop.ablations.variants import TABLE_4, VARIANTS, WORLDS, Variant, world_of
from dataloop.ablations.worlds import corner_lines, pictures
from looptool.charts.paper_figures import FULL
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import ROOT, load_config, student_path
from looptool.errors import InputError
from looptool.ids import content_id
from looptool.json_lines import write_atomic, write_json
from looptool.models.checkpoint import count_parameters
from looptool.run_files import RoundFiles

_log = logging.getLogger(__name__)
TRAINED = ("policy", "policy.meta.json", "training", "train.parquet", "train.parquet.meta.json",
           "test.parquet", "test.parquet.meta.json", "dataset.jsonl", "dataset.meta.json",
           "dataset_card.md", "heldout_probes.jsonl", "heldout_probes.jsonl.meta.json")
"""What round 1 has in common in all variants of a seed."""
PROBED = ("probes.jsonl", "probes.jsonl.meta.json")
"""And this where they draw alike; the held-out tasks are measured greedily in all."""
TELLS_APART = {"": ("run_dir", "seed", "rounds", "ablation", "dataset_license"),
               "simulation": ("noise", "judge_shares_blind_spots")}
"""Settings in which the runs of a table may differ, by section; a variant's own come after."""
MACHINE = {
    "teacher": ("base_urls", "in_flight", "timeout_seconds", "tries",
                "dollars_per_million_prompt_tokens", "dollars_per_million_completion_tokens"),
    "train": ("profile", "save_every", "test_every", "gpus_per_node", "nodes", "tensor_parallel",
              "gpu_memory_utilization", "attention"),
    "probe": ("base_urls", "model", "in_flight", "batch_tokens", "replicas", "tensor_parallel",
              "gpu_memory_utilization")}
"""Those that say where and how fast a run is computed, not what it comes to, by section."""


def overrides(args: argparse.Namespace, world: str, variant: str, seed: int) -> list[str]:
    """By which one run is another than that of the config."""
    return [*args.overrides, *WORLDS.get(world, ()), *own_settings(variant), f"seed={seed}",
            f"rounds={args.rounds}"]


def run_variant(args: argparse.Namespace, folder: Path, world: str, variant: str,
                seed: int) -> None:
    """One run to its end."""
    full = folder.with_name(f"{FULL}_seed{seed}")
    if variant != FULL and not folder.exists() and RoundFiles(full, 1).probes.exists():
        copy_beginning(full, folder, VARIANTS[variant])
    settings = [*overrides(args, world, variant, seed), f"run_dir={folder}"]
    command = ["bash", str(ROOT / "scripts" / "run_loop.sh"), "--same-config", "--config",
               args.config, *(word for setting in settings for word in ("--set", setting))]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.log").open("ab") as output:
        if subprocess.run(command, stdout=output, stderr=subprocess.STDOUT).returncode:
            raise InputError(f"{folder}: the loop has ended with an error; see {output.name}, and "
                             "run this again")


def own_settings(variant: str) -> list[str]:
    """The overrides by which a variant is another run than the full loop."""
    return [f"ablation={VARIANTS[variant].ablation}", *VARIANTS[variant].settings]


def copy_beginning(full: Path, folder: Path, variant: Variant) -> None:
    """Everything up to the probing of round 1, put in place when it is whole."""
    aside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(aside, ignore_errors=True)
    shutil.copytree(full, aside, ignore=lambda place, names: [
        name for name in names if Path(place) == full
        and name.startswith(("round_", "report")) and name != "round_0"])
    first = RoundFiles(aside, 1).folder
    first.mkdir()
    for name in (*TRAINED, *(PROBED if variant.probes_alike else ())):
        source = RoundFiles(full, 1).folder / name
        if source.is_dir():
            shutil.copytree(source, first / name)
        elif source.exists():
            shutil.copy2(source, first / name)
    aside.rename(folder)


def without(settings: dict[str, Any], *left_out: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """The config as a dictionary, less these keys by section, "" being the config itself."""
    gone = [(section, key) for keys_of in left_out for section, keys in keys_of.items()
            for key in keys]
    return {name: {key: value for key, value in entry.items() if (name, key) not in gone}
            if isinstance(entry, dict) else entry
            for name, entry in settings.items() if ("", name) not in gone}


def settings_of(config: Config) -> str:
    """The same for all runs that may stand in one table."""
    kept = without(msgspec.to_builtins(config), TELLS_APART, MACHINE)
    return content_id([kept, config.teacher.is_simulated])


def student_size(config: Config) -> str:
    """The student's number of parameters, counted in its files; its name where there are none."""
    folder = Path(student_path(config))
    if not any(folder.glob("*.safetensors")):
        return config.student.model
    count = count_parameters(folder)
    return f"{count / 1e6:.1f}M" if count < 1e9 else f"{count / 1e9:.1f}B"


def run_all(args: argparse.Namespace, config: Config, results: Path) -> None:
    """Run what has no result yet, seed by seed, the full loop first, as the others are copied from
    it."""
    settings, student = settings_of(config), student_size(config)
    there = next(read_results(results), None)
    if there and there.settings != settings:
        raise InputError(f"{results}: holds results of another config; name another folder by "
                         "--results, or set the config back")
    order = [FULL, *(variant for variant in args.variants if variant != FULL)]
    for seed, world, variant in product(args.seeds, args.worlds or [world_of(config)], order):
        known = by_world(read_results(results)).get(world, {}).get(variant, {}).get(seed)
        if known is None or len(known.accuracies) <= args.rounds:
            folder = Path(config.run_dir) / "ablations" / world / f"{variant}_seed{seed}"
            run_variant(args, folder, world, variant, seed)
            own = load_config(args.config, overrides(args, world, variant, seed))
            kept = without(msgspec.to_builtins(own), {"": ("run_dir",)}, MACHINE)
            known = result_of(folder, variant=variant, seed=seed, settings=settings,
                              student=student, world=world, config=kept)
            write_json(results / world / f"{variant}_seed{seed}.json", known)
        shown = " -> ".join(f"{share:.1f}%" for share in known.accuracies)
        _log.info("ablations: %s, seed %d, %s: %s", world, seed, variant, shown)


def show(worlds: dict[str, Runs], others: list[dict[str, Runs]], rounds: int,
         of: str) -> Iterator[str]:
    """All that is printed."""
    yield (f"accuracy in % on the {of}, mean ± half of the 95% interval over seeds; paper: BFCL-v3 "
           "overall")
    for world, runs in worlds.items():
        yield from lines_of_world(world, runs, rounds)
    yield from corner_lines(worlds, rounds)
    yield from ("", "Figure 3: gain of round 2 over round 1, by size of the student",
                *figure_3((world, runs) for found in (worlds, *others)
                          for world, runs in found.items() if FULL in runs))


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__)
    parser.add_argument("--worlds", nargs="+", choices=WORLDS, help="default: the config's own")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(TABLE_4),
                        help="default: those of Table 4")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4],
                        help="default: 0 to 4")
    parser.add_argument("--rounds", type=int, default=3, help="default: 3")
    parser.add_argument("--results", type=Path, metavar="FOLDER",
                        help="where results are (default: <run_dir>/ablations/results)")
    parser.add_argument("--table", action="store_true", help="run nothing, print what is there")
    parser.add_argument("--also", nargs="+", type=Path, default=[], metavar="FOLDER",
                        help="results of other students, for Figure 3")
    args = parser.parse_args()
    if args.rounds < 1:
        raise InputError(f"--rounds {args.rounds}: at least one round is needed")
    return args


def main() -> None:
    args = parse_arguments()
    config = load_config(args.config, args.overrides)
    results = args.results or Path(config.run_dir) / "ablations" / "results"
    if not args.table:
        run_all(args, config, results)
    worlds = by_world(read_results(results))
    if not worlds:
        raise InputError(f"{results}: holds no result yet; run this without --table first")
    of = "SIMULATED held-out tasks" if config.teacher.is_simulated else "held-out tasks"
    others = [by_world(read_results(folder)) for folder in args.also]
    if {} in others:
        raise InputError(f"{args.also[others.index({})]}: holds no results of ablations; name a "
                         "folder of such results")
    for name, picture in pictures(worlds, args.rounds, of).items():
        write_atomic(results / name, [picture.encode()])
    print("\n".join(show(worlds, others, args.rounds, of)))


if __name__ == "__main__":
    run_main(main)
