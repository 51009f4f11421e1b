"""A Ray cluster over several machines: brought up, waited for, watched, and ended.

In: the machines, how to run a command on one (ssh, srun, ...), how many GPUs each must have. Out: a
Cluster whose every node is there, or a NodeMissing that names those that are not.
"""
from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from looptool.config_file import ROOT
from looptool.errors import InputError

PORT, DASHBOARD_PORT = 6379, 8265
LOOK_SECONDS = 2.0
# BatchMode: fails where it would ask for a password; ServerAliveInterval: sees a cut connection
SSH = "ssh -o BatchMode=yes -o ServerAliveInterval=15 {host}"
# --overlap: shares the job's CPUs and GPUs with its other steps
SRUN = "srun --overlap --nodes=1 --ntasks=1 --nodelist={host}"
TAKEN_ALONG, SECRET = ("NCCL_", "GLOO_", "HF_"), ("TOKEN", "KEY", "SECRET", "PASSWORD")
"""Variables that ssh is to bring to a node, by how they begin, and parts of the names of those that
it must not."""


class NodeMissing(Exception):
    """A node did not come, or went. The message names it."""


@dataclass(frozen=True)
class Host:
    """A machine: the name to reach it by, and the IP address that the other nodes see."""

    name: str
    address: str

    def __str__(self) -> str:
        return self.name if self.name == self.address else f"{self.name} ({self.address})"


def parse_host(text: str) -> Host:
    """A host from NAME or NAME=ADDRESS.

    Raises:
        InputError: the name has no address.
    """
    name, _, address = text.partition("=")
    try:
        return Host(name, socket.gethostbyname(address or name))
    except OSError:
        raise InputError(f"--hosts {text}: the name has no IP address here; mend it or write "
                         f"{name}=ADDRESS") from None


def parse_hosts(names: Sequence[str]) -> list[Host]:
    """The hosts of a cluster, the head first.

    Raises:
        InputError: one has no address, or, of several, one that leads each of the others to itself:
            a Debian machine knows its own name as 127.0.1.1.
    """
    hosts = [parse_host(name) for name in names]
    for host in hosts:
        if len(hosts) > 1 and host.address.startswith("127."):
            raise InputError(f"host {host.name}: resolves to this machine itself ({host.address}), "
                             "where no other one reaches it; write --hosts with "
                             f"{host.name}=ADDRESS, as the others know it")
    return hosts


def slurm_hosts() -> list[str]:
    """Names of the machines of the SLURM job that this process runs in, none outside of one."""
    if "SLURM_JOB_NODELIST" not in os.environ:
        return []
    command = ["scontrol", "show", "hostnames", os.environ["SLURM_JOB_NODELIST"]]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@dataclass
class Member:
    """One host's part of the cluster: the process here that holds Ray there."""

    host: Host
    process: subprocess.Popen[bytes]
    log: Path

    def last_words(self) -> str:
        """The last line of what Ray, or the way to it, has said."""
        lines = [line.strip() for line in self.log.read_text(errors="replace").splitlines()
                 if line.strip()]
        return lines[-1] if lines else "it said nothing"


@dataclass
class Cluster:
    """A Ray cluster, asked over its dashboard."""

    url: str
    """Of the dashboard, which takes jobs too: http://HEAD:8265."""
    members: list[Member] = field(default_factory=list)
    """Empty where somebody else started the cluster."""

    def name(self, address: str) -> str:
        """The host at an address, the address itself where the cluster is not ours."""
        return next((str(member.host) for member in self.members if member.host.address == address),
                    address)

    def head(self) -> str:
        """The host that leads, its address where the cluster is not ours."""
        return self.name(urlsplit(self.url).hostname or self.url)

    def nodes(self) -> dict[str, dict[str, Any]]:
        """What Ray knows of its nodes, by address: "alive", "gpus" and "why" it died; nothing while
        Ray does not answer.

        Returns after 10 s at the latest.
        """
        from ray.exceptions import RayError
        from ray.util.state import list_nodes

        try:
            # Ray lists 100 where no limit is given
            found = list_nodes(address=self.url, limit=1000, timeout=10,
                               raise_on_missing_output=False)
        # its request errors are OSErrors; while it starts it also answers with errors of its own
        except (RayError, OSError):
            return {}
        nodes: dict[str, dict[str, Any]] = {}
        # a node that came back counts as alive
        for node in sorted(found, key=lambda node: node.state == "ALIVE"):
            nodes[node.node_ip] = {"alive": node.state == "ALIVE", "why": node.state_message or "",
                                   "gpus": int(node.resources_total.get("GPU", 0))}
        return nodes


def taken_along(environment: Mapping[str, str]) -> list[str]:
    """NAME=VALUE of what a node needs to find network and models, which ssh leaves behind; no
    secret, as `ps` shows them."""
    return [f"{name}={value}" for name, value in sorted(environment.items())
            if name.startswith(TAKEN_ALONG) and not any(word in name for word in SECRET)]


def start(host: Host, shell: str, arguments: Sequence[str], log: Path) -> Member:
    """Start Ray on a host; it lives as long as the pipe to it.

    Left to itself, a head asks for a token wherever its home has one, and a node that joins brings
    none: so all are told. What Ray starts there, job and workers, has the environment that Ray was
    started in.
    """
    way = shlex.split(shell.format(host=host.name))
    authentication = os.environ.get("RAY_AUTH_MODE", "disabled")
    command = [sys.executable, str(ROOT / "grpotool/nodes/ray_node.py"), authentication, *arguments]
    if Path(way[0]).name == "ssh":  # which hands one line to the other side's shell
        command = [shlex.join(["env", *taken_along(os.environ), *command])]
    with log.open("wb") as output:
        # a session of its own: Ctrl-C is for this process, which then closes the pipe
        process = subprocess.Popen([*way, *command], stdin=subprocess.PIPE, stdout=output,
                                   stderr=subprocess.STDOUT, start_new_session=True)
    return Member(host, process, log)


@contextmanager
def launch(hosts: Sequence[Host], shell: str, logs: Path, gpus: int | None) -> Iterator[Cluster]:
    """A cluster whose head is the first host; at the end it is taken down.

    Args:
        shell: how to run a command there, with {host}, such as SSH.
        logs: folder for what each node's Ray says.
        gpus: to declare a node, for machines without any; None where Ray is to count them.
    """
    logs.mkdir(parents=True, exist_ok=True)
    # declared nodes may be several on one machine, so each takes little of its memory
    head, declared = hosts[0], [] if gpus is None else [f"--num-gpus={gpus}", "--num-cpus=16",
                                                                "--object-store-memory=500000000"]
    members: list[Member] = []
    try:
        for host in hosts:
            role = ["--head", f"--port={PORT}", "--dashboard-host=0.0.0.0",
                    f"--dashboard-port={DASHBOARD_PORT}"]
            joins = [f"--address={head.address}:{PORT}"]
            members.append(start(host, shell,
                                 [*(role if host == head else joins),
                                  f"--node-ip-address={host.address}",
                                  *declared], logs / f"{host.name}.log"))
            if host == head:
                wait_for_head(head, members[0])
        yield Cluster(f"http://{head.address}:{DASHBOARD_PORT}", members)
    finally:
        for member in reversed(members):  # the head last, or the others would complain of its loss
            member.process.stdin.close()
            member.process.wait()


def wait_for_head(head: Host, member: Member, seconds: float = 120) -> None:
    """Return when others can join: a node that finds no head gives up.

    Raises:
        NodeMissing: it ended or took too long.
    """
    until = time.monotonic() + seconds
    while time.monotonic() < until and member.process.poll() is None:
        for port in (PORT, DASHBOARD_PORT):
            try:
                socket.create_connection((head.address, port), timeout=2).close()
            except OSError:
                time.sleep(0.5)
                break
        else:
            return
    raise NodeMissing(f"the head {head} does not answer at ports {PORT} and {DASHBOARD_PORT}: "
                      f"{member.last_words()}")


def wait_for_all(cluster: Cluster, wanted: int, gpus: int, seconds: float,
                 say: Callable[[str], None]) -> set[str]:
    """Say who has joined until all nodes with all of their GPUs have; the addresses of all that are
    alive then.

    Args:
        wanted: nodes.
        gpus: of each.
        say: takes a line.

    Raises:
        NodeMissing: after `seconds`, or once nothing but nodes whose process has ended is missing;
            it names them.
    """
    until, seen = time.monotonic() + seconds, set[str]()
    while True:
        nodes = {address: node["gpus"] for address, node in cluster.nodes().items()
                 if node["alive"]}
        ready = {address for address, count in nodes.items() if count >= gpus}
        for address in sorted(ready - seen):
            say(f"cluster: {cluster.name(address)} joined with {nodes[address]} GPUs, {len(ready)} "
                f"of {wanted}")
        seen |= ready
        ended = [member for member in cluster.members if member.process.poll() is not None]
        if len(ready) >= wanted and not ended:
            return set(nodes)
        coming = [member for member in cluster.members
                  if member not in ended and member.host.address not in ready]
        if time.monotonic() > until or ended and not coming:
            listed = [f"{cluster.name(address)} has {count} GPUs, not {gpus}"
                      for address, count in sorted(nodes.items()) if count < gpus]
            absent = [f"{member.host} has not joined: {member.last_words()}"
                      for member in cluster.members
                      if member in ended or member.host.address not in nodes]
            raise NodeMissing("; ".join([f"{len(ready)} of {wanted} nodes with {gpus} GPUs are "
                                         "there", *listed, *absent]))
        time.sleep(LOOK_SECONDS)


def lost(cluster: Cluster, nodes: dict[str, dict[str, Any]], before: set[str]) -> list[str]:
    """Those of `before` (addresses) that Ray, by its answer `nodes`, has given up or no longer
    lists, with the reason."""
    reasons = {address: nodes[address]["why"] if address in nodes else "Ray does not list it"
               for address in sorted(before) if not (address in nodes and nodes[address]["alive"])}
    return [f"{cluster.name(address)} is lost: {why}" for address, why in reasons.items()]
