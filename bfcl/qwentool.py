"""The handler: bfcl-eval's tasks as our prompts, a model's replies as bfcl-eval's calls. For v3 and
v4 alike.

Thin over looptool.prompts.render and looptool.calling.reply, so that a model is measured by the
prompt it was trained with. It needs bfcl-eval, so only bfcl.launch imports it.

What is decided here
- Function docs become tools with a JSON Schema ("dict" is object, "float" number), after
  bfcl-eval's own hints on Java and JavaScript. The prompt "native" gives them to the server
  instead, for its chat template to show as the model knows it; that is how an untrained model is
  best asked.
- A system message of the dataset stands after our system text. Functions that a task holds back at
  first come as text in a user message, as bfcl-eval gives them to every local model.
- A reply with anything unreadable holds no call, as in bfcl-eval's own Qwen handler. So it is wrong
  where a call is asked for, and right where none is; the card says how many there were.
- Reasoning is not shown to the model again.
"""
from __future__ import annotations

import builtins
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from bfcl_eval.constants.category_mapping import VERSION_PREFIX
from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_utils
from bfcl_eval.model_handler import utils as handler_utils
from bfcl_eval.model_handler.base_handler import BaseHandler

from bfcl.card import hash_text
from bfcl.official.results import FINISHES
from bfcl.system_text import system_text
from looptool.calling.reply import parse_reply
from looptool.foreign.conversations import write_tools
from looptool.foreign.tool_objects import read_tool
from looptool.models.completion import Reply
from looptool.prompts.render import ChatMessage, render_messages, without_turn_markers
from looptool.records import Call, Message, Tool

Ask = Callable[..., Reply]
"""(chat, tools or None, id of the task) -> Reply."""
Prompt = str
"""Whose system text: "full" or "short", which are ours; "native", what the model's chat template
makes from tools; or a file with {{tools}}, and {{date}} if it likes, for models that were trained
with another."""

VERSION: Literal["v3", "v4"] = "v3" if VERSION_PREFIX == "BFCL_v3" else "v4"
NO_FUNCTION = "undefined_function()"
"""What a call becomes that only Python would understand: the error that any unknown function
gives."""


def read_tools(functions: list[dict[str, Any]], category: str) -> list[Tool]:
    """bfcl-eval's function docs as tools; v4 has put its hints in when it loads them."""
    if VERSION == "v3":
        functions = handler_utils.func_doc_language_specific_pre_processing(functions, category)
    return [read_tool(function) for function in functions]


def render(tools: list[Tool], system: str, messages: list[Message],
           prompt: Prompt) -> list[ChatMessage]:
    """The whole prompt of a step; `system` is the dataset's own system message, or ""."""
    parts = [] if prompt == "native" else [system_text(tools, prompt)]
    if system:
        parts.append(without_turn_markers(system))
    opening = [{"role": "system", "content": "\n\n".join(parts)}] if parts else []
    return [*opening, *render_messages(messages)]


def prompt_id(prompt: Prompt) -> str:
    """Name and hash of a prompt: one small task of several steps, rendered."""
    tools = [Tool(name="look_up", description="Look a word up.")]
    messages = [Message(role="user", content="Look up tea."),
                Message(role="assistant", calls=[Call("look_up", {})]),
                Message(role="tool", content="A drink.")]
    shown = [render(tools, "Be brief.", messages, prompt),
             write_tools(tools) if prompt == "native" else None]
    return f"{Path(prompt).name} {hash_text(json.dumps(shown))}"


def read_calls(result: Any) -> list[Call]:
    """The calls of a stored reply; none where anything in it cannot be read, or where inference
    failed."""
    reply = parse_reply(result) if isinstance(result, str) else None
    return [] if reply is None or reply.faults else reply.calls


def as_python(call: Call) -> str:
    """A call as bfcl-eval evaluates it: "cd(folder='temp')". By eval(), so names must not reach
    beyond its tools."""
    known_to_python = hasattr(builtins, call.name) or hasattr(multi_turn_utils, call.name)
    if known_to_python or not all(name.isidentifier() for name in (call.name, *call.arguments)):
        return NO_FUNCTION
    return handler_utils.convert_to_function_call([{call.name: call.arguments}])[0]


class LoopToolHandler(BaseHandler):
    """What bfcl-eval calls for each task; it makes instances whenever it likes, so ask and prompt
    are the class's."""

    ask: Ask
    prompt: Prompt

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.is_fc_model = False
        self.model_style = None  # v3 starts a server of its own for one style
        # a thread asks for one entry at a time, from its first step to its last
        self._entry = threading.local()

    def inference(self, *args: Any, **kwargs: Any) -> tuple[Any, dict]:
        self._entry.finishes = []
        result, metadata = super().inference(*args, **kwargs)
        return result, metadata | {FINISHES: self._entry.finishes}

    def _pre_query_processing_prompting(self, test_entry: dict) -> dict:
        category = test_entry["id"].rsplit("_", 1)[0]
        return {"id": test_entry["id"], "tools": read_tools(test_entry["function"], category),
                "system": "", "messages": []}

    def add_first_turn_message_prompting(self, inference_data: dict,
                                         first_turn_message: list[dict]) -> dict:
        if first_turn_message and first_turn_message[0]["role"] == "system":
            inference_data["system"] = first_turn_message[0]["content"]
            first_turn_message = first_turn_message[1:]
        return self._add_next_turn_user_message_prompting(inference_data, first_turn_message)

    def _add_next_turn_user_message_prompting(self, inference_data: dict,
                                              user_message: list[dict]) -> dict:
        inference_data["messages"] += [Message(role=message["role"], content=message["content"])
                                       for message in user_message]
        return inference_data

    def _query_prompting(self, inference_data: dict) -> tuple[Reply, float]:
        tools = inference_data["tools"]
        chat = render(tools, inference_data["system"], inference_data["messages"], self.prompt)
        inference_data["inference_input_log"] = {"messages": chat}
        started = time.monotonic()
        reply = self.ask(chat, write_tools(tools) if self.prompt == "native" else None,
                         inference_data["id"])
        self._entry.finishes.append(reply.finish)
        return reply, time.monotonic() - started

    def _parse_query_response_prompting(self, api_response: Reply) -> dict:
        return {"model_responses": api_response.text, "reasoning_content": api_response.reasoning,
                "input_token": api_response.prompt_tokens,
                "output_token": api_response.completion_tokens}

    def _add_assistant_message_prompting(self, inference_data: dict,
                                         model_response_data: dict) -> dict:
        inference_data["messages"].append(
            parse_reply(model_response_data["model_responses"]).message())
        return inference_data

    def _add_execution_results_prompting(self, inference_data: dict, execution_results: list[str],
                                         model_response_data: dict) -> dict:
        inference_data["messages"] += [Message(role="tool", content=result)
                                       for result in execution_results]
        return inference_data

    def decode_ast(self, result: Any, language: Any = None,
                   has_tool_call_tag: bool = False) -> list[dict]:
        return [{call.name: call.arguments} for call in read_calls(result)]

    def decode_execute(self, result: Any, has_tool_call_tag: bool = False) -> list[str]:
        return list(map(as_python, read_calls(result)))


def handler_class(ask: Ask, prompt: Prompt) -> type[LoopToolHandler]:
    """The handler that puts its prompts to `ask`."""
    return type("LoopToolHandler", (LoopToolHandler,), {"ask": staticmethod(ask), "prompt": prompt})
