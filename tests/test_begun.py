"""What a folder of results was begun with: other settings are refused, a revision counts once it is
known."""
from __future__ import annotations

from pathlib import Path

import pytest

from bfcl.resume import go_on, model_settings, once_served
from looptool.errors import InputError

SETTINGS = model_settings("some/one", []) | {"prompt": "full"}


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
    assert once_served(path, "bfcl", SETTINGS, 0) == known == go_on(path, "bfcl", known)
    hub.unlink()
    assert once_served(path, "bfcl", go_on(path, "bfcl", SETTINGS),
                       0) == known, "a cleared cache is no other model"
    hub.write_text("def")
    with pytest.raises(InputError, match='revision: "commit abc" -> "commit def".*--fresh'):
        once_served(path, "bfcl", SETTINGS, 0)


def test_other_settings_are_refused_and_a_checkpoint_is_hashed_once(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    ours = SETTINGS | {"model": str(tmp_path), "revision": "files 1"}
    assert once_served(path, "bfcl", go_on(path, "bfcl", ours), 0) == ours
    with pytest.raises(InputError, match='prompt: "full" -> "short"'):
        go_on(path, "bfcl", ours | {"prompt": "short"})


def test_another_context_is_refused_once_it_is_known(tmp_path: Path) -> None:
    path, longer = tmp_path / "run.json", model_settings(str(tmp_path),
                                                         ["--max-model-len", "40960"])
    ours = model_settings(str(tmp_path), [])
    assert once_served(path, "bfcl", go_on(path, "bfcl", ours), 4096)["context"] == 4096
    assert go_on(path, "bfcl", ours)["context"] == 4096
    for other in (lambda: go_on(path, "bfcl", longer),
                  lambda: once_served(path, "bfcl", ours, 8192)):
        with pytest.raises(InputError, match="context: 4096 -> .*--fresh"):
            other()


def test_flags_of_the_server_that_move_a_score_are_settings(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    go_on(path, "bfcl",
          model_settings("some/one", ["-tp", "8", "--dtype=half", "--revision", "abcdef0"]))
    go_on(path, "bfcl",
          model_settings("some/one", ["--dtype=half", "--revision", "abcdef0", "--port", "81"]))
    with pytest.raises(InputError, match='server_flags'):
        go_on(path, "bfcl",
              model_settings("some/one", ["--quantization", "fp8", "--revision", "abcdef0"]))
