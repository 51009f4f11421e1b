"""The roles of the data loop (sections 4.3 and 4.4), played by rules: judge, generator, checker."""
from __future__ import annotations

import json
import random
from collections.abc import Sequence
from typing import Any

import msgspec

from looptool.prompts.render import render_conversation
from looptool.records import Call, Message
from looptool.simulation.roles.prompt import Prompt
from looptool.simulation.world.catalogue import siblings
from looptool.simulation.world.kinds import kind_of
from looptool.simulation.world.noise import corrupt
from looptool.simulation.world.rules import same_calls
from looptool.simulation.world.tasks import KINDS, TEXT_KINDS, Unspeakable, draw_task
from looptool.simulation.world.truth import Truth, truth

BETTER = ("1", "2", "both", "neither")
SAME_SKILL = 0.75
"""Share of new conversations that ask for what the seed's asked for; the others for anything."""


def judge(prompt: Prompt) -> str:
    """<tools>, <conversation>, <candidate_1>, <candidate_2> -> JSON with "analysis", "approach" and
    "better"."""
    first, second = (msgspec.json.decode(prompt.block(f"candidate_{i}"), type=Message)
                     for i in (1, 2))
    rights = [_seems_right(candidate, prompt) for candidate in (first, second)]
    better = {(True, False): "1", (False, True): "2",
              (True, True): "both"}.get(tuple(rights), "neither")
    rng = prompt.rng("judge", json.dumps(prompt.chat, sort_keys=True), str(prompt.draw),
                     prompt.model)
    if rng.random() < prompt.rates.judge_error:
        better = rng.choice([other for other in BETTER if other != better])
    if rng.random() < prompt.rates.judge_first_bias:
        better = "1"
    return _reply(rng, prompt, {"analysis": f"Right by the conversation: {better}.",
                                "approach": "Take every value from the conversation.",
                                "better": better})




def check(prompt: Prompt) -> str:
    """<tools>, <conversation>, <answer> -> JSON with "analysis" and "correct"."""
    answer = msgspec.json.decode(prompt.block("answer"), type=Message)
    correct = _seems_right(answer, prompt)
    rng = prompt.rng("checker")
    if rng.random() < prompt.rates.judge_error:
        correct = not correct
    return _reply(rng, prompt,
                  {"analysis": "It does what the user asks." if correct else "It does not.",
                   "correct": correct})


def _reply(rng: random.Random, prompt: Prompt, content: dict[str, Any]) -> str:
    text = json.dumps(content)
    if rng.random() < prompt.rates.malformed:
        text = text[:len(text) // 2]
    return f"<think>\nLet me compare.\n</think>\n\n{text}"


def _seems_right(answer: Message, prompt: Prompt) -> bool:
    """Whether it is right; of the teacher's own kind a judge takes the teacher's errors for it."""
    tools, history = prompt.tools, prompt.conversation
    now = truth(tools, history)
    error = _shared_error(prompt, history, now)
    if error is not None:
        return same_calls(answer, error)
    if now is None:
        return _looks_right(answer, history)
    return now.accepts(answer, [tool.name for tool in tools])


def _shared_error(prompt: Prompt, history: Sequence[Message],
                  now: Truth | None) -> list[Call] | None:
    return prompt.teachers_error(history, now) if prompt.rates.judge_shares_blind_spots else None


def _looks_right(answer: Message, history: Sequence[Message]) -> bool:
    """For conversations of other worlds: all values of the calls stand in the conversation."""
    heard = " ".join(message.content for message in history).lower()
    values = [value for call in answer.calls for value in _leaves(call.arguments)]
    return bool(answer.calls) and all(str(value).lower() in heard
                                      for value in values if not isinstance(value, bool))


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for entry in value.values() for leaf in _leaves(entry)]
    if isinstance(value, list):
        return [leaf for entry in value for leaf in _leaves(entry)]
    return [value]


def generate(prompt: Prompt) -> str:
    """<tools>, <conversation>, <right>, <scenario> -> a new <conversation> about the same tools,
    mostly one that asks for the same skill, and its <answer>."""
    rng, tools = prompt.rng("generator"), prompt.tools
    right = msgspec.json.decode(prompt.block("right"), type=Message)
    kind = kind_of(tools, prompt.conversation)
    if kind is None or rng.random() >= SAME_SKILL:
        kinds = {kind: weight for kind, weight in KINDS.items()
                 if (kind in TEXT_KINDS) != bool(right.calls)}
        kind = rng.choices(list(kinds), list(kinds.values()))[0]
    names = {call.name for call in right.calls}
    wanted = [tool for tool in tools if tool.name in names]
    if kind == "alike":
        wanted += [other for tool in wanted for other in siblings(tool, tools)]
    try:
        task = draw_task(rng, tools, "train", kind, wanted)
    except Unspeakable:
        return "<think>\nI have no idea for these tools.\n</think>\n\nSorry."
    answer = Message(role="assistant", calls=list(task.truth.calls),
                     content="" if task.truth.calls else "I see.")
    error = _shared_error(prompt, task.messages, task.truth)
    if error is not None:
        answer = Message(role="assistant", calls=error, content="" if error else "I see.")
    elif rng.random() < prompt.rates.generator_error:
        answer = Message(role="assistant", calls=corrupt(rng, answer.calls, tools)[1])
    text = (f"<think>\nAnother scene with the same tools.\n</think>\n\n<conversation>\n"
            f"{render_conversation(task.messages)}\n</conversation>\n"
            f"<answer>\n{render_conversation([answer])}\n</answer>")
    return text[:len(text) // 2] if rng.random() < prompt.rates.malformed else text


LOOP_ROLES = {"judge": judge, "generator": generate, "checker": check}
