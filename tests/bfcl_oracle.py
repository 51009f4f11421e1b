"""A model that knows BFCL's answers: it replies from the ground truth, or, as an anti-oracle, wrong
to every task.

It reads bfcl-eval's data files, and finds the task of a request by its "user". Java and JavaScript
values are written as code of the language, which is what the official scorer reads; where that is
odd, a comment says so.
"""
from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from looptool.calling.reply import render_calls
from looptool.records import Call

Json = dict[str, Any]
NOTHING = ""


def read_lines(path: Path) -> Iterator[Json]:
    with path.open(encoding="utf-8") as file:
        yield from map(json.loads, file)


class Oracle:
    """Answers of one version of bfcl-eval, whose folder `data` this is."""

    def __init__(self, data: Path, wrong: bool = False):
        self.wrong = wrong
        self.tasks = {task["id"]: task for path in data.glob("BFCL_v?_*.json")
                      if "format_sensitivity" not in path.name for task in read_lines(path)}
        self.truths = {truth["id"]: truth["ground_truth"]
                       for path in (data / "possible_answer").glob("BFCL_v?_*.json")
                       for truth in read_lines(path)}
        self._parameters = {doc["name"]: list(doc["parameters"]["properties"])
                            for path in (data / "multi_turn_func_doc").glob("*.json")
                            for doc in read_lines(path)}

    def reply(self, payload: Json) -> Json:
        """A chat completion, for local_server."""
        from local_server import completion  # this module must also load where there is no aiohttp

        return completion(self.answer(payload["user"], payload["messages"]))

    def answer(self, task: str, chat: list[dict[str, str]]) -> str:
        """The reply to a task at this point of its conversation."""
        if task.startswith("multi_turn"):
            return "I will not." if self.wrong else self._next_turn(task, chat)
        calls_expected = "irrelevance" not in task
        if not calls_expected or task not in self.truths:
            return (render_calls([Call("anything", {})]) if calls_expected != self.wrong
                    else "Nothing to call.")
        calls = [Call(name, arguments) for name, arguments in self.calls(task)]
        return render_calls([Call(call.name, call.arguments | {"no_such_argument": 1})
                             for call in calls] if self.wrong
                            else calls)

    def calls(self, task: str) -> Iterator[tuple[str, Json]]:
        """The calls of a task of one turn, each value the first possible one. Two truths misspell
        their function."""
        for truth in self.truths[task]:
            (name, possible), = truth.items()
            docs = self.tasks[task]["function"]
            doc = docs[0] if len(docs) == 1 else next(doc for doc in docs if doc["name"] == name)
            properties, required = doc["parameters"]["properties"], doc["parameters"]["required"]
            chosen = {key: first(values) for key, values in possible.items()
                      if (first(values) != NOTHING or key in required and NOTHING in values)
                      and (key in properties or NOTHING not in values)}
            if "java" in task:
                write = as_javascript if "javascript" in task else as_java
                chosen = {key: write(value, properties[key]["type"],
                                     properties[key].get("items", {}).get("type"))
                          for key, value in chosen.items()}
            yield doc["name"], chosen

    def _next_turn(self, task: str, chat: list[dict[str, str]]) -> str:
        """All calls of the turn at once; then, with their results in, a word."""
        if chat[-1]["content"].startswith("<tool_response>"):
            return "Done."
        turn = sum(message["role"] == "user"
                   and not message["content"].startswith("<tool_response>")
                   for message in chat)
        return (render_calls([self._read(call) for call in self.truths[task][turn - 1]])
                or "I cannot do that yet.")

    def _read(self, text: str) -> Call:
        """A call written in Python."""
        call = ast.parse(text, mode="eval").body
        names = self._parameters[call.func.id]
        return Call(call.func.id,
                    {name: ast.literal_eval(value) for name, value in zip(names, call.args)}
                    | {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords})


def first(possible: list[Any]) -> Any:
    """The first value that is no "leave it out"; each key of a dictionary has possible values
    itself."""
    value = _plain(possible)
    if isinstance(value, list):
        return [_one_of_each(item) for item in value]
    return _one_of_each(value)


def _one_of_each(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: _plain(values) for key, values in value.items() if _plain(values) != NOTHING}


def _plain(possible: list[Any]) -> Any:
    return next((value for value in possible if value != NOTHING), NOTHING)


def as_java(value: Any, of_type: str, item_type: str | None = None) -> str:
    """Java code for a value."""
    if isinstance(value, list) and of_type == "ArrayList":
        quoted = (f'"{item}"' if item_type == "String" else as_java(item, item_type or "any")
                  for item in value)
        return f"new ArrayList<>(Arrays.asList({', '.join(quoted)}))"
    if isinstance(value, list):  # quotes would be taken as part of an array's strings
        items = ", ".join(as_java(item, item_type or "any") for item in value)
        return f"new {item_type}[]{{{items}}}"
    if isinstance(value, dict):
        puts = (f'put("{key}", {_quoted(item) if isinstance(item, str) else as_java(item, "any")});'
                for key, item in value.items())
        return f"new HashMap<>() {{{{ {' '.join(puts)} }}}}"
    if isinstance(value, bool):
        return str(value).lower()
    ending = {"long": "L", "float": "f"}.get(of_type, "")
    return f"{value}{'' if isinstance(value, str) else ending}"


def as_javascript(value: Any, of_type: str, item_type: str | None = None) -> str:
    """JavaScript code for a value."""
    if isinstance(value, (list, dict, bool)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _quoted(text: str) -> str:
    return f'"{text}"'
