"""The stage runner with scripted work: order, resume, refusals, failures, bounds, the last line."""
import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import time

import msgspec
import pytest

from looptool.command import run_main
from looptool.errors import InputError, StageFailed
from looptool.models.completion import CallFailed, Usage
from looptool.stages.journal import Journal, journal_path
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import FOLLOWED, Header, StageMeta
from looptool.stages.workers import Outcome

INPUTS = [(f"id{number}", number) for number in range(40)]


async def double(number):
    await asyncio.sleep(random.random() * 0.01)
    return Outcome([{"n": number, "copy": copy} for copy in range(number % 3)],
                   ["none", "one", "two"][number % 3])


def run(tmp_path, work=double, inputs=INPUTS, settings={"t": {"a": 1, "b": [1, 2]}}, in_flight=8,
        **kwargs):
    source = tmp_path / "source.jsonl"
    if not source.exists():
        source.write_text("source")
    return asyncio.run(run_stage("test", inputs, work, tmp_path / "out.jsonl", settings=settings,
                                 sources=[source], in_flight=in_flight, **kwargs))


def files(tmp_path):
    return sorted(path.name for path in tmp_path.iterdir() if path.name != "source.jsonl")


def recording(work, worked_on):
    async def wrapped(record):
        worked_on.append(record)
        return await work(record)

    return wrapped


def failing(*numbers):
    async def work(number):
        if number in numbers:
            await asyncio.sleep(0.001)
            raise CallFailed("no answer in 5 tries; last: status 500")
        return await double(number)

    return work


EXPECTED = b"".join(b'{"n":%d,"copy":%d}\n' % (number, copy) for number in range(40)
                    for copy in range(number % 3))


def test_output_is_in_the_order_of_the_inputs_and_explained(tmp_path):
    meta = run(tmp_path)
    assert (tmp_path / "out.jsonl").read_bytes() == EXPECTED
    assert files(tmp_path) == ["out.jsonl", "out.jsonl.meta.json"]
    assert msgspec.json.decode((tmp_path / "out.jsonl.meta.json").read_bytes(),
                               type=StageMeta) == meta
    assert (meta.counts == {"none": 14, "one": 13, "two": 13}
            and (meta.inputs, meta.records, meta.failed) == (40, 39, 0))
    assert meta.settings == {"t": {"a": 1, "b": [1, 2]}} and list(meta.sources) == ["source.jsonl"]


def test_any_in_flight_gives_the_same_bytes(tmp_path):
    for in_flight in (1, 64):
        run(tmp_path, inputs=Inputs(lambda: (pair for pair in INPUTS)), in_flight=in_flight,
            fresh=True)
        assert (tmp_path / "out.jsonl").read_bytes() == EXPECTED


def test_complete_output_leaves_nothing_to_do(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    first, worked_on = run(tmp_path), []
    assert run(tmp_path, work=recording(double, worked_on)) == first
    assert worked_on == [] and "nothing to do" in caplog.messages[-1]


def test_leftover_journal_of_a_complete_output_goes(tmp_path):
    run(tmp_path)
    (tmp_path / "out.jsonl.journal").write_bytes(b"")
    run(tmp_path)
    assert files(tmp_path) == ["out.jsonl", "out.jsonl.meta.json"]


def crash_at(number):
    async def work(record):
        if record == number:
            await asyncio.sleep(0.02)
            raise ZeroDivisionError
        return await double(record)

    return work


def test_a_bug_ends_the_stage_and_what_is_finished_stays(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, work=crash_at(30))
    assert files(tmp_path) == ["out.jsonl.journal"]
    worked_on = []
    run(tmp_path, work=recording(double, worked_on))
    assert 30 in worked_on and len(worked_on) < 30
    assert (tmp_path / "out.jsonl").read_bytes() == EXPECTED


def test_failed_input_has_no_record_and_is_tried_again(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    meta = run(tmp_path, work=failing(4, 5))
    assert meta.failed == 2 and meta.failures == {"no answer in 5 tries; last: status 500": 2}
    assert (sum(meta.counts.values()) == 38 and "2 failed" in caplog.messages[-1]
            and "id4" in caplog.messages[-2])
    lines = (tmp_path / "out.jsonl").read_bytes().splitlines(keepends=True)
    assert lines == [line for line in EXPECTED.splitlines(keepends=True)
                     if line[:6] not in (b'{"n":4', b'{"n":5')]
    worked_on = []
    meta = run(tmp_path, work=recording(failing(5), worked_on))
    assert sorted(worked_on) == [4, 5] and meta.failed == 1
    meta = run(tmp_path)
    assert ((meta.failed, meta.inputs) == (0, 40)
            and (tmp_path / "out.jsonl").read_bytes() == EXPECTED)
    assert files(tmp_path) == ["out.jsonl", "out.jsonl.meta.json"]


@pytest.mark.parametrize("header, tried", [
    (None, True), ({"source.jsonl": "1a2b"}, False), ({"source.jsonl": FOLLOWED}, True)])
def test_what_failed_stays_out_once_a_later_output_has_begun_with_what_is_there(tmp_path, caplog,
                                                                                header, tried):
    caplog.set_level(logging.INFO)
    later, worked_on = tmp_path / "later.jsonl", []
    first = run(tmp_path, work=failing(4, 5))
    if header:
        journal = Journal(journal_path(later))
        journal.start(Header(stage="later", settings={}, sources=header))
        journal.close()
    meta = run(tmp_path, work=recording(failing(4, 5), worked_on),
               later=[tmp_path / "absent.jsonl", later])
    assert (meta.failed == 2 and sorted(worked_on) == ([4, 5] if tried else [])
            and (meta == first) != tried)
    assert tried or caplog.messages[-1] == (
        f"test: {tmp_path}/out.jsonl is complete, 2 failed earlier stay out, as {later} "
        "was made from what is there (--fresh begins anew)")
    assert run(tmp_path, later=[later], fresh=True).failed == 0


def test_a_damaged_journal_of_a_later_output_is_named(tmp_path):
    run(tmp_path, work=failing(4))
    journal_path(tmp_path / "later.jsonl").write_bytes(b"{\n")
    with pytest.raises(InputError, match="later.jsonl.journal:1: damaged line"):
        run(tmp_path, later=[tmp_path / "later.jsonl"])


def test_all_failed_is_an_error_with_the_first_cause_and_writes_nothing(tmp_path):
    with pytest.raises(StageFailed,
                       match="every input.*id0: no answer in 5 tries; last: status 500"):
        run(tmp_path, work=failing(*range(40)), in_flight=1)
    assert files(tmp_path) == []


def test_dead_endpoint_stops_the_stage_early(tmp_path):
    worked_on = []
    with pytest.raises(StageFailed, match="in a row"):
        run(tmp_path, work=recording(failing(*range(200, 5000)), worked_on),
            inputs=[(str(number), number) for number in range(5000)])
    assert 300 <= len(worked_on) <= 400 and files(tmp_path) == ["out.jsonl.journal"]


def test_failures_between_answers_do_not_stop_the_stage(tmp_path):
    meta = run(tmp_path, work=failing(*range(0, 220, 2)),
               inputs=[(str(number), number) for number in range(220)],
               in_flight=1)
    assert (meta.failed, sum(meta.counts.values())) == (110, 110)


@pytest.mark.parametrize("how", ["complete", "begun", "with failures"])
def test_changed_settings_are_refused_key_by_key(tmp_path, how):
    work = {"complete": double, "begun": crash_at(30), "with failures": failing(3)}[how]
    try:
        run(tmp_path, work=work)
    except ZeroDivisionError:
        pass
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    with pytest.raises(InputError) as error:
        run(tmp_path, settings={"t": {"a": 2, "b": [1, 2]}, "new": True})
    assert ("settings.t.a: 1 -> 2" in str(error.value)
            and "settings.new: absent -> true" in str(error.value))
    assert "t.b" not in str(error.value) and "--fresh" in str(error.value)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before
    meta = run(tmp_path, settings={"t": {"a": 2}}, fresh=True)
    assert meta.settings == {"t": {"a": 2}} and (tmp_path / "out.jsonl").read_bytes() == EXPECTED


def test_changed_source_is_refused(tmp_path):
    run(tmp_path)
    (tmp_path / "source.jsonl").write_text("other")
    with pytest.raises(InputError, match="sources.source.jsonl: .* -> "):
        run(tmp_path)


def test_absent_source_is_named(tmp_path):
    with pytest.raises(InputError, match="absent.jsonl: cannot be read"):
        asyncio.run(run_stage("test", INPUTS, double, tmp_path / "out.jsonl", settings={},
                              sources=[tmp_path / "absent.jsonl"], in_flight=1))
    assert files(tmp_path) == []


def test_output_of_unknown_origin_is_not_overwritten(tmp_path):
    (tmp_path / "out.jsonl").write_text("by hand\n")
    with pytest.raises(InputError, match="without its .meta.json"):
        run(tmp_path)
    assert files(tmp_path) == ["out.jsonl"]


def test_id_twice_is_found_before_any_work(tmp_path):
    worked_on = []
    with pytest.raises(InputError, match="two inputs have the id 'id7'"):
        run(tmp_path, work=recording(double, worked_on), inputs=[*INPUTS, ("id7", 0)])
    assert worked_on == [] and files(tmp_path) == []


def test_inputs_that_can_be_read_once_only_are_refused(tmp_path):
    with pytest.raises(AssertionError, match="read twice"):
        run(tmp_path, inputs=(pair for pair in INPUTS))


def broken_after(count):
    yield from INPUTS[:count]
    raise InputError("samples.jsonl:21: not valid")


def test_wrong_record_is_found_before_any_work(tmp_path):
    worked_on = []
    with pytest.raises(InputError, match="samples.jsonl:21"):
        run(tmp_path, work=recording(double, worked_on), inputs=Inputs(lambda: broken_after(20)))
    assert worked_on == [] and files(tmp_path) == []


def test_a_file_that_is_damaged_while_it_is_read_loses_nothing(tmp_path):
    readings = iter([INPUTS, broken_after(20)])
    with pytest.raises(InputError, match="samples.jsonl:21"):
        run(tmp_path, inputs=Inputs(lambda: next(readings)), in_flight=2)
    with Journal_of(tmp_path) as journal:
        assert len(journal) >= 18


class Journal_of:
    def __init__(self, tmp_path):
        self._journal = Journal(tmp_path / "out.jsonl.journal")

    def __enter__(self):
        return self._journal

    def __exit__(self, *_):
        self._journal.close()


def test_torn_last_line_is_dropped_wherever_it_is_torn(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, work=crash_at(39))
    path = tmp_path / "out.jsonl.journal"
    whole = path.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    header = whole.index(b"\n") + 1
    for length in [*range(last, len(whole)), *range(0, header, 7)]:
        path.write_bytes(whole[:length])
        with Journal_of(tmp_path) as journal:
            assert len(journal) == (0 if length < header else whole.count(b"\n") - 2)
            assert (journal.header is None) == (length < header)
        assert path.read_bytes() == (b"" if length < header else whole[:last])
    path.write_bytes(whole[:-4])
    run(tmp_path)
    assert (tmp_path / "out.jsonl").read_bytes() == EXPECTED


def test_damaged_line_inside_the_journal_is_named(tmp_path):
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, work=crash_at(39))
    path = tmp_path / "out.jsonl.journal"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], b"{oops\n", *lines[3:]]))
    with pytest.raises(InputError, match="out.jsonl.journal:4: damaged"):
        run(tmp_path)


def test_litter_of_a_killed_write_is_cleared(tmp_path):
    (tmp_path / ".out.jsonl.x1y2").write_text("half")
    run(tmp_path)
    assert files(tmp_path) == ["out.jsonl", "out.jsonl.meta.json"]


def test_two_processes_do_not_write_one_output(tmp_path):
    async def meanwhile(number):
        if number == 0:
            with pytest.raises(InputError, match="another process"):
                await run_stage("test", INPUTS, double, tmp_path / "out.jsonl", settings={},
                                sources=[], in_flight=1)
        return await double(number)

    assert run(tmp_path, work=meanwhile).records == 39


@pytest.mark.parametrize("folder",
                         ["file", "file/below", pytest.param("locked", marks=pytest.mark.skipif(
    os.geteuid() == 0, reason="root may write anywhere"))])
def test_folder_that_cannot_be_written_is_found_before_any_work(tmp_path, folder):
    (tmp_path / "file").write_text("")
    (tmp_path / "locked").mkdir(mode=0o500)
    worked_on = []
    with pytest.raises(InputError, match="cannot be written"):
        asyncio.run(run_stage("test", INPUTS, recording(double, worked_on),
                              tmp_path / folder / "out.jsonl", settings={}, sources=[],
                              in_flight=1))
    assert worked_on == []


def test_window_is_bounded_whatever_the_number_of_inputs(tmp_path):
    taken = finished = widest = 0

    def inputs():
        nonlocal taken, widest
        taken = widest = 0  # of the second reading, in which they are worked on
        for number in range(3000):
            taken += 1
            widest = max(widest, taken - finished)
            yield str(number), number

    async def work(number):
        nonlocal finished
        await asyncio.sleep(0)
        finished += 1
        return Outcome([], "done")

    assert run(tmp_path, work=work, inputs=Inputs(inputs)).inputs == 3000
    assert 0 < widest <= 8


def test_accounts_are_kept_over_a_crash(tmp_path):
    def once(crash):
        usage = {}

        async def work(number):
            account = usage.setdefault("judge", Usage())
            account.calls += 1
            account.prompt_tokens += 1000
            account.dollars += 0.5
            return await crash_at(30 if crash else -1)(number)

        return run(tmp_path, work=work, usage=usage, in_flight=1)

    with pytest.raises(ZeroDivisionError):
        once(crash=True)
    meta = once(crash=False)
    assert meta.usage["judge"] == Usage(calls=40, prompt_tokens=40000, dollars=20.0)
    assert meta.line() == ("test: 40 in -> 14 none, 13 one, 13 two; 39 records, "
                           f"{meta.seconds:.1f} s")
    assert meta.cost_of_a_record == {"calls": 1.0, "prompt_tokens": 1025.6,
                                     "completion_tokens": 0.0}


def test_quiet_under_ci_and_where_nobody_looks(tmp_path, capfd, monkeypatch):
    monkeypatch.setenv("CI", "1")
    run(tmp_path)
    monkeypatch.delenv("CI")
    run(tmp_path, fresh=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("raised, code", [
    (InputError("wrong.jsonl:3: mend\nthis"), 2), (StageFailed("wrong.jsonl:3: mend\nthis"), 1),
    (KeyboardInterrupt(), 130)])
def test_run_main_exits(raised, code, caplog):
    def main():
        raise raised

    with pytest.raises(SystemExit) as end:
        run_main(main)
    assert end.value.code == code
    assert caplog.messages == (["wrong.jsonl:3: mend this"] if code < 130 else [])


def test_run_main_hides_no_bug():
    with pytest.raises(ZeroDivisionError):
        run_main(lambda: 1 / 0)


SCRIPT = """
import asyncio, sys
from looptool.command import run_main
from looptool.stages.llm_stage import run_stage
from looptool.stages.workers import Outcome
async def work(number):
    await asyncio.sleep(0 if number < 5 else 60)
    return Outcome([number], "done")
numbers = [(str(n), n) for n in range(20)]
run_main(lambda: asyncio.run(run_stage("test", numbers, work, sys.argv[1] + "/out.jsonl",
                                       settings={}, sources=[], in_flight=2)))
"""


def test_ctrl_c_keeps_what_is_finished(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", SCRIPT, str(tmp_path)],
                               stderr=subprocess.PIPE, text=True)
    journal = tmp_path / "out.jsonl.journal"
    while not journal.exists() or journal.read_bytes().count(b"\n") < 6:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == "" and process.returncode == 130
    with Journal_of(tmp_path) as kept:
        assert len(kept) == 5
