"""Checks of the doctor that look at the machine: paths, disk, packages, GPUs, endpoints, verl's
view of the config."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import openai
from packaging.requirements import Requirement

from grpotool.doctor.check_result import Finding, fail, ok, skip, warn
from grpotool.doctor.gpu import count_gpus
from grpotool.train import check_heads, policy_before
from grpotool.verl_run.overrides import compose, environment
from looptool.config import Config
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.machine.packages import RAY_ENGINE, missing_packages
from looptool.models.checkpoint import count_parameters
from looptool.models.teacher_server import WORD
from looptool.run_files import RoundFiles

BYTES_A_PARAMETER = {"cpu": 4 + 2 * (12 + 4), "gpu": 2 + 2 * (12 + 2)}
"""Of the policy, and of two checkpoints with weights and two moments of Adam, in fp32, and an
export. Policy and exports are fp32 on a CPU, bfloat16 on GPUs."""
PATIENCE = 10
"""Seconds that an endpoint has to list its models."""
GB = 1e9
NAMES_MACHINES = ("LOOPTOOL_HOSTS", "RAY_API_SERVER_ADDRESS")
"""Variables by which multinode.py trains on other machines."""


def existing(path: Path) -> Path:
    """The path itself, or the nearest folder above it that is there."""
    return next(place for place in (path, *path.parents) if place.exists())


def check_paths(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """The run's folder can be written, and the policy to start from is there, in a shape that the
    GPUs can share."""
    place = existing(files.folder)
    if place.is_dir() and os.access(place, os.W_OK):
        yield ok(f"{files.folder} can be written")
    else:
        yield fail(f"{files.folder}: {place} is no folder that can be written",
                   "set run_dir or mend its permissions")
    model = policy_before(config, files)
    check_heads(config, model)
    if Path(model).is_dir():
        yield ok(f"training starts from {model}")
    else:
        yield skip(f"training starts from {model}", "a hub name, which is not looked up here")


def check_disk(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Room for the policy and for the two checkpoints that are kept while it trains."""
    free = shutil.disk_usage(existing(files.folder)).free
    try:
        model = policy_before(config, files)
    except InputError:
        model = str(files.previous().policy)
    each = BYTES_A_PARAMETER[config.train.profile]
    parameters, source = known_parameters(model)
    if not parameters:
        yield skip(f"{free / GB:.1f} GB of disk are free",
                   f"{model} is not here to be measured; {each} bytes a parameter are needed")
        return
    needed = parameters * each
    words = (f"{free / GB:.1f} GB of disk are free, {needed / GB:.1f} GB needed for the policy and "
             f"two checkpoints{source}")
    to_do = f"free some at {existing(files.folder)}, or set run_dir"
    yield ok(words) if free >= needed else fail(words, to_do)


def known_parameters(model: str) -> tuple[float, str]:
    """A model's parameters and, for a sentence, by what they are known; 0 where they are not.

    Of a hub name they are read off it, such as 32B.
    """
    if Path(model).is_dir():
        return count_parameters(Path(model)), ""
    name = model.rpartition("/")[2]
    billions = re.search(r"(?i)(?<![a-z0-9.])(\d+(?:\.\d+)?)B(?![a-z0-9])", name)
    return (float(billions[1]) * 1e9, f" (by its name, {name})") if billions else (0, "")


def read_requirements(path: Path) -> list[Requirement]:
    """The packages that a requirements file pins."""
    lines = (line.partition("#")[0].strip()
             for line in path.read_text(encoding="utf-8").splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith("-")]


def compare_packages(path: Path) -> Iterator[Finding]:
    """The packages that are not as a requirements file has them: a missing one fails, another
    version may do."""
    wanted, others, absent = read_requirements(path), [], []
    for package in wanted:
        try:
            if not package.specifier.contains(found := version(package.name), prereleases=True):
                others.append(f"{package.name} is {found}, not {package.specifier}")
        except PackageNotFoundError:
            absent.append(f"{package.name}{package.specifier}")
    if absent:
        yield fail(f"not installed: {', '.join(absent)}", f"pip install -r {path.name}")
    if others:
        yield warn("; ".join(others), f"pip install -r {path.name}, or go on at your own risk")
    if not absent and not others:
        yield ok(f"{len(wanted)} packages are as in {path.name}")


def check_packages(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """What is installed is what the profile was tested with."""
    yield from compare_packages(ROOT / ("requirements.txt" if config.train.profile == "cpu"
                                        else "requirements-gpu.txt"))


def check_gpus(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """The GPUs asked for are there, and tensor parallelism divides them."""
    train = config.train
    if train.profile == "cpu":
        yield skip("GPUs", "train.profile is cpu")
        return
    here, total = count_gpus(), train.gpus_per_node * train.nodes
    words = f"{here} GPUs on this machine, train.gpus_per_node={train.gpus_per_node}"
    elsewhere = [name for name in NAMES_MACHINES if os.environ.get(name)]
    if here >= train.gpus_per_node:
        yield ok(words)
    elif elsewhere:
        yield skip(words, f"training runs on the machines that {elsewhere[0]} names; Ray counts "
                          "their GPUs when it starts")
    else:
        yield fail(words, "train on another machine, or lower that number")
    if total % train.tensor_parallel:
        yield fail(f"train.tensor_parallel={train.tensor_parallel} does not divide {total} GPUs",
                   "set it to a divisor")
    if train.nodes > 1:
        yield skip(f"{train.nodes} nodes",
                   "only this machine is looked at; Ray counts the others when training starts")


def served_models(url: str, key: str) -> set[str]:
    """The models that an endpoint lists, which the config names under `key`.

    Raises:
        InputError: it does not answer, or refuses.
    """
    try:
        with openai.OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY") or "none",
                           max_retries=0, timeout=PATIENCE) as client:
            return {model.id for model in client.models.list().data}
    except openai.APIStatusError as error:
        raise InputError(f"{url}: answers with status {error.status_code}; check OPENAI_API_KEY, "
                         "and that the address ends in /v1") from None
    except (openai.OpenAIError, ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{url}: does not list its models ({type(error).__name__}); start the server or mend "
            f"{key}") from None


def check_endpoints(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Every teacher endpoint answers, and every model named is served by one of them."""
    teacher = config.teacher
    urls = teacher.base_urls or [os.environ.get("OPENAI_BASE_URL", "")]
    served: set[str] = set()
    for url in urls:
        if url == "simulated":
            yield skip("teacher", "it is the embedded simulation, which serves any model")
            served |= {*teacher.models, *teacher.judges}
            continue
        if url.startswith(WORD):
            yield from check_own_server(url)
            served |= {*teacher.models, *teacher.judges}
            continue
        if not url.startswith(("http://", "https://")):
            yield fail(f"teacher.base_urls: {url!r} is no URL",
                       "set it, or the environment variable OPENAI_BASE_URL")
            continue
        try:
            models = served_models(url, "teacher.base_urls")
        except InputError as error:
            yield fail(*str(error).split("; ", 1))
        else:
            served |= models
            yield ok(f"{url} answers and serves {', '.join(sorted(models)) or 'nothing'}")
    for model in sorted({*teacher.models, *teacher.judges} - served):
        yield fail(f"no endpoint serves the model {model!r}",
                   "serve it, or mend teacher.models and .judges")


def check_own_server(url: str) -> Iterator[Finding]:
    """vLLM is there for a server that the steps start themselves."""
    python = os.environ.get("SERVE_PYTHON", sys.executable)
    look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('vllm') is None)"
    if subprocess.run([python, "-c", look]).returncode:
        yield fail(f"{url!r} needs vllm, which {python} does not have",
                   "pip install -r requirements-gpu.txt, or name one by SERVE_PYTHON that does")
    else:
        yield skip(f"teacher: {url}", "each step starts it when it asks")


def check_probing(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Where the policy is probed over endpoints, they are named, and serve it once it is there;
    where inside Ray Data, its packages are there."""
    if config.probe.engine == "endpoint" and not config.probe.base_urls:
        yield fail("probe.engine is endpoint, and probe.base_urls is empty",
                   "name the policy's server there")
    elif config.probe.engine == "endpoint" and not files.policy.exists():
        yield skip(", ".join(config.probe.base_urls),
                   "serves the policy, which is there after training only")
    elif config.probe.engine == "endpoint":
        yield from check_policy_servers(config, files)
    elif config.probe.engine == "ray":
        if missing := missing_packages(RAY_ENGINE):
            yield fail(f"probe.engine is ray, and {', '.join(missing)} is not installed",
                       "pip install -r requirements-gpu.txt")
        else:
            yield ok("Ray Data and vLLM, which probe the policy, are installed")


def check_policy_servers(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """Every server of the policy lists probe.model, or one model where that is not set."""
    wanted = config.probe.model
    for url in config.probe.base_urls:
        try:
            models = served_models(url, "probe.base_urls")
        except InputError as error:
            yield fail(*str(error).split("; ", 1))
            continue
        listed = ", ".join(sorted(models)) or "nothing"
        if wanted in models or not wanted and len(models) == 1:
            yield ok(f"{url} answers and serves {listed}")
        else:
            yield fail(f"{url} serves {listed}, not {wanted or 'one model'}",
                       f"start it with {files.policy}, or set probe.model")


def check_verl(config: Config, files: RoundFiles) -> Iterator[Finding]:
    """verl's own code composes and validates the overrides, in a process of its own."""
    if missing_packages(["verl"]):
        yield skip("verl's check of the config", "verl is not installed")
        return
    command = [sys.executable, "-m", "grpotool.doctor.verl_config"]
    overrides = compose(config, files, config.student.model, steps_per_epoch=1, resume=None)
    done = subprocess.run(command, input=json.dumps(overrides), capture_output=True, text=True,
                          cwd=ROOT, env=environment(config, files))
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        cause = next((line for line in reversed(lines) if "Error" in line or "Exception" in line),
                     (lines or ["no word"])[-1])
        yield fail(f"verl refuses the config: {cause.strip()}", "mend the key that it names")
    else:
        yield ok(f"verl {version('verl')} accepts the {len(overrides)} overrides of this config")
