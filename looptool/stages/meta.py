"""The .meta.json beside an output: what the output was made from, what became of each input, and
what it cost."""
from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from looptool.errors import InputError
from looptool.json_lines import write_json
from looptool.models.completion import Usage
from looptool.terminal import WIDTH

FOLLOWED = "followed"
"""In place of the hash of a source that was not there yet, in the header of a journal; see
looptool.stages.follow."""
TOKENS = ("prompt_tokens", "completion_tokens")
_SHOWN = 4  # reasons or keys in the last line; the .meta.json has them all


class Header(msgspec.Struct, kw_only=True):
    """What makes two runs the same run."""

    stage: str
    settings: Any
    sources: dict[str, str]
    """Sha256 of each input file, by its path relative to the output's folder."""


class StageMeta(Header, kw_only=True):
    """The content of a .meta.json; numbers are sums over all runs that worked on the output."""

    version: str
    """Of looptool."""
    inputs: int
    counts: dict[str, int]
    """Finished inputs by reason."""
    passed_over: dict[str, int] = {}
    """How often each key of foreign records was there and was not read; see
    looptool.foreign.unread_keys."""
    failed: int = 0
    """Inputs whose call failed: without records, tried again by the next run, unless a later step
    has been run since."""
    failures: dict[str, int] = {}
    """Failed inputs by cause."""
    records: int
    usage: dict[str, Usage] = {}
    """By role."""
    cost_of_a_record: dict[str, float] = {}
    """Calls, and prompt and completion tokens paid, by record; what inputs without one have cost is
    shared out too."""
    seconds: float

    def line(self) -> str:
        """The stage's last line; what a record cost stands in the .meta.json only."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        passed = f", keys passed over: {shortly(self.passed_over)}" if self.passed_over else ""
        lines = [f"{self.stage}: {self.inputs:,} in -> "
                 f"{shortly(self.counts, most) or 'nothing'}{failed}; {self.records:,} "
                 f"records{self.marks()}{passed}, {self.seconds:.1f} s"
                 for most in range(_SHOWN, 0, -1)]
        return next((line for line in lines if len(line) <= WIDTH), lines[-1])

    def marks(self) -> str:
        """Replies that were cut or kept to no schema, as a part of a line; mostly empty."""
        return "".join(f", {sum(counts):,} {name}" for name in ("cut", "unstructured")
                       if any(counts := totals(self.usage, name)))


def shortly(counts: Mapping[str, int], most: int = _SHOWN) -> str:
    """The commonest counts and the sum of the others: "14 match, 10 malformed, 24 more"."""
    in_order = sorted(counts.items(), key=lambda item: -item[1])
    others = sum(count for _, count in in_order[most:])
    return ", ".join([*(f"{count:,} {name}" for name, count in in_order[:most]),
                      *([f"{others:,} more"] if others else [])])


def totals(usage: Mapping[str, Usage], *fields: str) -> list[int]:
    """Sums of these fields over all roles."""
    return [sum(getattr(account, field) for account in usage.values()) for field in fields]


def cost_of_a_record(usage: Mapping[str, Usage], records: int) -> dict[str, float]:
    """See StageMeta; empty where nothing was asked or nothing written."""
    calls, *tokens = totals(usage, "calls", *TOKENS)
    if not (calls and records):
        return {}
    return {field: round(total / records, 1)
            for field, total in zip(("calls", *TOKENS), (calls, *tokens), strict=True)}


def make_header(stage: str, settings: Any, sources: Sequence[Path | str], output: Path,
                followed: Path | None = None) -> Header:
    """Hash the source files, but for the one that is `followed`.

    Raises:
        InputError: one cannot be read.
    """
    # as they are read back later: a tuple is a list then
    return Header(stage=stage, settings=msgspec.json.decode(msgspec.json.encode(settings)),
                  sources={os.path.relpath(path, output.parent): FOLLOWED if path == followed
                           else _sha256(Path(path)) for path in sources})


def meta_path(output: Path) -> Path:
    return output.with_name(output.name + ".meta.json")


def write_meta(output: Path, header: Header, *, inputs: int, counts: Mapping[str, int],
               records: int, seconds: float, **more: Any) -> StageMeta:
    """Write the .meta.json of an output; `more` are further fields of StageMeta."""
    meta = StageMeta(**msgspec.structs.asdict(header), version=version("looptool"), inputs=inputs,
                     counts=dict(sorted(counts.items())), records=records,
                     seconds=round(seconds, 3), **more)
    write_json(meta_path(output), meta)
    return meta


def read_meta(output: Path) -> StageMeta | None:
    """The .meta.json of an output; None where there is none.

    Raises:
        InputError: it cannot be read.
    """
    path = meta_path(output)
    try:
        return msgspec.json.decode(path.read_bytes(), type=StageMeta)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, msgspec.DecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}); remove it with its output and run again") from None


def refuse_imported(samples: Path, conversations: Path) -> None:
    """Keep samples of others from being replaced by those of dialogs.

    Raises:
        InputError: the samples that are there were made from other files than `conversations`.
    """
    meta = read_meta(samples) if samples.exists() else None
    own = os.path.relpath(conversations, samples.parent)
    imported = [source for source in meta.sources if source != own] if meta else []
    if imported:
        raise InputError(f"{samples}: holds imported samples (of {Path(imported[0]).name}), which "
                         "dialogs would replace; go on with scripts/run_round.sh --round 1, 2 and "
                         "so on, after cold_start.sh if the config has a cold start, or set "
                         "another run_dir for dialogs")


def refuse_changes(before: Header, now: Header, output: Path) -> None:
    """Compare two runs on the same output; a source that one of them followed is not compared.

    Raises:
        InputError: they differ; names each key with its old and new value.
    """
    followed = {path for header in (before, now) for path, digest in header.sources.items()
                if digest == FOLLOWED}
    old, new = (flatten({"stage": header.stage, "settings": header.settings, "sources": {
        path: digest for path, digest in header.sources.items() if path not in followed}})
                for header in (before, now))
    if changes := differences(old, new):
        raise InputError(f"{output}: was begun with other settings or sources "
                         f"({'; '.join(changes)}); set them back, or use --fresh to make it anew")


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """The keys with another value, or with one in only one of the two, as "key: old -> new"."""
    return [f"{key}: {old.get(key, 'absent')} -> {new.get(key, 'absent')}"
            for key in sorted(old.keys() | new.keys()) if old.get(key) != new.get(key)]


def flatten(tree: Any, key: str = "") -> dict[str, str]:
    """Values as JSON, long ones shortened, by their path of keys joined by dots."""
    if isinstance(tree, Mapping) and tree:
        return {path: value for name, branch in tree.items()
                for path, value in flatten(branch, f"{key}.{name}" if key else name).items()}
    text = msgspec.json.encode(tree).decode()
    return {key: text if len(text) <= 80
            else f"{text[:60]}... ({hashlib.sha256(text.encode()).hexdigest()[:8]})"}


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            # hashlib.file_digest came with Python 3.11
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); run the step that writes it "
                         "first") from None
    return digest.hexdigest()
