"""The tutorial's block of the paper's commands, word for word but for sizes, places, and a training
that is shown only."""
from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from looptool.config_file import ROOT
from looptool.json_lines import read_jsonl
from looptool.records import Sample
from looptool.run_files import RoundFiles

CHECKPOINT = ROOT / "grpotool" / "tiny_student" / "checkpoint"
OTHERWISE = {
    "$PWD/configs/qwen3_8b.yaml": "{tmp}/config.yaml",
    "./dialogs/toolbench": "{tmp}/dialogs",
    "--crawl_num 1000": "--crawl_num 80",
    "bash train_grpo_qwen.sh": "bash train_grpo_qwen.sh --dry-run && cp -r {checkpoint} "
                               "{tmp}/run/round_1/policy"}
"""What a test has in the place of some words."""


def block(**places: Path) -> str:
    """The commands."""
    page = (ROOT / "docs" / "tutorial_reproduce_the_paper.md").read_text(encoding="utf-8")
    text = re.search(
        r"\n\n((?:    .*\n)*    cd dialog_generation && python run\.py(?:.*\n    )*.*\n)", page)[1]
    for words, others in OTHERWISE.items():
        assert text.count(words) == 1, words
        text = text.replace(words, others.format(**places))
    return text


@pytest.mark.slow
@pytest.mark.skipif(not CHECKPOINT.exists(), reason="the tiny student is still to be built")
@pytest.mark.parametrize("verify", ["none", "both"])
def test_the_papers_commands_run_one_after_another(tmp_path: Path, verify: str) -> None:
    config = yaml.safe_load((ROOT / "configs" / "laptop.yaml").read_text(encoding="utf-8"))
    config |= {"run_dir": str(tmp_path / "run"), "mix": {"size": 36, "seed_new": 8, "high_ppl": 6}}
    config["dialogs"]["verify"] = verify
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    env = {name: value for name, value in os.environ.items()
           if name not in ("LOOPTOOL_CONFIG", "ROUND")}
    commands = block(tmp=tmp_path, checkpoint=CHECKPOINT)
    if verify == "none":  # behind D_1 all is alike
        commands = commands[:commands.index("    cd .. && bash train_grpo_qwen.sh")]
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", commands], cwd=ROOT, text=True,
                          env=env | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                                     "CI": "1"},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0, done.stdout
    files = RoundFiles(tmp_path / "run", 1)
    assert files.train_parquet.exists() and list(read_jsonl(files.dataset, Sample))
    assert (tmp_path / "run" / "verified_dialogs.jsonl").exists() == (verify == "both")
    if verify == "both":
        expanded = list(read_jsonl(files.expanded, Sample))
        *_, kept, mixed = done.stdout.splitlines()
        assert expanded and kept == f"filter: {len(expanded)} in -> {len(expanded)} kept"
        assert mixed.startswith("next_round: D_2: 36 = ")
