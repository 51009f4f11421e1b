"""What the tests of the data loop share: tasks of the simulated world, answers to them, and a model
whose replies are written down."""
from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

from dataloop.mixing.equation_5 import Mixture, Supply
from looptool.calling.match import tool_match
from looptool.calling.reply import render_calls
from looptool.config import Config, Expand, Mix, Simulation, Student, Teacher, Verify
from looptool.ids import sample_id
from looptool.json_lines import write_jsonl
from looptool.models.completion import CallFailed, Reply
from looptool.records import Call, Message, Probe, Record, Sample, Tool, Verdict, Vote
from looptool.sample_table import Listing, Rows
from looptool.simulation.world.catalogue import catalogue
from looptool.simulation.world.noise import corrupt
from looptool.simulation.world.tasks import draw_task, draw_tools
from looptool.simulation.world.truth import truth

WEATHER = Tool(name="get_weather", description="Weather of a city.", domain="weather", parameters={
    "type": "object", "required": ["city"],
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}}})
ALARM = Tool(name="setAlarm", description="Set an alarm.", domain="home", parameters={
    "type": "object", "required": ["time"], "properties": {"time": {"type": "string"}}})


def says(text: str = "", *calls: Call) -> Message:
    return Message(role="assistant", content=text, calls=list(calls))


def weather(city: str, **more) -> Call:
    return Call(name="get_weather", arguments={"city": city, **more})


def task(city: str = "Rome", label: Message | None = None, asked: str | None = None,
         **fields) -> Sample:
    """A sample that asks for the weather of a city; its label is right unless another one is
    given."""
    messages = [Message(role="user", content=asked or f"How is the weather in {city}?")]
    label = label or says("", weather(city))
    tools = [WEATHER, ALARM]
    return Sample(id=sample_id(tools, "2024-05-01", messages, label), tools=tools,
                  date="2024-05-01", messages=messages, label=label,
                  **{"source": f"d1#{city}", **fields})


def probed(sample: Sample, prediction: Message, perplexity: float = 1.5, faults: list[str] = [],
           text: str | None = None, finish: str = "stop") -> Probe:
    """What a policy that answers `prediction` leaves behind."""
    text = (text if text is not None
            else "\n".join(filter(None, (prediction.content, render_calls(prediction.calls)))))
    return Probe(sample=sample, text=text, prediction=prediction, faults=faults,
                 perplexity=perplexity, tokens=12,
                 reason=tool_match(prediction, sample.label, faults), finish=finish)


def judged(probe: Probe, verdict: str) -> Verdict:
    """A verdict on which two votes agree."""
    return Verdict(probe=probe, verdict=verdict, votes=[
        Vote(verdict=verdict, label_first=first, judge="m", draw=0, analysis="Wrong city.",
             approach="Take the city named.")
        for first in (True, False)])


@lru_cache
def world(count: int, wrong_labels: float = 0.15,
          wrong_predictions: float = 0.5) -> tuple[Probe, ...]:
    """Probes of the simulated world: labels and predictions corrupted at these rates."""
    pool, probes = catalogue("train"), []
    for index in range(count):
        rng = random.Random(f"world:{index}")
        tools = draw_tools(rng, pool, rng.randint(2, 4))
        drawn = draw_task(rng, tools, "train")
        right = says("" if drawn.truth.calls else "I see.", *drawn.truth.calls)
        label, prediction = (says("", *corrupt(rng, right.calls, tools)[1]) if rng.random() < rate
                             else right for rate in (wrong_labels, wrong_predictions))
        sample = Sample(id=sample_id(tools, "2024-05-01", drawn.messages, label), tools=tools,
                        date="2024-05-01", messages=drawn.messages, label=label,
                        source=f"world#{index}")
        probes.append(probed(sample, prediction, round(1 + rng.random(), 6)))
    return tuple({probe.sample.id: probe for probe in probes}.values())


def is_right(sample: Sample, answer: Message) -> bool:
    """Whether the simulated world knows this answer as the right one."""
    now = truth(sample.tools, sample.messages)
    return now is not None and now.accepts(answer)


class Written:
    """An `ask` whose replies come from a function of (role, blocks of the user's message, draw),
    and which remembers."""

    def __init__(self, reply: Callable[[str, dict[str, str], int], str | CallFailed]):
        self._reply = reply
        self.asked: defaultdict[str, list[tuple[dict[str, str], int, str]]] = defaultdict(list)

    async def __call__(self, role: str, chat: list[dict[str, str]], draw: int, model: str) -> Reply:
        assert chat[0]["content"].startswith(f"# Role: {role}\n")
        blocks = read_blocks(chat[-1]["content"])
        self.asked[role].append((blocks, draw, model))
        reply = self._reply(role, blocks, draw)
        if isinstance(reply, CallFailed):
            raise reply
        return reply if isinstance(reply, Reply) else Reply(text=reply)


def read_blocks(text: str) -> dict[str, str]:
    """The <name> blocks of a prompt."""
    blocks = {}
    for part in text.split("\n\n<"):
        name, inner = part.lstrip("<").split(">\n", 1)
        blocks[name] = inner.removesuffix(f"\n</{name}>")
    return blocks


def better(choice: str, **more: str) -> str:
    """A judge's reply."""
    return json.dumps({"analysis": "a", "approach": "b", "better": choice} | more)


def loop_config(run_dir, **sections) -> Config:
    """A config of the simulated world without malformed replies, if not told otherwise."""
    defaults = {"student": Student(model="none", instructions="short", max_prompt_tokens=4096),
                "teacher": Teacher(base_urls=["simulated"], models=["m"]),
                "simulation": Simulation(), "verify": Verify(), "expand": Expand(),
                "mix": Mix(size=40, seed_new=12, high_ppl=8)}
    return Config(run_dir=str(run_dir), **defaults | sections)


class Held(Listing):
    """A listing with files of its own."""

    def __init__(self):
        super().__init__()
        self._folder = TemporaryDirectory()

    def put(self, records: list[Record], record_type: type[Record] = Sample,
            *is_wanted: Callable[[Record], bool]) -> Rows:
        path = Path(self._folder.name) / f"{len(self._files)}.jsonl"
        write_jsonl(path, records)
        return self.add(path, record_type, *is_wanted)


def supply_of(**parts: list[Sample]) -> Supply:
    listing = Held()
    return Supply(listing=listing,
                  **{name: listing.put(samples) for name, samples in parts.items()})


def taken(supply: Supply, mixture: Mixture) -> list[Sample]:
    """The samples of a mixture."""
    return list(supply.listing.samples(mixture.samples, mixture.origins))
