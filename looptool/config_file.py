"""How a config is read: one YAML file, checked, under the overrides of the command line."""
from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from looptool.config import PRESETS, VERIFY_PRESETS, Config, Section
from looptool.errors import InputError
from looptool.yaml_documents import load_yaml

ROOT = Path(__file__).resolve().parent.parent


def load_config(path: Path | str, overrides: list[str] = []) -> Config:
    """Read a YAML config; `overrides` are "section.key=value" strings that win over the file.

    Raises:
        InputError: the file cannot be read, or a key or value is wrong; names the key and the
            nearest known one.
    """
    path = Path(path)
    try:
        data = load_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); name a config with --config") from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: not UTF-8 ({error.reason} at byte {error.start}); save it as UTF-8") from None
    except ValueError as error:
        raise InputError(f"{path}: {error}; mend it") from None
    if not isinstance(data, dict):
        raise InputError(f"{path}: is empty or no mapping; start from configs/laptop.yaml")
    for override in overrides:
        _apply_override(data, override)
    # msgspec refuses them too, but does not know the nearest key
    _refuse_unknown_keys(data, Config, str(path))
    for section, presets in (("train", PRESETS), ("verify", VERIFY_PRESETS)):
        if isinstance(data.get(section), dict):
            # an unknown preset sets nothing here and is refused with the other values
            data[section] = presets.get(str(data[section].get("preset")), {}) | data[section]
    try:
        config = msgspec.convert(data, Config)
    except msgspec.ValidationError as error:
        raise InputError(f"{path}: {error}; see the comments in looptool/config.py") from None
    # an absolute one stays what it is
    config.run_dir = str(ROOT / config.run_dir)
    return config


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals:
        raise InputError(f"--set {override}: write it as section.key=value")
    *sections, last = key.split(".")
    for section in sections:
        data = data.setdefault(section, {})
        if not isinstance(data, dict):
            raise InputError(f"--set {override}: {section} is a value, not a section")
    try:
        data[last] = load_yaml(value)
    except ValueError as error:
        raise InputError(f"--set {override}: {error}; quote it") from None


def _refuse_unknown_keys(data: dict[str, Any], section: type, where: str) -> None:
    known = get_type_hints(section)
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1, cutoff=0)
            raise InputError(f"{where}: unknown key {key!r}; did you mean {near[0]!r}?")
        if isinstance(value, dict) and isinstance(known[key],
                                                  type) and issubclass(known[key], Section):
            _refuse_unknown_keys(value, known[key], f"{where}: {key}")


def student_path(config: Config) -> str:
    """The folder of pi_0 when it exists here or in the repository, else the hub name as it stands.

    Raises:
        InputError: there is no such folder, and a hub name it cannot be.
    """
    model = config.student.model
    for folder in (Path(model), ROOT / model):
        if folder.is_dir():
            return str(folder.resolve())
    if model.startswith((".", "/", "~")) or model.count("/") > 1:
        raise InputError(
            f"student.model: {model!r} is no folder; set student.model to a folder or a hub name")
    return model
