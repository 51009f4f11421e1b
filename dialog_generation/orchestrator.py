"""Who speaks when: the one place that knows whose turn it is (section 3).

For each need: user, then assistant and tools until the assistant answers in text; a text that ends
with a question gives the turn back to the user within the same need. The dialog ends when it has
its length, or with its plan.
"""
from __future__ import annotations

import asyncio

from dialog_generation.agents import Abandoned, Ask, Cast
from dialog_generation.needs import how_served
from dialog_generation.scene import Scene, improvised_needs
from looptool.config import Dialogs
from looptool.records import Dialog, Message, Need

MAX_STEPS = 6
"""Assistant turns after one message of the user; with more the need counts as not served."""
MAX_QUESTIONS = 3
"""Times that the user answers within one need."""
QUESTION_MARKS = ("?", "？")


async def play(scene: Scene, ask: Ask, dialogs: Dialogs, seed: int) -> tuple[Dialog, str]:
    """One dialog, and how it ended: "complete"; "plan_ended", short of its length; "stuck" in a
    need, which is left out.

    Raises:
        Abandoned: too many bad turns, or stuck in the first need.
        CallFailed: a call got no answer.
    """
    cast = Cast(scene.tools, scene.date, ask, dialogs, f"{seed}:{scene.id}")
    needs = await cast.plan(scene.turns,
                            scene.plans) if dialogs.plan else improvised_needs(scene, seed)
    messages: list[Message] = []
    how: list[str] = []
    end = "plan_ended"
    for need in needs:
        served = await serve(cast, messages, need)
        if served is None:
            end = "stuck"
            break
        how.append(how_served(need, served[len(messages):]))
        messages = served
        if len(messages) >= scene.messages:
            end = "complete"
            break
    if not messages:
        raise Abandoned("stuck")
    return Dialog(id=scene.id, tools=scene.tools, date=scene.date, plan=needs, messages=messages,
                  served=how), end


async def serve(cast: Cast, history: list[Message], need: Need) -> list[Message] | None:
    """The history with one need served; None where the assistant does not come to an answer."""
    for _ in range(1 + MAX_QUESTIONS):
        history = [*history, await cast.speak(history, need)]
        answered = await answer(cast, history)
        if answered is None or not answered[-1].content.rstrip().endswith(QUESTION_MARKS):
            return answered
        history = answered
    # it asks once more and gets no answer: the need ends with its question
    return history


async def answer(cast: Cast, history: list[Message]) -> list[Message] | None:
    """The history up to the assistant's next text, with the calls and results before it; None after
    MAX_STEPS turns."""
    for _ in range(MAX_STEPS):
        turn = await cast.assist(history)
        if not turn.calls:
            return [*history, turn]
        results = await asyncio.gather(*(cast.run(history, call) for call in turn.calls))
        history = [*history, turn, *results]
    return None
