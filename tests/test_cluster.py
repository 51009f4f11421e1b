"""Ray over several machines, which here are network namespaces of one: each with its own address
and its own Ray."""
from __future__ import annotations

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from programs import program
from ray import job_submission
from ray.job_submission import JobStatus
from test_verl_cpu import tasks
from tiny_policy import make_policy

from grpotool.nodes import cluster as cluster_module, multinode as multinode_script
from grpotool.nodes.cluster import (
    Cluster, NodeMissing, launch, lost, parse_host, parse_hosts, start, wait_for_all)
from grpotool.nodes.multinode import entrypoint, follow
from looptool.config_file import ROOT
from looptool.errors import InputError
from looptool.json_lines import write_jsonl
from looptool.run_files import RoundFiles

ENTER = """#!/bin/sh
# A command in the namespace $1, with a /tmp/ray and a /dev/shm of its own, as machines have them.
host=$1; shift
exec ip netns exec "$host" unshare --mount sh -c '
  mkdir -p /tmp/ray; mount -t tmpfs none /tmp/ray; mount -t tmpfs none /dev/shm
  exec "$@"' sh "$@"
"""


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def may_make_namespaces() -> bool:
    if not shutil.which("ip") or subprocess.run(["ip", "netns", "add", "lt-try"],
                                                capture_output=True).returncode:
        return False
    ip("netns", "del", "lt-try")
    return True


@pytest.fixture
def shell(tmp_path):
    """How to run a command on a host."""
    return f"{program(tmp_path / 'enter', ENTER)} {{host}}"


class Network:
    """Namespaces lt0, lt1, ... at 10.77.0.1, .2, ... on one bridge, which the launcher reaches
    too."""

    def __init__(self, count: int):
        ip("link", "add", "lt-bridge", "type", "bridge")
        ip("addr", "add", "10.77.0.254/24", "dev", "lt-bridge")
        ip("link", "set", "lt-bridge", "up")
        self.hosts = [f"lt{number}=10.77.0.{number + 1}" for number in range(count)]
        for number in range(count):
            ip("netns", "add", f"lt{number}")
            ip("link", "add", f"lt-veth{number}", "type", "veth", "peer", "name", "lt-eth", "netns",
               f"lt{number}")
            ip("link", "set", f"lt-veth{number}", "master", "lt-bridge", "up")
            for command in (["addr", "add", f"10.77.0.{number + 1}/24", "dev", "lt-eth"],
                            ["link", "set", "lt-eth", "up"], ["link", "set", "lo", "up"]):
                ip("-n", f"lt{number}", *command)

    def cut(self, number: int) -> None:
        ip("link", "set", f"lt-veth{number}", "down")

    def close(self) -> None:
        for number in range(len(self.hosts)):
            # at once; with its namespace it would go some time later
            ip("link", "del", f"lt-veth{number}")
            ip("netns", "del", f"lt{number}")
        ip("link", "del", "lt-bridge")


@pytest.fixture
def network():
    if not may_make_namespaces():
        pytest.skip("needs `ip` and the right to make network namespaces")
    made = Network(5)
    yield made
    made.close()


def cpu_config(folder: Path, policy: Path, rows: int, nodes: int) -> list[str]:
    """Flags of a training of `rows` / 4 steps on a CPU; its dataset is written."""
    write_jsonl(RoundFiles(folder, 1).dataset, tasks(rows + 1))
    values = {"run_dir": folder, "student.model": policy, "train.batch_size": 4,
              "train.mini_batch_size": 4, "train.rollouts": 2, "train.nodes": nodes,
              "student.max_response_tokens": 12, "train.epochs": 1}
    flags = ["--config", str(ROOT / "configs" / "laptop.yaml"), "--round", "1",
             *(word for key, value in values.items() for word in ("--set", f"{key}={value}"))]
    subprocess.run([sys.executable, ROOT / "grpotool/dataset/utils/json2parquet.py", *flags],
                   check=True)
    return flags


def multinode(network: Network, shell: str, flags: list[str], nodes: int,
              log: Path) -> subprocess.Popen[bytes]:
    env = {**os.environ, "GLOO_SOCKET_IFNAME": "lt-eth"}
    return subprocess.Popen([sys.executable, "-m", "grpotool.nodes.multinode", *flags, "--hosts",
                             ",".join(network.hosts[:nodes]), "--shell", shell, "--wait", "200"],
                            cwd=ROOT, env=env, stdout=log.open("wb"), stderr=subprocess.STDOUT)


def steps(folder: Path) -> int:
    path = RoundFiles(folder, 1).training / "metrics.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


@pytest.mark.slow
@pytest.mark.cluster
def test_four_come_and_the_fifth_is_named(network, shell, tmp_path):
    network.cut(4)
    hosts, lines = parse_hosts(network.hosts), []
    with launch(hosts, shell, tmp_path, gpus=1) as cluster, pytest.raises(NodeMissing) as missing:
        wait_for_all(cluster, wanted=5, gpus=1, seconds=45, say=lines.append)
    assert len(lines) == 4 and "lt3 (10.77.0.4) joined with 1 GPUs" in "\n".join(lines)
    assert "4 of 5 nodes with 1 GPUs are there; lt4 (10.77.0.5) has not joined: " in str(
        missing.value)
    assert all(f"lt{number} " not in str(missing.value) for number in range(4))
    assert all(member.process.poll() is not None for member in cluster.members)
    time.sleep(1)
    for number in range(5):  # nothing of Ray is left in any of them
        left = subprocess.run(["ip", "netns", "pids", f"lt{number}"], capture_output=True,
                              text=True, check=True)
        assert left.stdout.split() == []


@pytest.mark.slow
@pytest.mark.cluster
def test_three_steps_over_two_nodes_then_one_is_cut_off(network, shell, tmp_path):
    policy, log = make_policy(tmp_path / "policy"), tmp_path / "log"
    flags = cpu_config(tmp_path / "run", policy, rows=400, nodes=2)
    launcher = multinode(network, shell, flags, 2, log)
    try:
        while steps(tmp_path / "run") < 3:
            assert launcher.poll() is None, log.read_text()
            time.sleep(0.5)
        network.cut(1)
        assert launcher.wait(180) == 1
    finally:
        launcher.send_signal(signal.SIGTERM)
        launcher.wait()
    text = log.read_text()
    assert "lt1 (10.77.0.2) is lost: " in text and "lt0 (10.77.0.1) is lost" not in text
    assert "run the same command again" in text


# Without a cluster


def test_hosts(monkeypatch):
    assert str(parse_host("n1=10.0.0.1")) == "n1 (10.0.0.1)"
    assert str(parse_host("127.0.0.1")) == "127.0.0.1"
    with pytest.raises(InputError, match="no.such.host.invalid: the name has no IP address here"):
        parse_hosts(["127.0.0.1", "no.such.host.invalid"])


def test_of_several_hosts_none_is_at_an_address_that_only_it_reaches(monkeypatch):
    """Debian's /etc/hosts has a machine's own name at 127.0.1.1."""
    addresses = {"n1": "127.0.1.1", "10.0.0.1": "10.0.0.1", "n2": "10.0.0.2"}
    monkeypatch.setattr(cluster_module.socket, "gethostbyname", addresses.__getitem__)
    with pytest.raises(InputError,
                       match=r"host n1: resolves to this machine itself \(127.0.1.1\).* "
                             r"n1=ADDRESS"):
        parse_hosts(["n2", "n1"])
    assert [str(host)
            for host in parse_hosts(["n1=10.0.0.1", "n2"])] == ["n1 (10.0.0.1)", "n2 (10.0.0.2)"]
    assert [host.address for host in parse_hosts(["n1"])] == ["127.0.1.1"]


class Scripted(Cluster):
    """A cluster that somebody else started; it gives one answer after another, and the last one for
    ever."""

    def __init__(self, *answers: dict[str, dict[str, Any]]):
        super().__init__("http://head:8265")
        self.answers = list(answers)

    def nodes(self) -> dict[str, dict[str, Any]]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


def node(alive: bool = True, gpus: int = 8, why: str = "") -> dict[str, Any]:
    return {"alive": alive, "gpus": gpus, "why": why}


def test_a_node_that_was_dead_before_is_not_lost(monkeypatch):
    monkeypatch.setattr(cluster_module, "LOOK_SECONDS", 0)
    of_old, lines = {"10.0.0.9": node(alive=False, why="of last week")}, []
    both = {"10.0.0.1": node(gpus=0), "10.0.0.2": node(), **of_old}
    cluster = Scripted({}, of_old, both, {})
    addresses = wait_for_all(cluster, wanted=1, gpus=8, seconds=60, say=lines.append)
    assert (addresses == {"10.0.0.1", "10.0.0.2"}
            and lines == ["cluster: 10.0.0.2 joined with 8 GPUs, 1 of 1"])
    assert lost(cluster, both, addresses) == []
    assert lost(cluster, both | {"10.0.0.2": node(alive=False, why="no power")},
                addresses) == ["10.0.0.2 is lost: no power"]
    assert lost(cluster, of_old, {"10.0.0.1"}) == ["10.0.0.1 is lost: Ray does not list it"]


@pytest.fixture
def quick(monkeypatch):
    """A launcher that looks often and loses patience soon."""
    monkeypatch.setattr(multinode_script, "WATCH_SECONDS", 0.01)
    monkeypatch.setattr(multinode_script, "SILENCE_SECONDS", 0.3)


class Jobs:
    """Stands in for Ray's JobSubmissionClient."""

    def __init__(self, log: Exception | None, *statuses: JobStatus | Exception):
        self.log, self.statuses, self.stopped = log, list(statuses), []

    def submit_job(self, entrypoint: str, runtime_env: dict[str, Any]) -> str:
        return "job-1"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield "a line of the job\n"
        if self.log is None:
            await asyncio.sleep(60)
        elif not isinstance(self.log, StopAsyncIteration):
            raise self.log

    def get_job_status(self, job: str) -> JobStatus:
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(status, Exception):
            raise status
        return status

    def stop_job(self, job: str) -> None:
        self.stopped.append(job)


HERE, GONE, ENDED = ({"head": node(), "b": node()},
                     {"head": node(), "b": node(alive=False, why="no power")}, StopAsyncIteration())
BROKEN, REFUSED = (RuntimeError("WebSocket connection closed unexpectedly"),
                   ConnectionError("Failed to connect to Ray"))
SILENT = ("the head head no longer answers at http://head:8265, for 0 s now; run the same command "
          "again")


@pytest.mark.parametrize("answers, log, statuses, words, stopped", [
    ([HERE], ENDED, [JobStatus.SUCCEEDED], None, False),
    ([HERE], ENDED, [JobStatus.FAILED], "the job ended as FAILED; its log is above", False),
    ([HERE, {}, GONE], None, [JobStatus.RUNNING], "b is lost: no power; run the same command "
                                                  "again", True),
    ([HERE, HERE, HERE, GONE], ENDED, [JobStatus.FAILED], "b is lost: no power; run the same "
                                                          "command again", False),
    ([HERE, {}], None, [REFUSED], SILENT, False),
    ([HERE, {}], BROKEN, [REFUSED], SILENT, False),
    ([HERE], BROKEN, [REFUSED, JobStatus.SUCCEEDED], None, False),
    ([HERE], BROKEN, [JobStatus.RUNNING], "the connection to the job broke, so it is ended; run "
                                          "the same command again", True)])
def test_what_ends_a_job(monkeypatch, caplog, quick, answers, log, statuses, words, stopped):
    jobs = Jobs(log, *statuses)
    monkeypatch.setattr(job_submission, "JobSubmissionClient", lambda url: jobs)
    cluster = Scripted(*answers)
    with pytest.raises(NodeMissing) if words else nullcontext() as ended:
        asyncio.run(follow(cluster, "train", {"head", "b"}))
    assert words is None or str(ended.value).startswith(words)
    assert jobs.stopped == (["job-1"] if stopped else [])
    assert ("the job may go on: ray job stop --address http://head:8265 job-1" in caplog.text) == (
        words == SILENT)


def test_a_reader_who_has_gone_ends_the_job_at_once(monkeypatch):
    jobs = Jobs(BrokenPipeError(), JobStatus.RUNNING)
    monkeypatch.setattr(job_submission, "JobSubmissionClient", lambda url: jobs)
    with pytest.raises(BrokenPipeError):
        asyncio.run(asyncio.wait_for(follow(Scripted(HERE), "train", {"head", "b"}), 20))
    assert jobs.stopped == ["job-1"]


def test_a_node_ends_with_its_pipe(tmp_path):
    """ssh hands a line to a shell, so what is behind a stand-in of that name must be one word;
    stdin ends the node."""
    ssh = program(tmp_path / "ssh", '#!/bin/sh\nshift\necho "words: $#"\nexec sh -c "$1"\n')
    member = start(parse_host("127.0.0.1"), f"{ssh} {{host}}", ["--no-such-flag"], tmp_path / "log")
    assert member.process.wait(60) == 2
    assert ("words: 1" in (tmp_path / "log").read_text()
            and "no such option" in member.last_words().lower())


def test_ssh_takes_variables_along_but_no_secret(tmp_path, monkeypatch):
    """A far side with an environment of its own, as sshd gives it, whose shell reads the line;
    Ray's start is what shows it."""
    for name, value in {"NCCL_SOCKET_IFNAME": "ib0,it's $HOME", "GLOO_SOCKET_IFNAME": "eth0",
                        "HF_HOME": "/m y", "HF_TOKEN": "hf_s", "HF_API_KEY": "hf_k",
                        "OPENAI_API_KEY": "sk", "MY_NCCL_X": "1"}.items():
        monkeypatch.setenv(name, value)
    ssh = program(tmp_path / "ssh", '#!/bin/sh\nshift\nexec env -i PATH="$PATH" sh -c "$1"\n')
    shown = program(tmp_path / "python", "#!/bin/sh\nenv\n")
    monkeypatch.setattr(cluster_module.sys, "executable", str(shown))
    member = start(parse_host("127.0.0.1"), f"{ssh} {{host}}", [], tmp_path / "log")
    assert member.process.wait(60) == 0
    text = (tmp_path / "log").read_text()
    assert {"NCCL_SOCKET_IFNAME=ib0,it's $HOME", "GLOO_SOCKET_IFNAME=eth0",
            "HF_HOME=/m y"} <= set(text.splitlines())
    assert not any(word in text for word in ("hf_s", "hf_k", "OPENAI", "MY_NCCL"))


def test_entrypoint_keeps_odd_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = entrypoint("my config.yaml", ["--set", "run_dir=a b"])
    words = shlex.split(command)
    assert words[:4] == ["cd", str(tmp_path), "&&", "exec"]
    assert words[-4:] == ["--config", str(tmp_path / "my config.yaml"), "--set", "run_dir=a b"]


class Replaced(Exception):
    """By another program, whose command it holds."""


@pytest.mark.parametrize("nodes, flags, trained, local", [
    (1, [], False, True), (4, [], False, False), (4, ["--dry-run"], False, True),
    (4, [], True, True), (4, ["--fresh"], True, False), (1, ["--hosts", "a,b"], False, False)])
def test_one_node_and_nothing_to_do_need_no_cluster(tmp_path, monkeypatch, nodes, flags, trained,
                                                    local):
    def replaced(program, command):
        raise Replaced(command)

    monkeypatch.setattr(multinode_script.os, "execv", replaced)
    for name in [*os.environ]:
        if name.startswith(("SLURM", "RAY", "LOOPTOOL_HOSTS")):
            monkeypatch.delenv(name)
    config = str(ROOT / "configs" / "qwen3_32b.yaml")
    settings = [word for value in (f"run_dir={tmp_path}", f"train.nodes={nodes}")
                for word in ("--set", value)]
    monkeypatch.setattr(sys, "argv",
                        ["multinode.py", "--config", config, "--round", "1", *settings, *flags])
    if trained:
        RoundFiles(tmp_path, 1).policy.mkdir(parents=True)
    with pytest.raises(Replaced if local else InputError) as ended:
        multinode_script.main()
    if local:
        assert ended.value.args[0][1:] == [str(ROOT / "grpotool" / "train.py"), "--config", config,
                                           *flags, "--round", "1", *settings]


def test_the_loop_names_its_hosts_by_the_environment(tmp_path):
    done = subprocess.run(["bash", ROOT / "grpotool" / "multinode_qwen32b.sh", "--round", "1",
                           "--set", f"run_dir={tmp_path}"],
                          capture_output=True, text=True, cwd=ROOT, env={
                              **os.environ,
                              "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                              "LOOPTOOL_HOSTS": "a,b"})
    assert (done.returncode == 2
            and done.stderr == "2 hosts (a, b) and train.nodes=4; make them agree\n")


@pytest.mark.parametrize("flags, words", [
    (["--hosts", "127.0.0.1"], "1 hosts (127.0.0.1) and train.nodes=4"),
    ([], "no machines: give --hosts"),
    (["--hosts", "a", "--address", "http://b:8265"], "give one of them")])
def test_what_the_launcher_refuses(tmp_path, flags, words):
    env = {name: value for name, value in os.environ.items()
           if not name.startswith(("SLURM", "RAY"))}
    done = subprocess.run([sys.executable, "-m", "grpotool.nodes.multinode", "--config",
                           ROOT / "configs/qwen3_32b.yaml", "--round", "1",
                           "--set", f"run_dir={tmp_path}", *flags], capture_output=True, text=True,
                          cwd=ROOT, env=env)
    assert (done.returncode == 2 and words in done.stderr
            and len(done.stderr.splitlines()) == 1), done.stderr
