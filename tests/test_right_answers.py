"""What counts as right: held-out accuracy, by whatever measure, is what the reward pays."""
from __future__ import annotations

import pytest

from dataloop.probing.job import Generation, make_probe
from dataloop.report import simulated_world
from dataloop.reporting.measures import predicted_right
from grpotool.reward import GroundTruth, compute_score
from grpotool.tiny_student.evaluate import is_right
from looptool.calling.reply import render_calls
from looptool.json_lines import encode_line
from looptool.simulation.heldout import heldout_samples


@pytest.mark.parametrize("text, reason", [
    ("I see.", "match"), ("...", "empty"), ("{tool}(x=1)", "untagged_call"),
    ("<tool_response>\n1\n</tool_response>", "invented_turn"), ("<tool_call>", "malformed"),
    ("{right}", "match"), ("{right}\n<tool_response>\n1\n</tool_response>", "invented_turn"),
    ("{right}\n<tool_call>", "malformed")])
def test_held_out_answers_are_right_where_the_reward_pays(text, reason):
    world, seen = simulated_world(), set()
    for task in heldout_samples(28):
        label = task.label
        given = text.format(tool=task.tools[0].name, right=render_calls(label.calls) or "I see.")
        probe = make_probe(task, Generation(given, 1.0, 3, "stop"))
        row = GroundTruth(role="assistant", calls=label.calls,
                          tools=[tool.name for tool in task.tools])
        paid = compute_score("", given, encode_line(row))["score"] == 1
        assert predicted_right(probe, world.right) == paid == probe.matches == is_right(task, given)
        seen.add(probe.reason)
    assert reason in seen
