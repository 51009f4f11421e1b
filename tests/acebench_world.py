"""A benchmark of our own with ACEBench's file names, classes and habits, a few rows each, for tests
without a checkout."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

EVAL_MAIN = '''
import argparse, json, os
from openpyxl import Workbook
from openpyxl.styles import Alignment
import pandas as pd
from model_eval.checker import *
from model_inference.utils import decode_ast

def right(answer, truth, row, category):
    if "special" in category:
        return all(name in answer for name in truth)
    if "agent" in category:
        return all(agent_checker(state, truth)["valid"] for state in answer) and bool(answer)
    try:
        model_result_item_raw = answer
        model_result_item_raw = "".join(model_result_item_raw.split())
        calls = decode_ast("model", model_result_item_raw)
    except Exception as error:
        return {"valid": False, "error": [str(error)], "error_type": "wrong_output_format"}
    return normal_checker(row["function"], calls, truth, row["question"], category)

def lines(*path):
    return [json.loads(line) for line in open(os.path.join(*path), encoding="utf-8")]

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--language"), parser.add_argument("--model", nargs="+")
    parser.add_argument("--category", nargs="+")
    args = parser.parse_args()
    data, model = f"./data_all/data_{args.language}", args.model[0]
    for category in args.category:
        rows = lines(data, f"data_{category}.json")
        truths = lines(data, "possible_answer", f"data_{category}.json")
        answers = lines(f"./result_all/result_{args.language}", model,
                        f"data_{category}_result.json")
        assert len(rows) == len(truths) == len(answers)
        checks = [right(a["result"], t["ground_truth"], r, category)
                  for a, t, r in zip(answers, truths, rows)]
        checks = [c if isinstance(c, dict) else {"valid": c, "error": [], "error_type": "wrong"}
                  for c in checks]
        wrong = [{"id": i if "agent" in category else row["id"], **c}
                 for i, (c, row) in enumerate(zip(checks, rows)) if not c["valid"]]
        head = {"correct_count": len(rows) - len(wrong), "total_count": len(rows),
                "process_accuracy": 0.5}
        whole, lost = rows, wrong
        if "multi_turn" in category and "agent" not in category:
            whole, lost = ({entry["id"].rsplit("_", 1)[0] for entry in some}
                           for some in (rows, wrong))
        name = "end_to_end_accuracy" if "agent" in category else "accuracy"
        head[name] = round(1 - len(lost) / len(whole), 3)
        os.makedirs(f"../result_excel/{args.language}", exist_ok=True)
        pd.DataFrame(answers).to_excel("../result_excel/x.xlsx", index=False)
        scores = f"./score_all/score_{args.language}/{model}"
        with open(f"{scores}/data_{category}_score.json", "w") as file:
            file.write("\\n".join(map(json.dumps, [head, *wrong])))
    book = Workbook()
    cell = book.active.cell(row=1, column=1, value="Model")
    cell.alignment = Alignment(horizontal="center")
    book.save(f"./score_all/score_{args.language}/result.xlsx")
'''

CHECKER = '''
def normal_checker(functions, calls, truth, question, category):
    if any("crash" in call for call in calls):
        raise KeyError("crash")
    return {"valid": calls == [{name: given} for name, given in truth.items()],
            "error": ["differs"], "error_type": "value"}

def agent_checker(state, truth):
    return {"valid": state in truth, "error": [], "error_type": "state"}
'''

UTILS = '''
import ast

def decode_ast(model, text):
    return [{ast.unparse(call.func): {given.arg: value(given.value) for given in call.keywords}}
            for call in ast.parse(text, mode="eval").body.elts]

def value(node):
    return eval(ast.unparse(node)) if isinstance(node, ast.BinOp) else ast.literal_eval(node)
'''


AGENT = '''
MULTI_TURN_AGENT_PROMPT_SYSTEM_EN = "{kind} in brackets. "
MULTI_TURN_AGENT_PROMPT_SYSTEM_ZH = "{kind} zh. "
'''

EXECUTION = '''
import json
from model_inference.phone import Phone
from model_inference.{kind}.{kind}_utils import run

def respond(text, phone):
    return [run(text.strip("[]"), phone)]
'''

RUN = '''
def run(call, phone):
    globals()["phone_instance"] = phone
    try:
        result = eval("phone_instance." + call)
    except Exception as error:
        return f"Error during execution: {error}"
    return result
'''

PHONE = '''
class Phone:
    def __init__(self, config):
        self.wifi, self.sent, self.secret = config.get("wifi", False), [], "kept"
    def turn_on_wifi(self):
        self.wifi = True
        return {"status": True}
    def send(self, text):
        if not self.wifi:
            return "no wifi"
        self.sent.append(text)
        return {"status": True}
    def _hidden(self):
        self.sent.append("hidden")
    def variables(self):
        import os
        return sorted(os.environ)
'''

INFERENCE = '''
from openai import OpenAI
from wcwidth import wcswidth
from model_inference.model_infer import get_model
from model_inference.phone import Phone
from model_inference.multi_turn.common_agent import *
from model_inference.multi_turn import common_agent, execution_role
from model_inference.multi_step import common_agent_step, execution_role_step

class Scene:
    def __init__(self, question):
        self.dialogue_history = [{"sender": "user", "recipient": "agent", "message": question}]
    def write_message_history(self, test_id, model_name):
        open("history.txt", "w").write("must not be written")

class Mulit_Step_Scene(Scene):
    pass

class CommonInference:
    def _loop(self, scene, prompt, rules, execution, config, user):
        history, phone, process = scene.dialogue_history, Phone(config["Phone"]), []
        for index in range(self.max_message_index):
            last = history[-1]
            if last["recipient"] == "agent":
                text = self.model.inference(prompt + rules, "history: " + str(history))
                to = "execution" if text.startswith("[") else "user"
                history.append({"sender": "agent", "recipient": to, "message": text})
            elif last["recipient"] == "execution" or user is None:
                process.append(last["message"])
                if "explode" in last["message"]:
                    raise KeyError("explode")
                done = "Use what you know"
                if last["recipient"] == "execution":
                    done = execution.respond(last["message"], phone)
                history.append({"sender": "execution", "recipient": "agent", "message": done})
            else:
                history.append({"sender": "user", "recipient": "agent", "message": user(history)})
            if index > 1 and "finish conversation" in history[-1]["message"]:
                break
        scene.write_message_history("0", self.model_name)
        return [{"Phone": {"wifi": phone.wifi, "sent": phone.sent}}], process

    def multi_turn_inference(self, question, config, functions, classes, test_id, time):
        client = OpenAI(base_url=None, api_key=None)
        say = lambda history: client.chat.completions.create(messages=[
            {"role": "system", "content": question},
            *({"role": "user", "content": str(turn["message"])} for turn in history)],
            model=self.user_model, temperature=0.001).choices[0].message.content
        prompt = getattr(common_agent, "MULTI_TURN_AGENT_PROMPT_SYSTEM_" + self.language.upper())
        return self._loop(Scene(say([])), prompt, "Be brief.", execution_role, config, say)

    def multi_step_inference(self, question, config, functions, classes, test_id, time):
        prompt = getattr(common_agent_step,
                         "MULTI_TURN_AGENT_PROMPT_SYSTEM_" + self.language.upper())
        return self._loop(Mulit_Step_Scene(question), prompt, "", execution_role_step, config, None)
'''

FILES = {
    "eval_main.py": EVAL_MAIN, "category.py": "", "model_eval/checker.py": CHECKER,
    "model_inference/utils.py": UTILS, "model_inference/phone.py": PHONE,
    "model_inference/common_inference.py": INFERENCE,
    "model_inference/multi_turn/common_agent.py": AGENT.replace("{kind}", "turn"),
    "model_inference/multi_step/common_agent_step.py": AGENT.replace("{kind}", "step"),
    "model_inference/multi_turn/execution_role.py": EXECUTION.replace("{kind}", "multi_turn"),
    "model_inference/multi_step/execution_role_step.py": EXECUTION.replace("{kind}", "multi_step"),
    "model_inference/multi_turn/multi_turn_utils.py": RUN,
    "model_inference/multi_step/multi_step_utils.py": RUN}

PLAN = {"name": "plan", "description": "Plan a visit.",
        "parameters": {"type": "dict", "properties": {
    "cities": {"type": "list", "items": {"type": "string"}}, "days": {"type": "integer"}},
                       "required": ["cities"]}}
PHONE_TOOLS = [{"name": "turn_on_wifi", "description": "",
                "parameters": {"type": "dict", "properties": {}}},
               {"name": "send", "description": "",
                "parameters": {"type": "dict", "properties": {"text": {"type": "string"}}}}]


def conversation(id: str, question: str, **more: Any) -> dict[str, Any]:
    return {"id": id, "question": question, "function": [PLAN],
            "time": "Today is 2025-03-20, Thursday."} | more


def agent(id: str, question: str) -> dict[str, Any]:
    return {"id": id, "question": question, "function": PHONE_TOOLS,
            "initial_config": {"Phone": {"wifi": False}}, "involved_classes": ["Phone"], "path": []}


ROWS: dict[str, list[tuple[dict[str, Any], Any]]] = {
    "normal_atom_list": [(conversation(f"normal_atom_list_{i}", f"user: Plan {city}."),
                          {"plan": {"cities": [city]}})
                         for i, city in enumerate(("Rome", "New York", "Oslo", "Ghent"))],
    "normal_multi_turn_user_switch": [
        (conversation(f"normal_multi_turn_user_switch_{talk}_{turn}",
                      f"user: Hi.\nsystem: Yes?\nuser: Plan {talk}.{turn}."),
         {"plan": {"cities": [f"{talk}.{turn}"]}}) for talk in (0, 1) for turn in (0, 1)],
    "special_incomplete": [(conversation(f"special_incomplete_{i}", f"user: Plan something, {i}."),
                            {"plan": ["cities"]})
                           for i in range(2)],
    "agent_multi_step": [(agent("agent_multi_step_0", "Send hi."),
                          [{"Phone": {"wifi": True, "sent": ["hi"]}}])],
    "agent_multi_turn": [(agent("agent_multi_turn_0", "You want to send hi."),
                          [{"Phone": {"wifi": True, "sent": ["hi"]}}])],
}


def make_benchmark(folder: Path) -> Path:
    """The folder, as a checkout would lie there."""
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    data = folder / "data_all" / "data_en"
    (data / "possible_answer").mkdir(parents=True)
    for category, rows in ROWS.items():
        lines = [msgspec.json.encode(row) for row, _ in rows]
        truths = [msgspec.json.encode(
            {"id": row["id"], "ground_truth": truth, "mile_stone": ["[turn_on_wifi()]"]})
                  for row, truth in rows]
        (data / f"data_{category}.json").write_bytes(b"\n".join(lines))
        (data / "possible_answer" / f"data_{category}.json").write_bytes(b"\n".join(truths))
    return folder
