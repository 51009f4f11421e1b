"""Nothing in the path assumes Qwen's tokens: tokenizers of other families through samples, rows,
reward and probing."""
from __future__ import annotations

import pyarrow.parquet as pq
import pytest
from golden_files import FOLDER
from tiny_policy import FAMILIES, make_policy

from grpotool.dataset.utils.conversation_transform_grpo_qwen import transform
from grpotool.dataset.utils.json2parquet import convert
from grpotool.doctor import data as doctor_data
from looptool.config_file import ROOT, load_config
from looptool.json_lines import read_jsonl
from looptool.prompts.length import StudentFits, student_tokenizer, token_length
from looptool.records import Sample
from looptool.run_files import RoundFiles

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("family", ["llama", "chatml"])
def test_a_family_goes_through_samples_rows_and_probing(tmp_path, family):
    folder = make_policy(tmp_path / "policy", family=family)
    config = load_config(ROOT / "configs" / "laptop.yaml", [
        f"run_dir={tmp_path}", f"student.model={folder}", "student.max_prompt_tokens=3000",
        "student.max_response_tokens=8", "dialogs.text_share=0.5"])
    files, fits = RoundFiles(tmp_path, 1), StudentFits(config)
    files.folder.mkdir()
    transform(config, FOLDER / "conversations.jsonl", False, files.dataset, fits)
    convert(files.dataset, files.train_parquet, files.test_parquet, config, fits)
    rows = [row for path in (files.train_parquet, files.test_parquet)
            for row in pq.read_table(path).to_pylist()]
    samples = {sample.id: sample for sample in read_jsonl(files.dataset, Sample)}
    assert len(rows) == len(samples) >= 4

    for check in (doctor_data.check_labels, doctor_data.check_template, doctor_data.check_lengths):
        lines = list(check(config, files))
        assert lines and all(line.state == "ok" for line in lines), lines

    from dataloop.probing.transformers_policy import TransformersPolicy

    policy, tokenizer = TransformersPolicy(str(folder), config.student), student_tokenizer(config)
    length, opening = (token_length(tokenizer),
                       FAMILIES[family].template.split("add_generation_prompt %}")[1].split("{%")[
                           0])
    for row in rows:
        ids = policy.encode(samples[row["extra_info"]["id"]])
        shown = tokenizer.decode(ids, skip_special_tokens=False)
        assert (len(ids) == length(row["prompt"]) <= 3000
                and shown.endswith(opening.replace("\\n", "\n")))
        assert all(turn["content"].strip() in shown for turn in row["prompt"])
        assert shown.count(tokenizer.bos_token) == (1 if family == "llama"
                                                    else len(row["prompt"]) + 1)
    answers = policy.generate([policy.encode(sample) for sample in list(samples.values())[:3]])
    assert (policy.ends == [tokenizer.eos_token_id]
            and all(answer.perplexity > 1 for answer in answers))
