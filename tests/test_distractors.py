"""Samples whose label is right by construction: that they are new, keep to all rules, and are what
the world calls right."""
from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from loop_world import ALARM, WEATHER, is_right, loop_config, says, task, weather, world

from dataloop.error_data_expansion import checked_distractor, expand_seeds
from dataloop.expanding.distractors import QUALIFIERS, WAYS, distracted, qualified
from dataloop.expanding.scenarios import SCENARIOS
from looptool.config import Expand
from looptool.config_file import ROOT, load_config
from looptool.errors import InputError
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Call, ErrorSeed, Message, Sample, Tool
from looptool.simulation.world.kinds import kind_of
from looptool.stages.meta import read_meta


def seed_of(sample) -> ErrorSeed:
    return ErrorSeed(sample=sample, wrong=says(""), cause="mispredicted", analysis="", approach="")


def test_the_label_stays_right_in_the_simulated_world_and_keeps_to_the_rules():
    ways, kinds = Counter(), Counter()
    for probe in world(120, wrong_labels=0.0):
        seed = seed_of(probe.sample)
        for number in range(3):
            new = distracted(seed, number, 2, "0")
            if new is None:
                continue
            way = new.source.removeprefix("distractor:")
            ways[way] += 1
            assert checked_distractor(new, lambda sample: True) is new
            assert new.label == probe.sample.label and new.id != probe.sample.id
            assert (new.parent, new.origin, new.round) == (probe.sample.id, "expanded", 2)
            if way != "indirect":  # a yes is no sentence of this world
                assert is_right(new, new.label), new
                kinds[way, kind_of(new.tools, new.messages)] += 1
    assert set(ways) == {"like_tools", "indirect", "failed_result"} and min(ways.values()) > 20
    assert (kinds["failed_result", "retry"] == ways["failed_result"]
            and kinds["like_tools", "alike"] > 10)


def test_a_seed_gets_every_way_once_and_the_same_ones_again():
    seed = seed_of(task("Rome"))
    made = [distracted(seed, number, 1, "0") for number in range(3)]
    assert len({new.source for new in made}) == 3
    assert made == [distracted(seed, number, 1, "0") for number in range(3)]
    like = next(new for new in made if new.source == "distractor:like_tools")
    assert len(like.tools) == 3 and like.tools[-1] == ALARM and WEATHER in like.tools
    failed = next(new for new in made if new.source == "distractor:failed_result")
    assert [message.role for message in failed.messages] == ["user", "assistant", "tool"]
    assert failed.messages[1].calls == [weather("Rome")] and "error" in failed.messages[2].content


def test_there_are_no_more_of_a_seed_than_ways():
    laptop = ROOT / "configs" / "laptop.yaml"
    assert load_config(laptop, [f"expand.distractors={len(WAYS)}"]).expand.distractors == len(WAYS)
    with pytest.raises(InputError, match="expand.distractors"):
        load_config(laptop, [f"expand.distractors={len(WAYS) + 1}"])


@pytest.mark.parametrize("name, named",
                         [("get_weather", "get_weather_bulk"), ("setAlarm", "setAlarmBulk"),
                          ("send-mail", "send-mail-bulk")])
def test_a_like_tool_is_named_in_the_style_of_its_own(name, named):
    like = qualified(Tool(name=name, description="Does it."), "bulk")
    assert (like.name, like.description) == (named, "Does it in bulk.")


def test_what_has_no_distractor():
    assert distracted(seed_of(task("Rome", says("Which city?"))), 0, 1, "0") is None
    done = task("Rome")
    done.messages = [*done.messages, says("", weather("Oslo")), Message(role="tool", content="{}")]
    done.tools = [qualified(tool, word) for tool in done.tools for word in list(QUALIFIERS)[:1]]
    done.label = says("", Call(name="get_weather_draft", arguments={"city": "Rome"}))
    found = {new.source for number in range(3)
             if (new := distracted(seed_of(done), number, 1, "0"))}
    assert found == {"distractor:failed_result"}


def test_the_stage_makes_them_beside_the_generators_and_records_nothing_of_them_where_they_are_off(
        tmp_path):
    seeds = [seed_of(probe.sample) for probe in world(12, wrong_labels=0.0)
             if probe.sample.label.calls]
    for count in (0, 3):
        folder = tmp_path / str(count)
        config = loop_config(folder, expand=Expand(per_seed=1, distractors=count))
        write_jsonl(folder / "seeds.jsonl", seeds)
        output = folder / "expanded.jsonl"
        meta = asyncio.run(expand_seeds(config, folder / "seeds.jsonl", SCENARIOS, output, 1,
                                        lambda sample: True))
        assert meta.inputs == len(seeds) * (1 + count)
        made = [sample for sample in read_jsonl(output, Sample)
                if sample.source.startswith("distractor:")]
        assert len(made) > len(seeds) if count else not made
        assert read_meta(output).settings["expand"].get("distractors") == (count or None)
