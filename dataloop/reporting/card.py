"""The card beside a D_j, dataset_card.md: what `datasets` and the Hugging Face hub read of it.

In: the config, the manifest of dataset.meta.json, the samples. Out: Markdown under YAML. Beside
dataset.jsonl under the name README.md it makes the folder one that `datasets` loads by its name.
"""
from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import yaml

from looptool.config import Config
from looptool.fingerprints import IdSet
from looptool.ids import content_id
from looptool.records import Origin, Sample

PARTS: dict[Origin, str] = {
    "error_seed": "error seeds (ES)", "expanded": "made from error seeds (EE)",
    "high_ppl": "high perplexity (HPPL)", "seed": "seed data (Seed-new)"}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"),
         (10_000_000, "1M<n<10M"))
"""The hub's size categories by their upper ends."""
FEATURES = [{"name": name, "dtype": "string"} for name in ("id", "date")] + [
    {"name": name, "list": "json"} for name in ("tools", "messages")] + [
    {"name": "label", "dtype": "json"}, {"name": "origin", "dtype": "string"},
    {"name": "round", "dtype": "int64"}, {"name": "parent", "dtype": "string"},
    {"name": "source", "dtype": "string"}]
"""Said, not guessed: arguments have other types in other rows, and a date is no timestamp."""


def card_path(dataset: Path) -> Path:
    return dataset.with_name(f"{dataset.stem}_card.md")


def render_card(config: Config, dataset: Path, number: int, sources: Mapping[str, str],
                samples: Iterable[Sample]) -> str:
    """The card of D_number; `sources` are hashes by path, of all files that it was made from."""
    made: Counter[tuple[str, int]] = Counter()
    derived: Counter[tuple[str, int]] = Counter()
    parents = IdSet()
    for sample in samples:
        group = sample.origin, sample.round
        made[group] += 1
        if sample.parent is not None:
            derived[group] += 1
            parents.add(sample.parent)
    front = yaml.safe_dump(_front(config, dataset, number, made.total()), sort_keys=False)
    rows = [f"| {PARTS[origin]} | {round or 'seed data'} | {count:,} | {derived[origin, round]:,} |"
            for (origin, round), count in sorted(made.items())]
    return "\n".join([
        "---", front + "---", f"# D{number} of a LoopTool run", "", *_warning(config),
        _license(config), "", "## Lineage", "",
        "| part of equation 5 | made in round | samples | with a parent |", "|---|---|---|---|",
        *rows, "",
        f"{derived.total():,} samples were made from {len(parents):,} others, by a new label or by "
        "expansion: `parent` is the id of that sample, `source` the dialog or the scenario.", "",
        "Made from (sha256):", "", *(f"- `{path}` {digest}" for path, digest in sources.items()),
        "", "## How it was made", "", *_making(config, number), ""])


def size_category(samples: int) -> str:
    return next((name for end, name in SIZES if samples < end), "10M<n<100M")


def _front(config: Config, dataset: Path, number: int, size: int) -> dict[str, Any]:
    simulated = ["simulated"] if config.teacher.is_simulated else []
    return {
        "license": config.dataset_license, "language": [config.dialogs.language],
        "pretty_name": f"LoopTool D{number}", "task_categories": ["text-generation"],
        "size_categories": [size_category(size)],
        "tags": ["tool-calling", "function-calling", "synthetic", "looptool", *simulated],
        "configs": [{"config_name": "default",
                     "data_files": [{"split": "train", "path": dataset.name}]}],
        "dataset_info": {"config_name": "default", "features": FEATURES}}


def _warning(config: Config) -> list[str]:
    return ["**SIMULATED.** Rules play the teacher, and plant errors at known rates: data to try "
            "the loop with, not to train a real model on.",
            ""] if config.teacher.is_simulated else []


def _license(config: Config) -> str:
    if config.dataset_license != "unknown":
        return f"Licence: {config.dataset_license}."
    return ("Licence: unknown, as the run's config does not say (`dataset_license`). The terms of "
            "the teacher's models and of the tools that dialogs were made from decide.")


def _making(config: Config, number: int) -> Iterable[str]:
    # the same config in another folder has the same hash
    settings = msgspec.to_builtins(config) | {"run_dir": ""}
    teacher = config.teacher
    step = f"`bash scripts/08_next_round.sh --round {number - 1}`"
    yield f"- Command: {step if number > 1 else '`bash scripts/03_make_samples.sh`'}"
    yield f"- LoopTool {version('looptool')}, config {content_id(settings)}, " \
          f"seed {config.seed}"
    student = config.student.model
    # a path of this machine is not for the hub
    name = Path(student).name if Path(student).is_absolute() else student
    yield f"- Student: `{name}`; it was probed after each round of training"
    yield f"- Teacher: {', '.join(f'`{name}`' for name in teacher.models)}; judges: " \
          f"{', '.join(f'`{name}`' for name in teacher.judges or teacher.models[:1])}"
    yield "- A record: docs/formats.md of LoopTool, \"Sample\""
