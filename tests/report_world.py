"""A run of one round, in files, that can be counted by hand; its models wrote hostile text."""
from __future__ import annotations

import json
from pathlib import Path

import msgspec

from dataloop.mixing.manifest import Manifest
from dataloop.reporting.files import read_report
from dataloop.reporting.page.render import render_page
from dataloop.reporting.page.samples import SampleData, collect_samples
from dataloop.reporting.skills import World
from dataloop.reporting.table import make_table
from looptool.config import Config
from looptool.config_file import ROOT, load_config
from looptool.ids import sample_id
from looptool.json_lines import write_json, write_jsonl
from looptool.models.completion import Usage
from looptool.records import (
    Call, ErrorSeed, LabelChange, Message, Probe, Sample, Tool, Verdict, Vote)
from looptool.run_files import RoundFiles
from looptool.stages.meta import StageMeta, meta_path

HOSTILE = ('</pre><script>alert("x")</script>'
           '<img src="http://evil.example/a.png" onerror=alert(1)>{{table}}&amp;')
TOOL = Tool(name="get_weather",
            parameters={"type": "object", "properties": {"city": {"type": "string"}}})
UNSPOKEN = "A sentence of another world."


def answer(city: str) -> Message:
    return Message(role="assistant", calls=[Call(name="get_weather", arguments={"city": city})])


RIGHT, WRONG, OTHER = answer("Bern"), answer("Rome"), answer(HOSTILE)


def sample(text: str, label: Message = RIGHT, **fields) -> Sample:
    messages = [Message(role="user", content=text)]
    return Sample(id=sample_id([TOOL], "unknown", messages, label), tools=[TOOL], date="unknown",
                  messages=messages, label=label, **fields)


def known(task: Sample, given: Message) -> bool | None:
    """A world in which Bern is always right, and some texts were never spoken."""
    return None if task.messages[0].content == UNSPOKEN else given.calls == RIGHT.calls


WORLD = World(known, lambda task, given: "capital" if given.calls == WRONG.calls else None,
              lambda task: {"a": "first", "d": "rare"}.get(task.messages[0].content))
"""Rome for Bern is a rule; what is neither "a" nor "d" is of no known kind."""


def probe(task: Sample, prediction: Message, perplexity: float = 1.1,
          faults: tuple[str, ...] = ()) -> Probe:
    reason = "match" if prediction.calls == task.label.calls and not faults else "wrong_value"
    return Probe(sample=task, text=HOSTILE, prediction=prediction, faults=list(faults),
                 reason=reason, perplexity=perplexity, tokens=9, finish="stop")


def verdict(of: Probe, name: str, *votes: str) -> Verdict:
    return Verdict(probe=of, verdict=name, votes=[
        Vote(verdict=vote, label_first=index == 0, judge="j", draw=0, analysis=HOSTILE, approach="")
        for index, vote in enumerate(votes)])


def change(of: Verdict) -> LabelChange:
    task, new = of.probe.sample, of.probe.prediction
    return LabelChange(old_id=task.id, new_id=sample_id([TOOL], "unknown", task.messages, new),
                       old_label=task.label, new_label=new, round=1, votes=of.votes)


def relabeled(of: Verdict) -> ErrorSeed:
    task = msgspec.structs.replace(of.probe.sample, id=change(of).new_id, label=of.probe.prediction)
    return ErrorSeed(sample=task, wrong=of.probe.sample.label, cause="relabeled",
                     analysis=HOSTILE, approach="")


def explain(output: Path, stage: str, seconds: float, **usage: Usage) -> None:
    meta = StageMeta(stage=stage, settings={"note": HOSTILE}, sources={}, version="0", inputs=4,
                     failed=0, failures={}, counts={"accepted": 3, "unjudged": 1}, records=3,
                     usage=usage, seconds=seconds)
    meta_path(output).write_bytes(msgspec.json.encode(meta))


D1 = [sample("a"), sample(f"b {HOSTILE}"), sample("c"), sample("d", WRONG), sample(UNSPOKEN)]
PROBES = [probe(D1[0], RIGHT, 1.25), probe(D1[1], WRONG, 1.5), probe(D1[2], OTHER),
          probe(D1[3], RIGHT), probe(D1[4], WRONG)]
VERDICTS = [verdict(PROBES[1], "PRED_WRONG", "PRED_WRONG", "PRED_WRONG"),
            verdict(PROBES[2], "LABEL_WRONG", "LABEL_WRONG", "LABEL_WRONG"),
            verdict(PROBES[3], "LABEL_WRONG", "LABEL_WRONG", "LABEL_WRONG"),
            verdict(PROBES[4], "UNDECIDED", "PRED_WRONG", "LABEL_WRONG")]
HELDOUT = [sample(f"held out {index}") for index in range(4)]


def config(run_dir: Path, rounds: int = 1) -> Config:
    return load_config(ROOT / "configs" / "laptop.yaml", [f"run_dir={run_dir}", f"rounds={rounds}"])


def small_run(tmp_path: Path) -> Config:
    """One whole round of five samples, and the dataset after it."""
    start, first = RoundFiles(tmp_path, 0), RoundFiles(tmp_path, 1)
    write_jsonl(start.heldout_probes, [probe(HELDOUT[0], RIGHT),
                                       *(probe(task, WRONG) for task in HELDOUT[1:])])
    write_jsonl(first.heldout_probes, [*(probe(task, RIGHT) for task in HELDOUT[:3]),
                                       probe(HELDOUT[3], RIGHT, faults=("bad_json",))])
    write_jsonl(first.dataset, D1)
    first.training.mkdir()
    (first.training / "metrics.jsonl").write_text("".join(
        json.dumps({"step": step,
                    "data": {"critic/score/mean": step / 10, "timing_s/step": 1.5}}) + "\n"
        for step in range(1, 6)))
    write_jsonl(first.probes, PROBES)
    write_jsonl(first.high_ppl, [PROBES[0], probe(sample("f"), RIGHT, 1.2)])
    write_jsonl(first.verdicts, VERDICTS)
    write_jsonl(first.label_changes, [change(VERDICTS[1]), change(VERDICTS[2])])
    kept = ErrorSeed(sample=D1[1], wrong=WRONG, cause="mispredicted", analysis="", approach="")
    write_jsonl(first.error_seeds, [kept, relabeled(VERDICTS[1]), relabeled(VERDICTS[2])])
    replaced = change(VERDICTS[2])
    expanded = [sample("e1", origin="expanded", source=HOSTILE, round=1, parent=replaced.new_id),
                sample("e2", origin="expanded"), sample("e3", WRONG, origin="expanded")]
    write_jsonl(first.expanded, expanded)
    explain(first.expanded, "expand", 2.5,
            generator=Usage(calls=4, prompt_tokens=4000, completion_tokens=600))
    explain(first.verdicts, "verify", 1.5)
    explain(first.train_parquet, "json2parquet", 1.0)
    explain(first.test_parquet, "json2parquet", 1.0)
    explain(start.heldout_probes, "probe", 0.5)
    write_jsonl(first.next().dataset, [msgspec.structs.replace(D1[0], origin="high_ppl"),
                                       *expanded, sample("new")])
    manifest = Manifest(round=2, size=0, counts={}, left_out={"duplicate": 7},
                        notes=[f"fewer seeds {HOSTILE}"], seed=0, mix={}, sources={}, checkpoint={})
    write_json(first.next().folder / "dataset.meta.json", manifest)
    return config(tmp_path)


def samples_of(config: Config, world: World | None = WORLD) -> SampleData:
    """What the browser of the page holds, of round 1 and the dataset after it."""
    rounds = [RoundFiles(config.run_dir, number) for number in (1, 2)]
    return collect_samples(rounds, world and world.right)


def page_of(config: Config, world: World | None = WORLD) -> str:
    report = read_report(config, world, f"command {HOSTILE}")
    return render_page(report, make_table(report), samples_of(config, world))
