"""The four agents of dialog generation (section 3), played by rules: planner, user, assistant,
tool."""
from __future__ import annotations

import json
import random
from collections.abc import Sequence

import msgspec

from looptool.calling.schema_check import check_calls
from looptool.prompts.render import render_answer
from looptool.records import Call, Message, Need, Tool
from looptool.simulation.roles.prompt import Prompt, read_chat
from looptool.simulation.world.catalogue import lore_of
from looptool.simulation.world.language import Request, Voice, phrases
from looptool.simulation.world.noise import corrupt
from looptool.simulation.world.tasks import (
    TRANSIENT_ERROR, changed, draw_request, draw_sequence, foreign_tools, incomplete, missing_cues,
    user)
from looptool.simulation.world.truth import Truth, reports_error, truth
from looptool.simulation.world.values import draw_value

NEED_KINDS = {"single-step": 60, "parallel": 13, "multi-step": 15, "chat": 12}
COMPLEX_FROM = 3
"""A plan of so many needs has a complex one among them."""
INCOMPLETE, AGAIN, DETAILED = 0.13, 0.4, 0.3
"""Share of single-step needs opened without a required value, of repeated tools asked for by "same
again", and of single-step needs that say most of what is optional."""

SPOKEN = {
    "train": {"unclear": "I am not sure what you mean.", "done": "Done.",
              "chat": "You are welcome.", "no_tool": "None of my tools can do that.",
              "and": " and ", "ask": "Which {cues} should I use?", "want": "wants to {wanted}",
              "want nothing": "asks for nothing the tools do"},
    "chinese": {"unclear": "我不太明白您的意思。", "done": "已经完成。", "chat": "不客气。",
                "no_tool": "现有的函数都做不到。",
                "and": "、", "ask": "请问 {cues} 是什么？", "want": "想要 {wanted}",
                "want nothing": "要的不是这些函数能做的"}}
"""What planner and assistant say, by the wording of the user."""


def plan(prompt: Prompt) -> str:
    """<tools>, <turns> -> a <plan> of one Need a line; of three or more at least one is complex."""
    rng, tools, turns = prompt.rng("plan"), prompt.tools, int(prompt.block("turns"))
    kinds = rng.choices(list(NEED_KINDS), list(NEED_KINDS.values()), k=turns)
    if turns >= COMPLEX_FROM and not {"parallel", "multi-step"} & set(kinds):
        kinds[rng.randrange(turns)] = rng.choice(("parallel", "multi-step"))
    needs, last = [], rng.choice(tools)
    for kind in kinds:
        last = last if rng.random() < 0.3 else rng.choice(tools)
        other = rng.choice([tool for tool in tools if tool.name != last.name] or tools)
        names = {"single-step": [last.name], "chat": []}.get(kind, [last.name, other.name])
        wanted = ", ".join(lore_of(tool).intents[0] for name in names
                           for tool in tools if tool.name == name)
        spoken = SPOKEN[prompt.wording]
        needs.append(Need(kind=kind, tools=names,
                          text=spoken["want"].format(wanted=wanted) if wanted
                          else spoken["want nothing"]))
    return "<plan>\n" + "\n".join(msgspec.json.encode(need).decode()
                                  for need in needs) + "\n</plan>"


def speak(prompt: Prompt) -> str:
    """<tools>, <conversation>, <need> -> what the user says next: an answer to a question, or the
    need."""
    rng, tools, history = prompt.rng("user"), prompt.tools, prompt.conversation
    now = truth(tools, history)
    for _ in range(40):
        voice = Voice(rng, phrases(prompt.wording))
        text, meant = _answer(rng, now, voice) if now and now.kind == "ask" else _open(
            rng, msgspec.json.decode(prompt.block("need"), type=Need), tools, now, voice)
        heard = truth(tools, [*history, user(text)])
        if heard is not None and (heard.kind, heard.requests) == meant:
            return text
    return Voice(rng, phrases(prompt.wording)).say_chat()


Said = tuple[str, tuple[str, tuple[Request, ...]]]
"""A sentence, and the kind and requests of the Truth that whoever hears it should come to."""


def _answer(rng: random.Random, now: Truth, voice: Voice) -> Said:
    """The values that the first incomplete request lacks."""
    index = next(index for index, request in enumerate(now.requests) if request.missing)
    tool, arguments = now.requests[index].tool, now.requests[index].arguments
    slots = {slot.name: slot for slot in lore_of(tool).slots}
    values = {name: draw_value(rng, slots[name]) for name in now.requests[index].missing}
    requests = (*now.requests[:index], Request(tool, {**arguments, **values}),
                *now.requests[index + 1:])
    kind = "ask" if any(request.missing for request in requests) else "call"
    return voice.say_answer(tool, values), (kind, requests)


def _open(rng: random.Random, need: Need, tools: Sequence[Tool], now: Truth | None,
          voice: Voice) -> Said:
    wanted = [next((tool for tool in tools if tool.name == name), tools[0]) for name in need.tools]
    if need.kind == "chat" or not wanted:
        return _chat(rng, tools, voice)
    if need.kind == "parallel":
        both = draw_request(rng, wanted[0]), draw_request(rng, wanted[-1])
        return voice.say_pair(*both), ("call", both)
    if need.kind == "multi-step":
        drawn = draw_sequence(rng, wanted[1:] or wanted)
        if drawn is not None:
            both = draw_request(rng, wanted[0]), drawn[1]
            return voice.say_sequence(*both), ("call", both)
    return _single(rng, wanted[0], now, voice)


def _single(rng: random.Random, tool: Tool, now: Truth | None, voice: Voice) -> Said:
    last = now.requests[0] if now and now.kind == "done" and len(now.requests) == 1 else None
    if last is not None and last.tool.name == tool.name and rng.random() < AGAIN:
        change = changed(rng, last)
        if change is not None:
            return (voice.say_again(tool, change),
                    ("call", (Request(last.tool, {**last.arguments, **change}),)))
    request = draw_request(rng, tool, 0.7 if rng.random() < DETAILED else 0.05)
    parts = incomplete(rng, request) if rng.random() < INCOMPLETE else None
    if parts is None:
        return voice.say_single(request), ("call", (request,))
    return voice.say_single(parts[0]), ("ask", (parts[0],))


def _chat(rng: random.Random, tools: Sequence[Tool], voice: Voice) -> Said:
    if rng.random() < 0.5:
        foreign = rng.choice(foreign_tools(tools, "train"))
        return voice.say_single(draw_request(rng, foreign)), ("no_tool", ())
    return voice.say_chat(), ("chat", ())


def assist(prompt: Prompt) -> str:
    """System text with <tools>, then the chat so far -> the next assistant turn, wrong at the
    planted rates."""
    tools, history = prompt.tools, read_chat(prompt.chat[1:])
    now = truth(tools, history)
    answer = Message(role="assistant", content=_text(now, SPOKEN[prompt.wording]),
                     calls=list(now.calls) if now else [])
    error = prompt.teachers_error(history, now)
    if error is not None:
        text = "" if error else SPOKEN[prompt.wording]["no_tool"]
        answer = Message(role="assistant", content=text, calls=error)
    rng = prompt.rng("draw_noise")
    if rng.random() < prompt.rates.draw_noise:
        answer = Message(role="assistant", calls=corrupt(rng, answer.calls, tools)[1])
    text = f"<think>\n{_thought(now)}\n</think>\n\n{render_answer(answer)}"
    return text[:-15] if answer.calls and rng.random() < prompt.rates.malformed else text


def _text(now: Truth | None, spoken: dict[str, str]) -> str:
    if now is None:
        return spoken["unclear"]
    if now.kind == "ask":
        request = next(request for request in now.requests if request.missing)
        return spoken["ask"].format(
            cues=spoken["and"].join(missing_cues(request.tool, request.missing)))
    return spoken.get(now.kind, "")


def _thought(now: Truth | None) -> str:
    return {None: "I cannot tell what is wanted.", "call": "All values are given, so I call.",
            "ask": "A required value is missing, so I ask.", "done": "The results are in."}.get(
                now and now.kind, "No tool is needed.")


def run_tool(prompt: Prompt) -> str:
    """<tools>, <conversation> that ends before the call, <call> -> the result as a JSON object,
    errors included."""
    tools, history = prompt.tools, prompt.conversation
    call = msgspec.json.decode(prompt.block("call"), type=Call)
    if check_calls([call], tools) and not any(tool.name == call.name for tool in tools):
        return json.dumps({"error": f"unknown tool {call.name}"})
    rng = prompt.rng("tool")
    just_failed = (bool(history) and history[-1].role == "tool"
                   and reports_error(history[-1].content))
    if not just_failed and rng.random() < prompt.rates.tool_error:
        return json.dumps(TRANSIENT_ERROR)
    now = truth(tools, history)
    result = {"status": "ok"}
    for tool, name in now.coming if now else ():
        slot = next(slot for slot in lore_of(tool).slots if slot.name == name)
        result[name] = draw_value(rng, slot)
    return json.dumps(result, ensure_ascii=False)


DIALOG_ROLES = {"planner": plan, "user": speak, "assistant": assist, "tool": run_tool}
