"""One agent task in ACEBench's own environment and loop; a process of its own, started by
`episodes`.

    python -m bfcl.acebench.episode_process CHECKOUT

In: a line with the task, then a line for each answer that was asked for. Out, each a line of JSON:

    {"ask": "policy", "dialogue": [{"sender": "user", "recipient": "agent", "message": "..."}],
     "rules": "..."}
    {"ask": "user", "messages": [{"role": "system", "content": "..."}, ...]}

and as the last line one of these:

    {"states": [{"BaseApi": {"wifi": true}}], "process": ["[turn_on_wifi()]"], "dialogue": [...]}
    {"error": "KeyError: ...", "dialogue": [...]}
"""
from __future__ import annotations

import importlib
import json
import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

from bfcl.acebench.containment import arithmetic, method_caller, stand_in

MAX_TURNS = 40
"""Messages of an episode, the benchmark's default."""
_LOOPS = {"multi_turn": "multi_turn_inference", "multi_step": "multi_step_inference"}


class Line:
    """The line to the parent process; whatever else prints goes to stderr."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def say(self, **content: Any) -> None:
        self._out.write(json.dumps(content, ensure_ascii=False, default=str) + "\n")
        self._out.flush()

    def hear(self) -> Any:
        line = sys.stdin.readline()
        return json.loads(line) if line else sys.exit("nobody answers")


class Policy:
    """The model in the benchmark's agent: its prompts are left aside, for the parent renders the
    dialogue itself."""

    def __init__(self, line: Line, prompts: list[str]):
        self._line, self._prompts = line, prompts
        self.dialogue: list[dict[str, Any]] = []

    def inference(self, system_prompt: str, user_prompt: str) -> str:
        rules = next(system_prompt.removeprefix(prompt)
                     for prompt in self._prompts if system_prompt.startswith(prompt))
        self._line.say(ask="policy", dialogue=self.dialogue, rules=rules)
        return self._line.hear()


def scripted_openai(line: Line) -> type:
    """The class OpenAI for the benchmark's simulated user."""

    def create(messages: list[dict[str, str]], **_: Any) -> SimpleNamespace:
        line.say(ask="user", messages=messages)
        return SimpleNamespace(
            choices=[SimpleNamespace(message=SimpleNamespace(content=line.hear()))])

    client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))
    return lambda **_: client


def load(folder: str, line: Line) -> ModuleType:
    """The benchmark's model_inference.common_inference, with nothing in reach that it does not
    need."""
    sys.path.insert(0, folder)
    stand_in("openai", OpenAI=scripted_openai(line))
    stand_in("wcwidth", wcswidth=len)
    stand_in("model_inference.model_infer", get_model=None)
    common = importlib.import_module("model_inference.common_inference")
    for name in ("multi_turn.common_agent", "multi_turn.execution_role",
                 "multi_step.execution_role_step"):
        importlib.import_module(f"model_inference.{name}").eval = arithmetic
    for name in ("multi_turn.multi_turn_utils", "multi_step.multi_step_utils"):
        module = importlib.import_module(f"model_inference.{name}")
        module.eval = method_caller(vars(module))
    return common


def watch(scene: type, policy: Policy) -> type:
    """The benchmark's scene, which shows its dialogue to the policy and writes no file."""

    class Watched(scene):
        def __init__(self, *arguments: Any, **named: Any):
            super().__init__(*arguments, **named)
            policy.dialogue = self.dialogue_history

        def write_message_history(self, *_: Any) -> None:
            """The parent has the dialogue."""

    return Watched


def main() -> None:
    line = Line()
    common = load(sys.argv[1], line)
    task = line.hear()
    row, language, kind = task["row"], task["language"], task["kind"]
    prompt = f"MULTI_TURN_AGENT_PROMPT_SYSTEM_{language.upper()}"
    policy = Policy(line, [getattr(sys.modules[f"model_inference.{name}"], prompt)
                           for name in ("multi_turn.common_agent", "multi_step.common_agent_step")])
    # spelled so by the benchmark
    for name in ("Scene", "Mulit_Step_Scene"):
        setattr(common, name, watch(getattr(common, name), policy))
    inference = object.__new__(common.CommonInference)
    vars(inference).update(model=policy, model_name="model", user_model="gpt", language=language,
                           max_message_index=MAX_TURNS)
    try:
        states, process = getattr(inference, _LOOPS[kind])(
            row["question"], row["initial_config"], row["function"], row["involved_classes"],
            row["id"], "")
    except Exception as error:  # noqa: BLE001
        # whatever the benchmark's code raises on what a model wrote
        line.say(error=f"{type(error).__name__}: {error}", dialogue=policy.dialogue)
    else:
        line.say(states=states, process=process, dialogue=policy.dialogue)


if __name__ == "__main__":
    main()
