"""The card beside a D_j, as the hub's own library and `datasets` read it."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from huggingface_hub import DatasetCard
from report_world import D1, small_run

from dataloop.reporting.card import card_path, render_card, size_category
from looptool.config import Config
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Call, Message, Sample
from looptool.run_files import RoundFiles


def card_of(config: Config, tmp_path: Path, number: int = 2) -> DatasetCard:
    dataset = RoundFiles(config.run_dir, number).dataset
    text = render_card(config, dataset, number, {"../seed.jsonl": "ab12"},
                       read_jsonl(dataset, Sample))
    card_path(dataset).write_text(text, encoding="utf-8")
    return DatasetCard.load(card_path(dataset))


def test_the_hub_reads_the_card_and_people_the_lineage(tmp_path):
    config = small_run(tmp_path)
    card = card_of(config, tmp_path)
    data = card.data.to_dict()
    assert (data["license"], data["language"], data["size_categories"]) == (
        "unknown", ["en"], ["n<1K"])
    assert data["configs"][0]["data_files"] == [{"split": "train", "path": "dataset.jsonl"}]
    assert {"simulated", "tool-calling"} <= set(data["tags"]) and "**SIMULATED.**" in card.text
    for line in ("| high perplexity (HPPL) | seed data | 1 | 0 |",
                 "| made from error seeds (EE) | 1 | 1 | 1 |",
                 "1 samples were made from 1 others, by a new label or by expansion: `parent` is "
                 "the id of that sample, `source` the dialog or the scenario.",
                 "- `../seed.jsonl` ab12", "- Command: `bash scripts/08_next_round.sh --round 1`"):
        assert line in card.text.splitlines(), line
    assert "Licence: unknown" in card.text and str(tmp_path) not in card.content


@pytest.mark.parametrize("count, category", [
    (999, "n<1K"), (1_000, "1K<n<10K"), (999_999, "100K<n<1M"), (1_000_000, "1M<n<10M")])
def test_sizes_are_categories_of_the_hub(count, category):
    assert size_category(count) == category


@pytest.mark.parametrize("model, simulated", [("Qwen3-32B", False), ("simulated-teacher", True)])
def test_licence_language_and_models_are_the_configs(tmp_path, model, simulated):
    config = small_run(tmp_path)
    config.teacher.models, config.teacher.base_urls = [model], ["http://127.0.0.1:8000/v1"]
    config.dataset_license, config.dialogs.language = "cc-by-4.0", "zh"
    card = card_of(config, tmp_path)
    assert (card.data.license, card.data.language) == ("cc-by-4.0", ["zh"])
    assert "Licence: cc-by-4.0." in card.text and f"`{model}`" in card.text
    assert ("SIMULATED" in card.text) == ("simulated" in card.data.tags) == simulated


@pytest.mark.slow
def test_datasets_loads_the_folder_whatever_types_its_arguments_have(tmp_path):
    """The card as README.md, as on the hub; in a process of its own, as the import is slow."""
    config = small_run(tmp_path)
    dataset = RoundFiles(config.run_dir, 1).dataset
    other = Message(role="assistant", calls=[Call(name="get_weather", arguments={"city": [1, {}]})])
    dated = msgspec.structs.replace(D1[1], date="2024-05-01")
    write_jsonl(dataset, [dated, *D1, msgspec.structs.replace(D1[0], label=other)])
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "README.md").write_text(card_of(config, tmp_path, 1).content, encoding="utf-8")
    (folder / dataset.name).write_bytes(dataset.read_bytes())
    code = ("import sys, datasets; rows = datasets.load_dataset(sys.argv[1], split='train'); "
            "print(len(rows), rows[0]['date'], rows[-1]['label']['calls'][0]['arguments'])")
    done = subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True,
                          env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)})
    assert done.stdout.splitlines()[-1:] == ["7 2024-05-01 {'city': [1, {}]}"], done.stderr
