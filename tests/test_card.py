"""The protocol card: what is written is read, every field is printed, and what pins a model changes
with its files."""
from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bfcl.card import (
    Card, Errors, Sampling, Scored, card_text, differences, environment, folder, hash_files,
    model_revision, read_card, write_card)
from looptool.errors import InputError

CARD = Card(benchmark="BFCL v3", version="bfcl-eval 2025.6.14", commit="1bb65c95", content="c0ffee",
            handler="abad1dea", prompt="full deadbeef", model="Qwen/Qwen3-8B",
            revision="commit b968826d", server="vllm 0.24.0",
            sampling=Sampling(thinking=True, temperature=0.001, top_p=0.95, max_tokens=4321,
                              others={"top_k": -1}),
            context_length=40960,
            errors=Errors(counts={"context_full": 3}, where="in the denominator, as wrong"),
            scope="full", counts={"simple": 400, "java": 100}, environment={"python": "3.11.7"},
            date="2026-01-31", notes=["a word"])


def test_what_is_written_is_read(tmp_path: Path) -> None:
    scored = Scored(card=CARD, scores={"Overall": 74.93}, correct={"simple": 380, "java": 60})
    write_card(tmp_path / "new", scored)
    assert read_card(tmp_path / "new") == scored
    assert (tmp_path / "new" / "card.txt").read_text() == card_text(CARD)


def test_everything_on_the_card_is_printed() -> None:
    text = card_text(CARD)
    for value in ("BFCL v3", "2025.6.14", "1bb65c95", "c0ffee", "abad1dea", "full deadbeef",
                  "Qwen/Qwen3-8B", "b968826d", "vllm 0.24.0", "thinking on", "0.001", "0.95",
                  "top_k -1", "4,321", "40960", "3 context_full", "denominator",
                  "full: 500 entries", "java 100", "python 3.11.7", "2026-01-31", "a word"):
        assert value in text


def test_no_card_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the evaluation"):
        read_card(tmp_path)
    (tmp_path / "card.json").write_text("{}")
    with pytest.raises(InputError, match="no card"):
        read_card(tmp_path)


def test_cards_of_two_models_differ_in_what_matters() -> None:
    other = msgspec.structs.replace(CARD, model="other", revision="x", date="2026-02-01",
                                    prompt="short 1")
    assert differences(CARD, other) == ["prompt"] and not differences(CARD, CARD)


def test_of_the_environment_the_packages_count() -> None:
    def of(**environment: str) -> Card:
        return msgspec.structs.replace(CARD, environment=environment)

    assert not differences(of(python="3.11.7", numpy="2.1"),
                           of(python="3.12.1", numpy="2.1", platform="Linux"))
    assert differences(of(numpy="2.1"), of(numpy="2.2")) == ["environment"]


def test_folders(tmp_path: Path) -> None:
    assert folder("run", "bfcl_v3", round=2) == Path("run/round_2/bfcl_v3")
    assert folder("run", "bfcl_v3", model="Qwen/Qwen3-8B",
                  subset=True) == Path("run/bfcl_v3_subset/Qwen--Qwen3-8B")


def test_a_checkpoint_is_pinned_by_its_files(tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "config.json").write_text("{}")
    before = model_revision(str(tmp_path))
    (tmp_path / "notes.md").write_text("no part of it")
    assert model_revision(str(tmp_path)) == before == f"files {hash_files(tmp_path.glob('*[ns]'))}"
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    assert model_revision(str(tmp_path)) != before
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert "not known" in model_revision("someone/else")
    (tmp_path / "models--someone--else" / "refs").mkdir(parents=True)
    (tmp_path / "models--someone--else" / "refs" / "main").write_text("abc123")
    assert model_revision("someone/else") == "commit abc123"


def test_environment_leaves_out_what_is_not_there() -> None:
    found = environment("msgspec", "no-such-package")
    assert found["msgspec"] and "no-such-package" not in found and found["python"]
