"""What a folder of results was begun with: other settings are refused, a revision counts once it is known."""
from __future__ import annotations

from pathlib import Path

import pytest

from bfcl.begun import go_on, once_served
from bfcl.card import UNKNOWN
from looptool.records import InputError

SETTINGS = {"model": "some/one", "revision": UNKNOWN, "prompt": "full"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the commit of some/one stands once it is downloaded."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    reference = tmp_path / "models--some--one" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    return reference


def test_a_model_that_the_server_downloads_can_be_gone_on_with(hub: Path, tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert go_on(path, "bfcl", SETTINGS) == SETTINGS
    hub.write_text("abc\n")
    known = SETTINGS | {"revision": "commit abc"}
    assert once_served(path, "bfcl", SETTINGS) == known == go_on(path, "bfcl", known)
    hub.unlink()
    assert once_served(path, "bfcl", go_on(path, "bfcl", SETTINGS)) == known, "a cleared cache is no other model"
    hub.write_text("def")
    with pytest.raises(InputError, match='revision: "commit abc" -> "commit def".*--fresh'):
        once_served(path, "bfcl", SETTINGS)


def test_other_settings_are_refused_and_a_checkpoint_is_hashed_once(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    ours = SETTINGS | {"model": str(tmp_path), "revision": "files 1"}
    assert once_served(path, "bfcl", go_on(path, "bfcl", ours)) == ours
    with pytest.raises(InputError, match='prompt: "full" -> "short"'):
        go_on(path, "bfcl", ours | {"prompt": "short"})
