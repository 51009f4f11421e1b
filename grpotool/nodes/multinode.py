"""GRPO over the config's nodes: brings Ray up on all of them, waits for every GPU, trains, and says
which node was lost.

In: the machines, by one of

    --hosts a,b,c,d    names for ssh (or $LOOPTOOL_HOSTS); the first one leads; NAME=ADDRESS where
                       the others reach it by another address
    a SLURM job        its own nodes, if --hosts is not given
    --address URL      a Ray that runs, which takes jobs there (or $RAY_API_SERVER_ADDRESS)

and the flags of train.py, which runs as a Ray job on the head. Out: what train.py leaves. run_dir
and this repository must lie on a file system that all nodes share. Ctrl-C, or the end of this
process, ends the job and the nodes it started.

With one node and no machines named, train.py takes the place of this process; so it does where
there is nothing to train.
"""
from __future__ import annotations

import argparse
import asyncio
import logging
import os
import shlex
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp

from grpotool.nodes.cluster import (
    SRUN, SSH, Cluster, NodeMissing, launch, lost, parse_hosts, slurm_hosts, wait_for_all)
from looptool.command import argument_parser, end_on_sigterm, run_main
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.machine.ray_token import bring_token
from looptool.run_files import RoundFiles, round_files

if TYPE_CHECKING:
    from ray.job_submission import JobStatus, JobSubmissionClient

_log = logging.getLogger(__name__)
WATCH_SECONDS = 5.0
SILENCE_SECONDS = 60.0
"""For which a head may leave every question without an answer."""


@contextmanager
def open_cluster(args: argparse.Namespace, config: Config, files: RoundFiles) -> Iterator[Cluster]:
    """The cluster that the flags or SLURM name.

    Raises:
        InputError: none is named, or not as many hosts as the config has nodes.
    """
    if args.address:
        yield Cluster(args.address.rstrip("/"))
        return
    names = args.hosts.split(",") if args.hosts else slurm_hosts()
    if not names:
        raise InputError("no machines: give --hosts a,b,c,d or --address http://HEAD:8265, or run "
                         "inside a SLURM job")
    if len(names) != config.train.nodes:
        raise InputError(f"{len(names)} hosts ({', '.join(names)}) and "
                         f"train.nodes={config.train.nodes}; make them agree")
    shell = args.shell or (SSH if args.hosts else SRUN)
    declared = config.train.gpus_per_node if config.train.profile == "cpu" else None
    with launch(parse_hosts(names), shell, files.training / "ray", declared) as cluster:
        yield cluster


def train_command(config_file: str, flags: list[str]) -> list[str]:
    """train.py with this process's interpreter and flags."""
    return [sys.executable, str(ROOT / "grpotool" / "train.py"), "--config",
            str(Path(config_file).resolve()), *flags]


def entrypoint(config_file: str, flags: list[str]) -> str:
    """The job's shell command, in this process's folder."""
    # exec, so that what Ray sends to the job reaches train.py and no shell
    return f"cd {shlex.quote(os.getcwd())} && exec {shlex.join(train_command(config_file, flags))}"


async def watch(cluster: Cluster, addresses: set[str]) -> None:
    """Look after the nodes at these addresses, for ever.

    Raises:
        NodeMissing: a node is lost, or the head has been silent for SILENCE_SECONDS.
    """
    answered = time.monotonic()
    while True:
        if nodes := await asyncio.to_thread(cluster.nodes):
            answered = time.monotonic()
        silence = time.monotonic() - answered
        gone = lost(cluster, nodes, addresses) if nodes else []
        if silence > SILENCE_SECONDS:
            gone = [f"the head {cluster.head()} no longer answers at {cluster.url}, for "
                    f"{silence:.0f} s now"]
        if gone:
            raise NodeMissing(f"{'; '.join(gone)}; run the same command again when it is back: "
                              "training goes on from its last checkpoint")
        await asyncio.sleep(WATCH_SECONDS)


async def show(client: JobSubmissionClient, job: str) -> None:
    """Print the job's log until the job ends, or the connection to it."""
    try:
        async for text in client.tail_job_logs(job):
            print(text, end="", flush=True)
    except (RuntimeError, aiohttp.ClientError) as error:
        _log.warning("the job's log broke off: %s", error)


def status_of(cluster: Cluster, client: JobSubmissionClient, job: str) -> JobStatus | None:
    """The job's status, None where the head does not say; `client` alone would wait for minutes for
    one that is cut off."""
    try:
        return client.get_job_status(job) if cluster.nodes() else None
    except (RuntimeError, OSError):
        return None


def stop(cluster: Cluster, client: JobSubmissionClient, job: str) -> None:
    """End the job if it runs still."""
    status = status_of(cluster, client, job)
    try:
        if status is not None and not status.is_terminal():
            client.stop_job(job)
    except (RuntimeError, OSError):
        status = None
    if status is None and not cluster.members:  # where we have started it, it ends with its Ray
        _log.warning("%s does not answer, so the job may go on: ray job stop --address %s %s",
                     cluster.url, cluster.url, job)


async def follow(cluster: Cluster, command: str, addresses: set[str]) -> None:
    """Submit the job and print its log until it ends, with an eye on the nodes.

    Raises:
        NodeMissing: a node was lost, or the job failed.
    """
    from ray.job_submission import JobStatus, JobSubmissionClient

    client = JobSubmissionClient(cluster.url)
    # unbuffered, as the log is followed while it is written
    job = client.submit_job(entrypoint=command, runtime_env={"env_vars": {"PYTHONUNBUFFERED": "1"}})
    showing, watching = (asyncio.create_task(show(client, job)),
                         asyncio.create_task(watch(cluster, addresses)))
    try:
        await asyncio.wait([showing, watching], return_when=asyncio.FIRST_COMPLETED)
        if showing.done():
            showing.result()
        if not watching.done():
            status = await asyncio.to_thread(status_of, cluster, client, job)
            if status == JobStatus.SUCCEEDED:
                return
            # a job dies with its node before Ray says which: its nodes get a minute to be missed, a
            # silent head two
            await asyncio.wait([watching], timeout=SILENCE_SECONDS * (2 if status is None else 1))
        if watching.done():
            watching.result()
        status = status_of(cluster, client, job)
        if status == JobStatus.SUCCEEDED:
            return
        if status and status.is_terminal():
            raise NodeMissing(f"the job ended as {status}; its log is above")
        raise NodeMissing("the connection to the job broke, so it is ended; run the same command "
                          "again: training goes on from its last checkpoint")
    finally:
        showing.cancel()
        watching.cancel()
        stop(cluster, client, job)


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--hosts", default=os.environ.get("LOOPTOOL_HOSTS", ""), metavar="A,B,...",
                        help="machines to start Ray on, the head first (default: $LOOPTOOL_HOSTS)")
    parser.add_argument("--shell", default="", metavar="COMMAND",
                        help=f"how to run a command on a host (default for --hosts: {SSH!r}, in "
                             f"SLURM: {SRUN!r})")
    parser.add_argument("--address", default=os.environ.get("RAY_API_SERVER_ADDRESS", ""),
                        metavar="URL",
                        help="dashboard of a running Ray cluster (default: "
                             "$RAY_API_SERVER_ADDRESS)")
    parser.add_argument("--wait", type=float, default=300, metavar="SECONDS",
                        help="for all nodes to join (default 300)")
    # what is not known here is for train.py
    args, flags = parser.parse_known_args()
    end_on_sigterm()
    config = load_config(args.config, args.overrides)
    files = round_files(args, config)
    flags += ["--round", str(files.round),
              *(word for override in args.overrides for word in ("--set", override))]
    if args.hosts and args.address:
        raise InputError("--hosts and --address: give one of them")
    if args.address:
        bring_token()
    alone = config.train.nodes == 1 and not (args.hosts or args.address)
    if alone or "--dry-run" in flags or files.policy.exists() and "--fresh" not in flags:
        command = train_command(args.config, flags)
        os.execv(command[0], command)
    try:
        with open_cluster(args, config, files) as cluster:
            addresses = wait_for_all(cluster, config.train.nodes, config.train.gpus_per_node,
                                     args.wait, _log.info)
            asyncio.run(follow(cluster, entrypoint(args.config, flags), addresses))
    except NodeMissing as error:
        _log.error("%s", error)
        sys.exit(1)


if __name__ == "__main__":
    run_main(main)
