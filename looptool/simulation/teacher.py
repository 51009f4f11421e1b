"""The simulated teacher: every role of the paper played by rules, over the prompts that a model
would get.

It is reached like a model: an OpenAI chat-completion request goes in, a response body comes out.
The role is read from the first line of the system text, "# Role: <name>"; what the role works on
stands in <blocks> of the prompt. Errors are planted at the rates of config.Simulation, drawn from
the prompt's content: the same prompt with the same "seed" (the draw number) gets the same answer,
today and after a restart.
"""
from __future__ import annotations

from typing import Any

from looptool.config import Simulation
from looptool.simulation.roles.designer import DESIGN_ROLES
from looptool.simulation.roles.dialog import DIALOG_ROLES
from looptool.simulation.roles.loop import LOOP_ROLES
from looptool.simulation.roles.native_calls import in_text, with_native_calls
from looptool.simulation.roles.prompt import Chat, NotUnderstood, Prompt
from looptool.simulation.roles.structured_outputs import FORM_ROLES, in_form

ROLES = {**DESIGN_ROLES, **DIALOG_ROLES, **LOOP_ROLES, **FORM_ROLES}


class Teacher:
    """All roles behind one chat-completion function."""

    def __init__(self, rates: Simulation, seed: int = 0):
        self.rates, self.seed = rates, seed

    def complete(self, payload: dict[str, Any]) -> dict[str, Any]:
        """The response body to a chat-completion request.

        Raises:
            NotUnderstood: the request is no prompt of this project.
        """
        chat = in_text(payload) if payload.get("tools") else payload["messages"]
        first_line = chat[0]["content"].partition("\n")[0] if chat else ""
        role = first_line.removeprefix("# Role: ").strip()
        play = ROLES.get(role)
        if play is None:
            raise NotUnderstood("no '# Role: <name>' in the first line of the system text, but "
                                f"{first_line[:60]!r}")
        text = play(Prompt(role, chat, payload.get("seed") or 0, self.rates, self.seed,
                           str(payload.get("model"))))
        response = _response(payload.get("model", "simulated-teacher"), chat, text)
        if payload.get("response_format"):
            return in_form(response, payload["response_format"])
        return with_native_calls(response) if payload.get("tools") else response


def _response(model: str, chat: Chat, text: str) -> dict[str, Any]:
    prompt_tokens = sum(len(message["content"]) for message in chat) // 4
    completion_tokens = len(text) // 4 + 1
    return {"id": "simulated", "object": "chat.completion", "created": 0, "model": model,
            "choices": [{"index": 0, "finish_reason": "stop",
                         "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": completion_tokens,
                      "total_tokens": prompt_tokens + completion_tokens}}
