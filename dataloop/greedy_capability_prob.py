"""Greedy capability probing, GCP (section 4.2; "prob" is the released code's name): what the policy
can do by itself, and how sure it is.

In: round_j/dataset.jsonl (D_j) and round_j/policy (pi_j). Out: round_j/probes.jsonl, one Probe a
line: the greedy reply to each sample, its perplexity (equation 3) and whether it matches the label.

With --samples, --output and --model it probes any file of samples with any checkpoint; --heldout
stands for the held-out tasks, and in round 0 the policy is pi_0:

    python greedy_capability_prob.py
    python greedy_capability_prob.py --heldout --round 0

probe.engine says what decodes: "transformers" in this process, "endpoint" servers, "ray" vLLM
engines over a cluster's GPUs; docs/probing.md says which when. The probes are the same, in the same
order: samples that begin alike together. A prompt longer than the window loses its oldest turns and
never its tools; what does not fit even so is left out and counted as too_long.
"""
from __future__ import annotations

import argparse
import asyncio
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from dataloop.probing.endpoint_policy import probe_by_endpoint
from dataloop.probing.in_process import Policy, probe_in_batches
from dataloop.probing.job import CASES, Job, count_cases
from dataloop.probing.ray_policy import probe_by_ray
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.prompts.length import leave_torch_out
from looptool.run_files import RoundFiles, RunFiles, first_policy, round_files
from looptool.stages.meta import StageMeta

_log = logging.getLogger(__name__)


async def probe_samples(config: Config, samples: Path, output: Path, model: str,
                        fresh: bool = False, later: Sequence[Path] = (),
                        round: int = 0) -> StageMeta:
    """Write the probes of a file of samples; see looptool.stages.llm_stage.run_stage. Draws depend
    on the round.

    Raises:
        InputError: samples or checkpoint cannot be read, no server has it, or the engine is not
            installed.
    """
    student, weights = config.student, weight_files(model)
    # a folder's weights are among the sources, by relative path: repository and run can be moved
    settings = {"engine": config.probe.engine, "dtype": config.probe.dtype,
                "model": "" if weights else model, "instructions": student.instructions,
                "max_prompt_tokens": student.max_prompt_tokens,
                "max_response_tokens": student.max_response_tokens,
                "max_user_turns": student.max_user_turns}
    # not recorded where nothing is drawn: probes of before this option are the same as those
    if config.probe.samples:
        settings |= {"samples": config.probe.samples, "temperature": config.train.temperature,
                     "seed": config.seed, "round": round}
    stage = {"name": "probe", "output": output, "settings": settings,
             "sources": [samples, *weights], "fresh": fresh, "later": later, "tell": False}
    job = Job(config, model, samples, stage, round)
    if config.probe.engine == "endpoint":
        return await probe_by_endpoint(job)
    if config.probe.engine == "ray":
        return await probe_by_ray(job)

    def load() -> Policy:
        # takes seconds, which a wrong input need not wait for
        from dataloop.probing.transformers_policy import TransformersPolicy
        return TransformersPolicy(model, student, dtype=config.probe.dtype)

    return await probe_in_batches(job, load)


def summary(meta: StageMeta, cases: Mapping[str, int], round: int, name: str = "probe") -> str:
    """The last line; `cases` are replies out of the ordinary, by dataloop.probing.job.count_cases.

    The .meta.json beside the probes has every reason, the report every case.
    """
    matches, too_long = meta.counts.get("match", 0), meta.counts.get("too_long", 0)
    probed = meta.inputs - too_long
    reasons = {reason: n for reason, n in meta.counts.items()
               if reason not in ("match", "too_long")}
    most = max(reasons, key=reasons.__getitem__, default="")
    usage = meta.usage.get("policy")
    tokens = usage.completion_tokens / max(usage.calls, 1) if usage else 0
    others = "".join(f", {count:,} {CASES[case]}" for case, count in cases.items()
                     if case != "no_think")
    return (f"{name}: round {round}: {meta.inputs:,} in -> {matches:,} match "
            f"({matches / max(probed, 1):.1%}), {probed - matches:,} "
            f"mismatch{f' ({reasons[most]:,} {most})' if most else ''}"
            f"{f', {too_long:,} too long' if too_long else ''}"
            f"{others}; "
            f"{tokens:.1f} tokens/reply; {meta.seconds:.0f} s")


def policy_path(config: Config, files: RoundFiles, named: str | None) -> str:
    """The checkpoint to probe: --model, else the folder of pi_j, in round 0 that of pi_0.

    Raises:
        InputError: it is no folder and cannot be a name of the hub.
    """
    path = named or (first_policy(config) if files.round == 0 else str(files.policy))
    # no dot first: ./policy is a folder that is not there, and no name of the hub
    if not Path(path).is_dir() and not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", path):
        raise InputError(f"{path}: there is no such checkpoint; run scripts/04_train.sh --round "
                         f"{files.round} first, or name one with --model")
    return path


def weight_files(path: str) -> list[Path]:
    """The files of a local checkpoint that decide what it answers; none for a name of the hub."""
    return sorted(file for pattern in ("*.safetensors", "config.json", "generation_config.json",
                                       "tokenizer.json", "chat_template.jinja")
                  for file in Path(path).glob(pattern))


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--samples", type=Path, metavar="FILE", help="samples (default: D_j)")
    parser.add_argument("--output", type=Path, metavar="FILE",
                        help="probes (default: round_j/probes.jsonl)")
    parser.add_argument("--model", metavar="DIR",
                        help="checkpoint (default: the round's policy; in round 0 the student)")
    parser.add_argument("--heldout", action="store_true",
                        help="the held-out tasks: run_dir/heldout.jsonl -> "
                             "round_j/heldout_probes.jsonl")
    parser.add_argument("--fresh", action="store_true",
                        help="forget what an earlier run has probed")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    config = load_config(args.config, args.overrides)
    if args.heldout:  # measured greedily: nobody reads draws of them
        config = replace(config, probe=replace(config.probe, samples=0))
    files = round_files(args, config)
    samples = args.samples or (RunFiles(config).heldout if args.heldout else files.dataset)
    output = args.output or (files.heldout_probes if args.heldout else files.probes)
    if args.heldout and not samples.exists():
        _log.info("probe: no held-out tasks at %s, so nothing to measure there", samples)
        return
    model = policy_path(config, files, args.model)
    if config.probe.engine == "endpoint":
        leave_torch_out()
    meta = asyncio.run(probe_samples(config, samples, output, model, args.fresh,
                                     files.made_from(output), files.round))
    _log.info("%s", summary(meta, count_cases(output), files.round,
                            "probe held-out" if args.heldout else "probe"))


if __name__ == "__main__":
    run_main(main)
