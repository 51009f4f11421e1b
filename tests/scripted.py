"""A model whose every reply is written down, the small world that it speaks of, and how a script is
run in it."""
from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

from looptool.calling.reply import render_calls
from looptool.json_lines import encode_line
from looptool.models.completion import Reply
from looptool.models.structured_outputs import Form
from looptool.records import Call, Need, Tool

BOOK = Tool(name="book_table", description="Book a table.", domain="food", parameters={
    "type": "object", "required": ["restaurant", "guests"],
    "properties": {"restaurant": {"type": "string"}, "guests": {"type": "integer"},
                   "terrace": {"type": "boolean"}}})
MENU = Tool(name="getMenu", description="Menu of a restaurant.", domain="food", parameters={
    "type": "object", "properties": {"restaurant": {"type": "string"}}, "required": ["restaurant"]})
TOOLS = [BOOK, MENU]


class Scripted:
    """An `ask` that gives each role's replies in their order, and remembers what it was asked."""

    def __init__(self, **replies: list[str]):
        self._replies = {role: iter(texts) for role, texts in replies.items()}
        self.asked: defaultdict[str, list[tuple[list[dict[str, str]], int]]] = defaultdict(list)

    async def __call__(
        self, role: str, chat: list[dict[str, str]], draw: int, form: Form | None = None
    ) -> Reply:
        self.asked[role].append((chat, draw))
        return Reply(text=next(self._replies[role]))

    def draws(self, role: str) -> list[int]:
        return [draw for _, draw in self.asked[role]]


def plan(*needs: Need) -> str:
    return "<plan>\n" + "".join(encode_line(need).decode() for need in needs) + "</plan>"


def call(name: str, **arguments) -> Call:
    return Call(name=name, arguments=arguments)


def calls(*made: Call) -> str:
    """The reply of an assistant that calls."""
    return render_calls(list(made))


def twice(*replies: str) -> list[str]:
    """Each reply as two draws that agree."""
    return [reply for reply in replies for _ in range(2)]


def result(**content) -> str:
    return json.dumps(content)


def script(monkeypatch, module, folder: Path, *flags) -> None:
    """Run a script's main with the laptop config and its own run folder."""
    monkeypatch.setattr(sys, "argv", ["x", *map(str, flags), "--set", f"run_dir={folder}"])
    module.main()


DINNER = Need(kind="multi-step", tools=["getMenu", "book_table"], text="wants to eat out")
BOTH = Need(kind="parallel", tools=["getMenu", "getMenu"], text="compares two menus")
THANKS = Need(kind="chat", tools=[], text="says thanks")


def dinner() -> Scripted:
    """A dialog with a question, an error and its repair, a pair of calls, and a turn without a
    majority."""
    book = call("book_table", restaurant="Océan", guests=4)
    return Scripted(
        planner=[plan(DINNER, BOTH, THANKS)],
        user=["Book a table at Océan.", "For 4.", "What do Océan and Iris serve?", "Thanks!"],
        assistant=[*twice("For how many guests?", calls(book), calls(book),
                          "Your table is booked."),
                   *twice(calls(call("getMenu", restaurant="Océan"),
                                call("getMenu", restaurant="Iris"))),
                   calls(call("getMenu", restaurant="Iris")), "Fish and soup.",
                   calls(call("getMenu", restaurant="A")), *twice("Fish at Océan, soup at Iris."),
                   *twice("My pleasure.")],
        tool=[result(error="kitchen closed"), result(booking=17), result(menu=["fish"]),
              result(menu=["soup"]), result(menu=["soup", "bread"])])
