"""Checks of the doctor that look at the teacher's replies: whether they keep to a schema, and how
many were cut."""
from __future__ import annotations

import asyncio
import os
from collections import Counter, defaultdict
from collections.abc import Iterator

import msgspec
import openai

from grpotool.doctor.check_result import Finding, fail, ok, skip, warn
from grpotool.doctor.machine import served_models
from looptool.config import Config
from looptool.errors import InputError
from looptool.models.completion import Transient, Usage
from looptool.models.endpoint import Endpoint, connect, detail
from looptool.models.structured_outputs import Shown, ask_for_support
from looptool.run_files import RoundFiles

PATIENCE = 60
"""Seconds that a server has for one short reply."""
MANY = 0.02
"""Share of a role's replies that may be cut before it is worth a word."""


class _Accounts(msgspec.Struct):
    """What is read of a .meta.json."""

    usage: dict[str, Usage] = {}


def check_structured(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Each of the teacher's servers keeps the replies of each of its models to a schema, where that
    is wanted."""
    teacher = config.teacher
    if teacher.structured == "off":
        yield skip("structured replies", "teacher.structured is off")
        return
    for url in teacher.base_urls or [os.environ.get("OPENAI_BASE_URL", "")]:
        try:
            models = served_models(url, "teacher.base_urls") if url.startswith("http") else set()
        except InputError:
            models = set()
        if not models:
            yield skip("structured replies", f"{url or 'no server'} is not asked for any")
        for model in sorted({*teacher.models, *teacher.judges} & models):
            shown = asyncio.run(_shown(config, url, model))
            if not shown.fault:
                yield ok(f"{url} keeps replies of {model} to a schema")
            elif teacher.structured == "on" and not shown.keeps:
                yield fail(f"{url} {shown.fault}, asked for {model}",
                           "set teacher.structured to auto, or start another server")
            else:
                yield warn(f"{url} {shown.fault}, asked for {model}",
                           "with teacher.structured=on it would not think" if shown.keeps else
                           "its replies are read as they come; vLLM, SGLang and OpenAI keep to one")


async def _shown(config: Config, url: str, model: str) -> Shown:
    """What a server does with a schema; none is kept where it gives no reply."""
    teacher = msgspec.structs.replace(config.teacher, timeout_seconds=PATIENCE)
    patient = msgspec.structs.replace(config, teacher=teacher)
    endpoint = Endpoint(url, *connect(url, patient, "teacher.base_urls"))
    try:
        return await ask_for_support(model, endpoint.post)
    except Transient as error:
        return Shown(False, f"gives no reply ({error})")
    except openai.APIStatusError as error:
        return Shown(False, f"gives no reply ({error.status_code}, {detail(error)})")
    finally:
        await endpoint.client.close()


def check_cut(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """How many replies of the run so far were cut, and how many kept to no schema though one was
    wanted."""
    if config.teacher.base_urls == ["simulated"]:
        yield skip("cut replies", "the simulated teacher cuts some on purpose, whatever the limit")
        return
    limits = msgspec.structs.asdict(config.teacher.max_tokens)
    asked: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for path in (*files.run_dir.glob("*.meta.json"), *files.run_dir.glob("round_*/*.meta.json")):
        for role, used in msgspec.json.decode(path.read_bytes(), type=_Accounts).usage.items():
            if role in limits:
                asked[role].update(calls=used.calls, cut=used.cut, unstructured=used.unstructured)
    total = sum(asked.values(), Counter())
    if not total["calls"]:
        yield skip("cut replies", "the teacher has not been asked yet")
        return
    yield ok(f"of the teacher's {total['calls']:,} replies so far {total['cut']:,} were cut, "
             f"{total['unstructured']:,} kept to no schema though one was wanted")
    for role, counts in sorted(asked.items()):
        if counts["cut"] > MANY * counts["calls"]:
            yield warn(f"{counts['cut']:,} of {counts['calls']:,} replies of the {role} were cut",
                       f"raise teacher.max_tokens.{role} ({limits[role] or 'none'}), or see "
                       "whether the model repeats itself")
