"""What the doctor says of the teacher's replies: whether they keep to a schema, and how many were
cut."""
from __future__ import annotations

import msgspec
import pytest
from local_server import LocalServer
from test_doctor import make_config
from test_structured import ALL, keeps, refuses

from grpotool.doctor.replies import check_cut, check_structured
from looptool.config import MaxTokens, Teacher
from looptool.models.completion import Usage
from looptool.run_files import RoundFiles
from looptool.stages.meta import StageMeta, meta_path


@pytest.mark.parametrize(
    "kept, refused, mode, found",
    [
        (ALL, (), "auto", "ok   {url} keeps replies of m to a schema"),
        (ALL, (), "on", "ok   {url} keeps replies of m to a schema"),
        (
            (),
            (),
            "auto",
            "warn {url} takes response_format and does not keep to it, asked for m -> its replies",
        ),
        (
            (),
            (),
            "on",
            "FAIL {url} takes response_format and does not keep to it, asked for m -> set teacher",
        ),
        (
            (),
            ALL,
            "auto",
            'warn {url} refuses response_format ({{"error": "no such schema"}}), asked for m ->',
        ),
        ((), (), "off", "skip structured replies: teacher.structured is off"),
    ],
)
def test_servers_are_asked_for_a_structured_reply(tmp_path, kept, refused, mode, found):
    with LocalServer(keeps(*kept), fault=refuses(*refused)) as server:
        config = make_config(
            tmp_path, teacher=Teacher(base_urls=[server.url], models=["m"], structured=mode)
        )
        [line] = map(str, check_structured(config, RoundFiles(tmp_path, 1)))
    assert line.startswith(found.format(url=server.url))
    assert server.count == (0 if mode == "off" else 2 if kept else 1)


@pytest.mark.parametrize("url", ["simulated", "http://127.0.0.1:9/v1", ""])
def test_no_server_is_no_failure_here(tmp_path, monkeypatch, url):
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    config = make_config(tmp_path, teacher=Teacher(base_urls=[url] if url else [], models=["m"]))
    assert [line.state for line in check_structured(config, RoundFiles(tmp_path, 1))] == ["skip"]


def test_a_server_without_a_reply_is_said(tmp_path):
    with LocalServer(fault=lambda *_: "503") as server:
        config = make_config(tmp_path, teacher=Teacher(base_urls=[server.url], models=["m"]))
        [line] = map(str, check_structured(config, RoundFiles(tmp_path, 1)))
    assert line.startswith(f"warn {server.url} gives no reply (status 503), asked for m")


def write_meta(path, **usage: Usage) -> None:
    path.parent.mkdir(exist_ok=True)
    meta = StageMeta(
        stage="s",
        settings={},
        sources={},
        version="0",
        inputs=1,
        counts={},
        failed=0,
        failures={},
        records=1,
        usage=usage,
        seconds=1.0,
    )
    meta_path(path).write_bytes(msgspec.json.encode(meta))


def test_cut_replies_are_counted_over_the_run_and_many_are_warned_of(tmp_path):
    files = RoundFiles(tmp_path, 1)
    config = make_config(tmp_path, teacher=Teacher(models=["m"], max_tokens=MaxTokens(judge=512)))
    assert [str(line) for line in check_cut(config, files)] == [
        "skip cut replies: the teacher has not been asked yet"
    ]
    write_meta(
        tmp_path / "dialogs.jsonl",
        planner=Usage(calls=100, cut=2, unstructured=100),
        user=Usage(calls=900),
    )
    assert [line.state for line in check_cut(config, files)] == ["ok"]
    write_meta(files.verdicts, judge=Usage(calls=200, cut=30), policy=Usage(calls=10**6))
    (files.folder / "dataset.meta.json").write_text('{"size": 3}')
    assert [str(line) for line in check_cut(config, files)] == [
        "ok   of the teacher's 1,200 replies so far 32 were cut, 100 kept to no schema though one "
        "was wanted",
        "warn 30 of 200 replies of the judge were cut -> raise teacher.max_tokens.judge (512), or "
        "see whether the model repeats itself",
    ]
    simulated = make_config(tmp_path, teacher=Teacher(base_urls=["simulated"], models=["m"]))
    assert [line.state for line in check_cut(simulated, files)] == ["skip"]
