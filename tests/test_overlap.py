"""Probe, verify and expand at the same time, as real processes: the files of a serial run, whoever
is killed on the way."""
from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from local_server import LocalServer
from loop_world import world
from programs import program, until

from dataloop.error_data_expansion import expand_seeds, student_window
from dataloop.expanding.scenarios import SCENARIOS
from dataloop.greedy_capability_prob import probe_samples
from dataloop.judgement_label_verification import verify_probes, write_consequences
from dataloop.probing.job import prompt_ids
from dataloop.running.overlap import STEPS, wait
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.json_lines import write_jsonl
from looptool.prompts.length import load_tokenizer
from looptool.run_files import RoundFiles
from looptool.simulation.teacher import Teacher
from looptool.stages.follow import Follow, Tail, id_with, is_running
from looptool.stages.journal import Entry, Journal
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import Header, StageMeta, read_meta
from looptool.stages.workers import Outcome

SAMPLES = 60
CHECKPOINT = ROOT / "grpotool" / "tiny_student" / "checkpoint"
FINAL = ("probes.jsonl", "verdicts.jsonl", "error_seeds.jsonl", "label_changes.jsonl",
         "high_ppl.jsonl", "expanded.jsonl")


def flags(run_dir: Path, policy: str, teacher: str) -> list[str]:
    values = (f"run_dir={run_dir}", "probe.engine=endpoint", f"probe.base_urls=[{policy}]",
              "probe.in_flight=4", f"teacher.base_urls=[{teacher}]", "teacher.in_flight=8",
              "expand.per_seed=2", "student.max_prompt_tokens=4096")
    return [word for value in values for word in ("--set", value)]


class World:
    """Servers of policy and teacher, which answer each prompt always alike, and the files of one
    serial run."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.policy, self.teacher = LocalServer(self.continued), LocalServer(self.taught)

    def __enter__(self) -> World:
        self.policy.__enter__()
        self.teacher.__enter__()
        self.config = load_config(ROOT / "configs" / "laptop.yaml", self.flags("serial")[1::2])
        tokenizer, probes = load_tokenizer(str(CHECKPOINT)), world(SAMPLES)
        self.samples = [probe.sample for probe in probes]
        self.replies = {tuple(prompt_ids(tokenizer, probe.sample, self.config.student)): (
            probe.text, probe.perplexity)
                        for probe in probes}
        self.simulated = Teacher(self.config.simulation, 0)
        return self

    def __exit__(self, *_: object) -> None:
        self.policy.__exit__()
        self.teacher.__exit__()

    def flags(self, name: str) -> list[str]:
        return flags(self.folder / name, self.policy.url, self.teacher.url)

    def continued(self, payload: dict) -> dict:
        text, perplexity = self.replies[tuple(payload["prompt"])]
        return {"choices": [{"index": 0, "text": text, "finish_reason": "stop", "logprobs": {
            "token_logprobs": [-perplexity] * 3}}],
                "usage": {"prompt_tokens": 9, "completion_tokens": 3}}

    def taught(self, payload: dict) -> dict:
        return self.simulated.complete(payload)

    def begin(self, name: str) -> RoundFiles:
        """A run's folder with D_1 and a policy."""
        files = RoundFiles(self.folder / name, 1)
        write_jsonl(files.dataset, self.samples)
        files.policy.symlink_to(CHECKPOINT)
        return files

    def run_serially(self) -> RoundFiles:
        files, config = self.begin("serial"), self.config
        asyncio.run(probe_samples(config, files.dataset, files.probes, str(files.policy)))
        asyncio.run(verify_probes(config, files.probes, files.verdicts))
        write_consequences(config, files.probes, files.folder, 1)
        asyncio.run(expand_seeds(config, files.error_seeds, SCENARIOS, files.expanded, 1,
                                 student_window(config)))
        return files

    def start(self, files: RoundFiles) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, ROOT / "dataloop/running/overlap.py", "--config",
             ROOT / "configs" / "laptop.yaml", "--round", "1", *self.flags(files.run_dir.name)],
            env={**os.environ, "CI": "1"}, stderr=subprocess.PIPE, text=True)


@pytest.fixture(scope="module")
def loop(tmp_path_factory) -> Iterator[World]:
    with World(tmp_path_factory.mktemp("overlap")) as here:
        yield here


@pytest.fixture(scope="module")
def serial(loop: World) -> RoundFiles:
    return loop.run_serially()


def children(process: subprocess.Popen[str]) -> dict[str, int]:
    """Process numbers of the steps, by their script."""
    found = {}
    for number in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        command = Path(f"/proc/{number}/cmdline").read_bytes().decode().split("\0")
        found[Path(command[1]).name if len(command) > 1 else ""] = int(number)
    return found


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def same(meta: StageMeta | None) -> StageMeta:
    """What must not depend on how a stage was run: all but its time, and what the cache spared
    it."""
    assert meta is not None
    return msgspec.structs.replace(meta, seconds=0, usage={}, cost_of_a_record={})


def assert_as_serial(files: RoundFiles, serial: RoundFiles) -> None:
    for name in FINAL:
        assert (files.folder / name).read_bytes() == (serial.folder / name).read_bytes(), name
    for name in ("probes.jsonl", "verdicts.jsonl", "expanded.jsonl"):
        assert same(read_meta(files.folder / name)) == same(read_meta(serial.folder / name))
    assert not list(files.folder.glob("*.journal"))


@pytest.mark.slow
def test_all_three_at_once_give_the_files_of_a_serial_run(loop: World, serial: RoundFiles) -> None:
    files = loop.begin("at_once")
    expanding = files.folder / "expanded.jsonl.journal"
    loop.policy.hold = lambda server: server.count > SAMPLES + 40
    process = loop.start(files)
    # the policy's last answers are held back until something is expanded
    until(lambda: lines(expanding) > 1)
    assert not files.probes.exists()
    loop.policy.hold = lambda server: False
    assert process.wait(240) == 0, process.stderr.read()
    assert_as_serial(files, serial)


@pytest.mark.slow
def test_whoever_is_killed_the_next_run_goes_on_and_ends_alike(loop: World,
                                                               serial: RoundFiles) -> None:
    files, asked = loop.begin("killed"), loop.policy.count
    allowed = 0
    # so that no run comes to its end
    loop.policy.hold = lambda server: server.count - asked > allowed
    for victim, journal, allowed in (("judgement_label_verification.py", "verdicts.jsonl", 25),
                                     ("running/overlap.py", "expanded.jsonl", 45)):
        path = files.folder / f"{journal}.journal"
        before, process = lines(path), loop.start(files)
        until(lambda: lines(path) > before + 2)
        steps = children(process)
        if victim == "running/overlap.py":
            process.send_signal(signal.SIGINT)
            assert process.wait(240) == 130
        else:
            os.kill(steps[victim], signal.SIGKILL)
            assert process.wait(240) == 2
            assert f"{victim} has ended with code -9" in process.stderr.read()
        assert len(steps) == 3 and not any(map(is_running, steps.values()))
    allowed = 1000
    assert loop.start(files).wait(240) == 0
    assert_as_serial(files, serial)
    # what was finished is not asked again; 4 are in flight
    assert loop.policy.count - asked <= SAMPLES + 2 * 4


def steps_of(folder: Path, script: str, flags: list[str]) -> list[str]:
    """What a script runs, by a python that only tells it."""
    program(folder / "python", '#!/bin/bash\n[[ "$1" == *steps_left.py ]] && echo run_round.sh:1 '
            'evaluate_heldout.sh:1 || echo "$(basename "$1") ${*:2}"\n')
    return subprocess.run(["bash", ROOT / "scripts" / script, *flags], check=True, text=True,
                          stdout=subprocess.PIPE,
                          env={"PATH": f"{folder}:{os.environ['PATH']}"}).stdout.splitlines()


@pytest.mark.parametrize("flags, overlapped", [
    (["--overlap", "--set", "a=b"], True), (["--set", "a=b"], False),
    (["--tools", "X", "--overlap", "--set", "a=b"], True),
    (["--overlap", "--tools", "X", "--set", "a=b"], True),
    (["--set", "a=b", "--tools", "X", "--overlap"], True)])
def test_the_loops_own_flags_go_where_they_belong_in_any_order(tmp_path: Path, flags: list[str],
                                                               overlapped: bool) -> None:
    said = steps_of(tmp_path, "run_loop.sh", flags)
    assert all(line.endswith("--set a=b") and "--overlap" not in line for line in said)
    assert ("overlap.py --set a=b" in said) == overlapped
    assert (f"{STEPS[1]} --set a=b" in said) != overlapped
    assert [line for line in said if "--tools" in line] == (
        ["synthesize_tools.py --tools X --set a=b"] if "X" in flags else [])


@pytest.mark.parametrize("flags", [["--overlap", "--round", "2"], ["--round", "2", "--overlap"]])
def test_a_round_overlaps_wherever_the_flag_stands(tmp_path: Path, flags: list[str]) -> None:
    said = steps_of(tmp_path, "run_round.sh", flags)
    assert said[-3:] == ["multinode.py --round 2", "overlap.py --round 2",
                         "next_round.py --round 2"] and len(said) == 5


def test_a_step_that_fails_ends_the_others() -> None:
    steps = [subprocess.Popen(["sleep", "60"]), subprocess.Popen(["false"]),
             subprocess.Popen(["sleep", "60"])]
    with pytest.raises(InputError,
                       match="judgement_label_verification.py has ended with code 1, so the "
                             "others"):
        wait(steps)
    assert [step.returncode for step in steps] == [-signal.SIGTERM, 1, -signal.SIGTERM]


class Producer:
    """The stage before, as far as a follower sees it: a process, a journal, and at last an
    output."""

    def __init__(self, folder: Path):
        self.output, self.process = folder / "first.jsonl", subprocess.Popen(["sleep", "60"])
        self.journal = Journal(folder / "first.jsonl.journal")
        self.journal.start(Header(stage="first", settings={}, sources={}))
        self.records: list[dict[str, int]] = []

    def finish(self, *numbers: int) -> None:
        for number in numbers:
            self.records.append({"n": number, "probed": 1})
            line = msgspec.Raw(msgspec.json.encode(self.records[-1]))
            self.journal.append(Entry(id=str(number), reason="", records=[line]))

    def end(self, written: bool = True) -> None:
        if written:
            write_jsonl(self.output, sorted(self.records, key=lambda record: record["n"]))
            (self.output.parent / "first.jsonl.meta.json").write_bytes(
                msgspec.json.encode(StageMeta(
                stage="first", settings={}, sources={}, version="0", inputs=0, counts={}, failed=0,
                failures={}, records=0, usage={}, seconds=0)))
        self.journal.close(remove=written)
        self.process.kill()


@pytest.fixture
def producer(tmp_path: Path) -> Iterator[Producer]:
    made = Producer(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()


async def second(producer: Producer, worked_on: list[int], settings: dict = {}, follow: bool = True,
                 **more) -> StageMeta:
    """A stage that takes odd numbers twice."""
    def inputs_of(record: dict) -> Iterator[tuple[str, int]]:
        return ((id_with(f"{record['n']}/{part}", record), record["n"])
                for part in range(2 * (record["n"] % 2)))

    def all_inputs() -> Iterator[tuple[str, int]]:
        return (pair for line in producer.output.read_bytes().splitlines()
                for pair in inputs_of(msgspec.json.decode(line)))

    async def work(number: int) -> Outcome:
        worked_on.append(number)
        return Outcome([{"twice": 2 * number}], "done")

    followed = Follow(producer.output, dict, producer.process.pid, inputs_of,
                      producer.output) if follow else None
    return await run_stage("second", Inputs(all_inputs), work,
                           producer.output.with_name("second.jsonl"), settings=settings,
                           sources=[producer.output], in_flight=3, follow=followed, **more)


async def till(condition: Callable[[], object]) -> None:
    for _ in range(500):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("has not come in time")


def test_a_follower_works_while_the_stage_before_runs_and_writes_in_its_order(
        producer: Producer, tmp_path: Path) -> None:
    async def scene() -> StageMeta:
        task, worked_on = asyncio.create_task(second(producer, worked_on := [])), worked_on
        producer.finish(5, 4)
        await till(lambda: worked_on == [5, 5])
        producer.finish(1)
        await till(lambda: worked_on == [5, 5, 1, 1])
        assert not (tmp_path / "second.jsonl").exists()
        producer.records.append({"n": 3, "probed": 1})  # finished in its last moment
        producer.end()
        meta = await task
        assert worked_on == [5, 5, 1, 1, 3, 3]
        return meta

    meta = asyncio.run(scene())
    assert (tmp_path / "second.jsonl").read_bytes() == b"".join(b'{"twice":%d}\n' % n
                                                                for n in (2, 2, 6, 6, 10, 10))
    # waiting is no work
    assert meta.inputs == 6 and len(meta.sources["first.jsonl"]) == 64 and meta.seconds < 0.2
    assert not (tmp_path / "second.jsonl.journal").exists()


def test_what_was_done_ahead_of_another_content_is_done_again(producer: Producer,
                                                              tmp_path: Path) -> None:
    async def scene() -> None:
        task = asyncio.create_task(second(producer, worked_on := []))
        producer.finish(5, 7)
        await till(lambda: len(worked_on) == 4)
        task.cancel()
        producer.records = [{"n": 7, "probed": 1}, {"n": 5, "probed": 2}]
        producer.end()
        await asyncio.wait([task])
        # a serial run takes over what is still true
        await second(producer, again := [], follow=False)
        assert again == [5, 5]

    asyncio.run(scene())
    assert (tmp_path / "second.jsonl").read_bytes() == b"".join(b'{"twice":%d}\n' % n
                                                                for n in (10, 10, 14, 14))


def test_a_follower_says_that_the_stage_before_has_died(producer: Producer, tmp_path: Path) -> None:
    producer.finish(1)
    producer.end(written=False)
    with pytest.raises(InputError, match=r"first.jsonl: is not finished, and process \d+.* has "
                                         r"ended; run its step again"):
        asyncio.run(second(producer, worked_on := []))
    # what it had, was taken
    assert worked_on == [1, 1] and (tmp_path / "second.jsonl.journal").exists()


def test_a_follower_takes_no_source_that_is_older_than_what_it_is_made_from(producer: Producer,
                                                                            tmp_path: Path) -> None:
    source = tmp_path / "source.jsonl"
    source.write_text("of yesterday")
    os.utime(source, (0, 0))
    producer.end()
    follow = Follow(producer.output, dict, producer.process.pid, lambda record: [], source)

    async def read() -> list[tuple[str, dict]]:
        return [pair async for pair in follow.inputs()]

    with pytest.raises(InputError, match="source.jsonl: is not finished"):
        asyncio.run(read())
    source.write_text("of today")
    assert asyncio.run(read()) == []


def test_a_follower_refuses_other_settings_and_waits_where_it_is_complete(producer: Producer,
                                                                          tmp_path: Path) -> None:
    producer.finish(1)
    producer.end()
    asyncio.run(second(producer, []))
    with pytest.raises(InputError, match="settings.a: absent -> 1"):
        asyncio.run(second(producer, [], {"a": 1}))
    asyncio.run(second(producer, worked_on := []))
    assert worked_on == []
    asyncio.run(second(producer, worked_on, fresh=True))
    assert worked_on == [1, 1]


def test_lines_are_taken_when_they_are_whole(tmp_path: Path) -> None:
    path, tail = tmp_path / "journal", Tail(tmp_path / "journal")
    entries = [msgspec.json.encode(Entry(id=str(number), reason="r", records=[])) + b"\n"
               for number in range(3)]
    text = b"".join([b'{"the":"header"}\n', *entries])
    seen: list[str] = [entry.id for entry in tail.new_entries()]
    for length in range(len(text) + 1):
        path.write_bytes(text[:length])
        seen += [entry.id for entry in tail.new_entries()]
        assert len(seen) == max(text[:length].count(b"\n") - 1, 0)
    assert seen == ["0", "1", "2"]
    path.write_bytes(text + b'{"half":\n')
    with pytest.raises(InputError, match="was begun anew meanwhile"):
        list(tail.new_entries())


def test_a_process_that_has_ended_does_not_run() -> None:
    process = subprocess.Popen(["sleep", "60"])
    assert is_running(process.pid) and is_running(os.getpid())
    process.kill()
    until(lambda: not is_running(process.pid))  # nobody has asked for its exit code yet
    process.wait()
    assert not is_running(process.pid)
