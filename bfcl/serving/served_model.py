"""Which model a server has, and how: what it says of itself, and the flags that it was started
with."""
from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2
import msgspec

from bfcl.serving.fetch import fetch
from looptool.errors import InputError

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
SAME_REPLIES = frozenset((
    "--host", "--port", "--api-key", "--served-model-name", "--download-dir", "--max-model-len",
    "--max-num-seqs", "--gpu-memory-utilization", "--tensor-parallel-size", "-tp",
    "--pipeline-parallel-size", "-pp", "--data-parallel-size", "-dp"))
"""vLLM's flags that say where and how fast, not what; the context is compared as the server tells
it."""


class NoServer(InputError):
    """Nothing answers there, or not yet."""


class _Listed(msgspec.Struct):
    """One model at /models; only vLLM and its like tell more than the id."""

    id: str
    root: str | None = None
    max_model_len: int | None = None


class _List(msgspec.Struct):
    data: list[_Listed]


class _Version(msgspec.Struct):
    version: str


class Served(msgspec.Struct):
    """What a server says of itself."""

    url: str
    name: str
    """Under which the model is asked."""
    root: str = ""
    """The checkpoint that it has loaded, where it tells."""
    context: int = 0
    """Tokens; 0 where it does not tell."""
    server: str = "an OpenAI-compatible server"
    """With its version where it tells, and the flags that move a score where we have started it."""
    end: Callable[[], None] = lambda: None
    """Ends it at once, if it is ours."""

    def shown_as(self, model: str) -> str:
        """What it calls the model, where that is not `model`."""
        names = dict.fromkeys(name for name in (self.name, self.root) if name and name != model)
        return ", ".join(names)


def find_server(url: str, model: str = "", wanted: str = "") -> Served:
    """What is served at `url` as `wanted`, else what is called or was loaded from `model`, else the
    only model there.

    Raises:
        NoServer: nothing answers.
        InputError: the key is refused, there is no such model, or there are several.
    """
    listed = _models(url)
    models = {each.id: each for each in listed}
    named = [each for each in listed if model and model in (each.id, each.root)]
    if wanted in models:
        found = models[wanted]
    elif not wanted and len(named) == 1:
        found = named[0]
    elif not wanted and len(listed) == 1:
        found = listed[0]
    else:
        raise InputError(f"{url}: serves {', '.join(sorted(models)) or 'nothing'}; name one of "
                         "them with --served-name")
    served = Served(url, found.id, found.root or "", found.max_model_len or 0)
    try:
        told = fetch(f"{url.removesuffix('/v1')}/version")
        served.server = f"vllm {msgspec.json.decode(told, type=_Version).version}"
    except (httpx2.HTTPError, ValueError):
        pass  # not vLLM
    return served


def _models(url: str) -> list[_Listed]:
    try:
        return msgspec.json.decode(fetch(f"{url}/models"), type=_List).data
    except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
        cause = error
        status = error.response.status_code if isinstance(error, httpx2.HTTPStatusError) else 0
        if status in (401, 403):
            raise InputError(f"{url}/models: {status}, the server refuses the key; "
                             "set OPENAI_API_KEY") from None
    raise NoServer(
        f"{url}/models: no list of models ({cause}); start a server, for instance with bash "
        "scripts/serve.sh, or name its address with --endpoint http://HOST:PORT/v1")


def refuse_another(served: Served, model: str) -> None:
    """Compare what a running server has loaded with the folder or hub model that is to be measured.

    A folder that only the server's machine has cannot be compared; the card then shows its path.

    Raises:
        InputError: it is another model.
    """
    told = served.root or served.name
    if model in (served.name, served.root):
        return
    if Path(model).is_dir() and Path(told).is_dir():
        is_other = not Path(told).samefile(model)
    elif HUB_NAME.fullmatch(told) and not Path(told).is_dir():
        is_other = True
    else:  # a folder holds a hub model if its path has the model's name, as the hub's cache has
        is_other = (bool(served.root) and not Path(model).is_dir()
                    and Path(model).name not in re.split("/|--", told))
    if is_other:
        raise InputError(f"{served.url}: the server has loaded {told}, not {model}; start one with "
                         "that, or name its address by --endpoint (if it is the same model: "
                         f"--served-model-name {model} there says so)")


def telling(flags: Sequence[str]) -> list[str]:
    """The flags of vLLM, with their values, that may change a reply."""
    kept, keep = [], True
    for word in flags:
        # a value stands behind its flag and goes where that goes
        if word.startswith("-"):
            keep = word.partition("=")[0] not in SAME_REPLIES
        if keep:
            kept.append(word)
    return kept


def value_of(flag: str, flags: Sequence[str]) -> str:
    """The value of a flag, given as `--flag VALUE` or `--flag=VALUE`; empty where it is not."""
    for word, following in zip(flags, [*flags[1:], ""]):
        name, equals, value = word.partition("=")
        if name == flag:
            return value if equals else following
    return ""
