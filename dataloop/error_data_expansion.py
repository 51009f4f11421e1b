"""Error-driven data expansion, EDDE (section 4.4): new samples that need the skill in which the
policy failed.

In: round_j/error_seeds.jsonl and scenarios.yaml. Out: round_j/expanded.jsonl, a Sample for each new
conversation that passed both tiers of checks, with the seed's tools and date, the seed as its
parent and the scenario as its source.

Each seed gets expand.per_seed tries, each under another scenario. Tier 1, rules: the label fits its
tools, the conversation is one, no near copy of the seed or of a sibling, the prompt fits the
student's window. Tier 2 (expand.check): a checker accepts it. What is refused is counted by reason
and not tried again.

    python error_data_expansion.py [--seeds FILE] [--scenarios FILE] [--output FILE] [--follow PID]

With --follow it expands while process PID still verifies, from round_j/verdicts.jsonl as it grows.
"""
from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from dataloop.expanding.distractors import distracted
from dataloop.expanding.generate import (
    CANDIDATE, GENERATOR_PROMPT, Family, Window, candidate_faults)
from dataloop.expanding.scenarios import SCENARIOS, draw_scenarios, read_scenarios
from dataloop.verifying.relabel import error_seed
from looptool.calling.sample_rules import fault_kind
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import load_config, student_path
from looptool.json_lines import read_some
from looptool.judging.checker import CHECKER_PROMPT, checker_of, checker_sampling
from looptool.judging.question import Ask, make_ask
from looptool.models.client import Client
from looptool.models.sampling import Sampling
from looptool.prompts.length import StudentFits, leave_torch_out
from looptool.prompts.render import fit, render_system
from looptool.records import ErrorSeed, Sample, Verdict
from looptool.run_files import RoundFiles, RunFiles, round_files
from looptool.stages.follow import Follow, id_with
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta, shortly
from looptool.stages.workers import Outcome

_log = logging.getLogger(__name__)


def student_window(config: Config) -> Window:
    """Whether a sample's prompt fits the student's window with all of its turns."""
    student, prompt_fits = config.student, StudentFits(config)

    def fits(sample: Sample) -> bool:
        system = render_system(sample.tools, sample.date, student.instructions)
        kept = fit(sample.messages, system, prompt_fits, student.max_prompt_tokens,
                   student.max_user_turns)
        return kept is not None and len(kept) == len(sample.messages)

    return fits


def tokenizer_files(config: Config) -> list[Path]:
    """The files of the student's folder that decide how long a prompt is; none for a name of the
    hub."""
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    return [path for name in names if (path := Path(student_path(config)) / name).is_file()]


Member = Callable[[Ask, str, "str | None", Window], Awaitable["Sample | str"]]
"""A new sample, or the reason why there is none, by (ask, generator, checker, window)."""


def checked_distractor(sample: Sample | None, fits: Window) -> Sample | str:
    """The sample if it keeps to the rules of every new one, else the reason."""
    if sample is None:
        return "no_distractor"
    faults = candidate_faults(sample)
    return fault_kind(faults[0]) if faults else sample if fits(sample) else "too_long"


async def expand_seeds(config: Config, seeds: Path, scenarios: Path, output: Path, round: int,
                       fits: Window, fresh: bool = False,
                       verifier: tuple[Path, int] | None = None) -> StageMeta:
    """Expand every error seed; see looptool.stages.llm_stage.run_stage.

    Args:
        verifier: the verdicts that another process is writing, and its number; they are expanded as
            they come.
    """
    options, models = config.expand, config.teacher.models
    checker = checker_of(config) if options.check else None
    known = read_scenarios(scenarios, options.per_seed)

    def members(seed: ErrorSeed) -> Iterator[tuple[str, Member]]:
        drawn = draw_scenarios(known, options.per_seed, config.seed, seed.sample)
        family, id = Family(seed, drawn, round, options.near_copy), id_with(seed.sample.id, seed)
        for index, scenario in enumerate(drawn):
            yield f"{id}/{scenario.id}", partial(family.member, index)
        for number in range(options.distractors):
            yield f"{id}/distractor{number}", partial(by_rule, seed, number)

    async def by_rule(seed: ErrorSeed, number: int, *_: object) -> Sample | str:
        return checked_distractor(distracted(seed, number, round, f"{config.seed}"), fits)

    def members_of(verdict: Verdict) -> Iterator[tuple[str, Member]]:
        seed = error_seed(verdict, round)
        return iter(()) if seed is None else members(seed)

    inputs = Inputs(lambda: chain.from_iterable(map(members, read_some(seeds, ErrorSeed))))
    async with Client.from_config(config, RunFiles(config).answers) as client:
        ask = make_ask(client, {
            "generator": Sampling(temperature=options.temperature, top_p=options.top_p,
                                  presence_penalty=options.presence_penalty, form=CANDIDATE),
            "checker": checker_sampling(config)})

        async def work(member: Member) -> Outcome:
            new = await member(ask, models[0], checker, fits)
            return Outcome([], new) if isinstance(new, str) else Outcome([new], "accepted")

        return await run_stage("expand", inputs, work, output,
                               settings=client.settings("generator", "checker")
                               | stage_settings(config, round),
                               sources=[seeds, scenarios, GENERATOR_PROMPT, CHECKER_PROMPT,
                                        *tokenizer_files(config)],
                               in_flight=config.teacher.in_flight, usage=client.usage, fresh=fresh,
                               later=RoundFiles(config.run_dir, round).made_from(output),
                               tell=False, follow=None if verifier is None else Follow(
                                   verifier[0], Verdict, verifier[1], members_of, seeds))


def stage_settings(config: Config, round: int) -> dict[str, Any]:
    """What new samples depend on beside the files."""
    student = config.student
    return {"models": config.teacher.models[:1],
            "checker": checker_of(config) if config.expand.check else None,
            "expand": config.expand.recorded(), "seed": config.seed, "round": round,
            # a folder's tokenizer is among the sources, by relative path: the run can be moved
            "model": "" if tokenizer_files(config) else student.model,
            "instructions": student.instructions, "max_prompt_tokens": student.max_prompt_tokens,
            "max_user_turns": student.max_user_turns}


def summary(meta: StageMeta, round: int, tries: int) -> str:
    """The last line, after so many tries a seed."""
    refused = shortly({reason: n for reason, n in meta.counts.items() if reason != "accepted"}, 2)
    accepted = meta.counts.get("accepted", 0)
    return (f"expand: round {round}: {meta.inputs // tries:,} seeds, {meta.inputs:,} "
            f"tries -> {accepted:,} accepted "
            f"({accepted / max(meta.inputs, 1):.1%})"
            f"{f', {refused}' if refused else ''}"
            f"{f', {meta.failed:,} failed' if meta.failed else ''}"
            f"{meta.marks()}; {meta.seconds:.0f} s")


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--seeds", type=Path, metavar="FILE",
                        help="error seeds (default: round_j/error_seeds.jsonl)")
    parser.add_argument("--scenarios", type=Path, metavar="FILE", default=SCENARIOS,
                        help="scenario constraints (default: dataloop/expanding/scenarios.yaml)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="new samples (default: round_j/expanded.jsonl)")
    parser.add_argument("--fresh", action="store_true",
                        help="forget what an earlier run has expanded")
    parser.add_argument("--follow", type=int, metavar="PID",
                        help="expand what the running process PID has judged so far")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    files = round_files(args, config)
    verifier = None if args.follow is None else (files.verdicts, args.follow)
    meta = asyncio.run(expand_seeds(config, args.seeds or files.error_seeds, args.scenarios,
                                    args.output or files.expanded, files.round,
                                    student_window(config), args.fresh, verifier))
    tries = config.expand.per_seed + config.expand.distractors
    _log.info("%s", summary(meta, files.round, tries))


if __name__ == "__main__":
    leave_torch_out()
    run_main(main)
