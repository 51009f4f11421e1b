"""Judgement-guided label verification, JGLV (section 4.3): who is wrong where policy and label
differ?

In: round_j/probes.jsonl. Out, in round_j/:
- verdicts.jsonl     a Verdict for each mismatch, with all votes; matches never reach a judge
- error_seeds.jsonl  D_ES = D_MR + D_LR: PRED_WRONG keeps the label, LABEL_WRONG puts the prediction
  in its place
- label_changes.jsonl       a LabelChange for each label that was replaced
- high_ppl.jsonl     D_HPPL: the mix.high_ppl mastered or BOTH_CORRECT probes with the highest
                     perplexity, that one first; before them those of
                     mix.medium_difficulty_share, where that is set

BOTH_WRONG and UNDECIDED are dropped and counted; a sample whose judges gave no readable reply is
"unjudged", or "judge_cut" if the last one ended at teacher.max_tokens, and counted.

    python judgement_label_verification.py [--probes FILE] [--output FOLDER] [--follow PID]
        [--rollback | --replace]

With --follow it judges while process PID still probes; what needs all verdicts (the last three
files) waits for them. --rollback undoes the round's replacements: their lines are marked,
the samples leave error_seeds.jsonl, and stay out until --replace. What was made of them
(expanded.jsonl and D_{j+1}) is removed, for 07 and 08 to make it again; once D_{j+1} was trained on
it is too late, and refused. No judge is asked again for either.
"""
from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from dataloop.mixing.equation_5 import planned, without_repeats
from dataloop.reporting.card import card_path
from dataloop.verifying.auditing import (
    audited, challenged, majorities, medium_difficulty, refined, refuted, without_preference)
from dataloop.verifying.judge import (
    JUDGEMENT, JUDGE_PROMPT, assume_mispredicted, verify_one, voting)
from dataloop.verifying.relabel import (
    confirms_label, error_seeds, label_changes, select_high_perplexity)
from looptool.command import argument_parser, run_main
from looptool.config import Config
from looptool.config_file import load_config
from looptool.errors import InputError
from looptool.fingerprints import IdSet
from looptool.json_lines import read_jsonl, read_some, write_jsonl
from looptool.judging.checker import reason_against
from looptool.judging.question import make_ask
from looptool.models.client import Client
from looptool.models.sampling import Sampling
from looptool.records import LabelChange, Message, Probe, Verdict
from looptool.run_files import RoundFiles, RunFiles, round_files
from looptool.sample_table import Listing
from looptool.stages.follow import Follow, id_with
from looptool.stages.llm_stage import Inputs, run_stage
from looptool.stages.meta import StageMeta
from looptool.stages.workers import Outcome

_log = logging.getLogger(__name__)


def mismatch(probe: Probe) -> Iterator[tuple[str, Probe]]:
    """The input of the stage that a probe leads to, if it does."""
    if not probe.matches:
        yield id_with(probe.sample.id, probe), probe


def earlier_probes(config: Config, round: int) -> Path:
    return RoundFiles(config.run_dir, round - 1).probes


def majorities_before(config: Config, round: int) -> dict[str, Message]:
    """What most drawn replies said in the last round, where labels may be refined."""
    if not config.verify.label_refinement or round < 2:
        return {}
    return majorities(read_jsonl(earlier_probes(config, round), Probe))


async def verify_probes(config: Config, probes: Path, verdicts: Path, fresh: bool = False,
                        prober: int | None = None, later: Sequence[Path] = (),
                        round: int = 1) -> StageMeta:
    """Judge every mismatch, as the process `prober` finds them if there is one; see
    looptool.stages.llm_stage.run_stage.

    Args:
        round: whose probes they are; those of the round before tell whose majority is stable.
    """
    options, judges = config.verify, voting(config)
    judging, before = config.ablation != "no_jglv", majorities_before(config, round)

    def to_judge() -> Iterator[tuple[str, Probe]]:
        # without JGLV all that comes here counts as an error, which no match is
        is_audited = audited(probes, options.audit_mastered if judging else 0)
        for probe in read_jsonl(probes, Probe):
            yield from mismatch(probe)
            if is_audited(probe) or probe.matches and refined(probe, before):
                yield id_with(probe.sample.id, probe), probe

    async with Client.from_config(config, RunFiles(config).answers) as client:
        ask = make_ask(client, {"judge": Sampling(temperature=options.temperature, form=JUDGEMENT)})

        async def work(probe: Probe) -> Outcome:
            verdict, is_audit = refined(probe, before), False
            if verdict is None and judging:
                is_audit = probe.matches
                verdict = await verify_one(challenged(probe) if is_audit else probe, ask, judges,
                                           options)
            elif verdict is None:
                verdict = assume_mispredicted(probe)
            if isinstance(verdict, str):
                return Outcome([], reason_against(verdict))
            verdict = replace(without_preference(verdict), audited=is_audit)
            return Outcome([verdict], "label_confirmed" if confirms_label(verdict)
                           else verdict.verdict.lower())

        # not there in round 1, and not read where no label is refined
        earlier = [earlier_probes(config, round)] if before else []
        # only mismatches are followed: an audit chooses by the perplexities of all probes
        return await run_stage("verify", Inputs(to_judge), work, verdicts,
                               settings=client.settings("judge") | stage_settings(config),
                               sources=[probes, JUDGE_PROMPT, *earlier],
                               in_flight=config.teacher.in_flight, usage=client.usage, fresh=fresh,
                               later=later, tell=False, follow=None if prober is None
                               else Follow(probes, Probe, prober, mismatch, probes))


def stage_settings(config: Config) -> dict[str, Any]:
    """What verdicts depend on beside the files."""
    options = config.verify
    always = ("both_orders", "votes_per_order", "confirming_votes", "temperature")
    return {"judges": voting(config), "judging": config.ablation != "no_jglv",
            **{key: value for key, value in options.recorded().items()
               if key in (*always, *options.beyond_paper)}}


def write_consequences(config: Config, probes: Path, folder: Path, round: int,
                       undone: bool | None = None) -> Counter[str]:
    """Write error seeds, label changes and high-perplexity probes from `folder`'s verdicts; returns
    their counts.

    Args:
        undone: whether the replacements are rolled back; None for what the file that is there
            says.
    """
    changed = folder / "label_changes.jsonl"
    if undone is None:
        undone = changed.exists() and any(
            change.undone for change in read_some(changed, LabelChange))

    def verdicts() -> Iterator[Verdict]:
        return read_some(folder / "verdicts.jsonl", Verdict)

    counts: Counter[str] = Counter()
    write_jsonl(folder / "error_seeds.jsonl", error_seeds(verdicts(), round, counts, undone))
    write_jsonl(changed, label_changes(verdicts(), round, undone))
    mix = config.mix
    both_correct = IdSet(verdict.probe.sample.id for verdict in verdicts()
                         if verdict.verdict == "BOTH_CORRECT")
    wrong = refuted(verdicts())
    # they go into D_{j+1}, for which mix.high_ppl may say another number
    listing, most = Listing(), planned(mix, round + 1)["high_ppl"]

    def is_candidate(probe: Probe) -> bool:
        return probe.matches and probe.sample.id not in wrong or probe.sample.id in both_correct

    high = select_high_perplexity(listing, listing.add(probes, Probe, is_candidate), most,
                                  mix.high_ppl_share, mix.high_ppl_threshold)
    if mix.medium_difficulty_share:
        medium = listing.add(
            probes, Probe, lambda probe: is_candidate(probe) and bool(medium_difficulty(probe)),
            medium_difficulty)
        first = select_high_perplexity(listing, medium, int(mix.medium_difficulty_share * most))
        high = np.concatenate(without_repeats(listing, [first, high]))[:most]
    counts["high_ppl"] = write_jsonl(folder / "high_ppl.jsonl", listing.records(high))
    return counts


def made_of_labels(files: RoundFiles, folder: Path, undone: bool) -> list[Path]:
    """The files that were made of a round's error seeds, where their replaced labels are to be
    `undone`, or done again; none where they are so already.

    Args:
        folder: where label_changes.jsonl is; what lies elsewhere than the round's own files led to
            nothing.

    Raises:
        InputError: there is no such file yet, or D_{j+1} was trained on.
    """
    changed = folder / "label_changes.jsonl"
    if not changed.exists():
        raise InputError(
            f"{changed}: is not there, so no label was replaced; name the round with --round")
    changes = list(read_some(changed, LabelChange))
    # or the file is empty: then the seeds stay as they are, and so does what was made of them
    if folder != files.folder or all(change.undone == undone for change in changes):
        return []
    after = files.next()
    if after.training.exists() or after.policy.exists():
        raise InputError(f"{after.folder}: a policy was trained on what these labels led to; move "
                         "this folder and those of all later rounds away, then say "
                         f"--{'rollback' if undone else 'replace'} again")
    # the glob finds an output's .meta.json and journal too, but not the manifest of a dataset
    return [path
            for output in (files.expanded, after.dataset, after.train_parquet, after.test_parquet)
            for path in (*output.parent.glob(f"{output.name}*"), output.with_suffix(".meta.json"),
                         card_path(output)) if path.exists()]


def remove(made: list[Path], files: RoundFiles) -> None:
    for path in made:
        path.unlink()
    if made:
        _log.info("verify: removed what was made of the old labels: %s; run scripts/07_expand.sh "
                  "and 08_next_round.sh again",
                  ", ".join(str(path.relative_to(files.run_dir))
                            for path in made if path.suffix in (".jsonl", ".parquet")))


def summary(meta: StageMeta, counts: Counter[str], round: int) -> str:
    """The last line; the .meta.json beside the verdicts has every count."""
    unjudged = sum(meta.counts.get(reason, 0)
                   for reason in ("unjudged", "judge_cut")) + meta.failed
    dropped = {"both right": counts["both_correct"], "both wrong": counts["both_wrong"],
               "undecided": counts["undecided"],
               "label confirmed": counts["label_confirmed"],
               "unusable": counts["label_wrong_unusable"], "rolled back": counts["rolled_back"],
               "unjudged": unjudged}
    return (f"verify: round {round}: {meta.inputs:,} judged -> {counts['mispredicted']:,} "
            f"prediction wrong, {counts['relabeled']:,} label replaced"
            f"{''.join(f', {count:,} {name}' for name, count in dropped.items() if count)}"
            f"{meta.marks()}; {meta.seconds:.0f} s")


def main() -> None:
    parser = argument_parser(__doc__, with_round=True)
    parser.add_argument("--probes", type=Path, metavar="FILE",
                        help="probes (default: round_j/probes.jsonl)")
    parser.add_argument("--output", type=Path, metavar="FOLDER",
                        help="folder for the four files (default: round_j)")
    parser.add_argument("--fresh", action="store_true",
                        help="forget what an earlier run has judged")
    parser.add_argument("--follow", type=int, metavar="PID",
                        help="judge what the running process PID has probed so far")
    undo = parser.add_mutually_exclusive_group()
    undo.add_argument("--rollback", action="store_const", const=True, dest="undone",
                      help="undo the round's replacements")
    undo.add_argument("--replace", action="store_const", const=False, dest="undone",
                      help="do them again")
    args = parser.parse_args()
    config = load_config(args.config, args.overrides)
    files = round_files(args, config)
    probes, folder = args.probes or files.probes, args.output or files.folder
    verdicts = folder / "verdicts.jsonl"
    made = [] if args.undone is None else made_of_labels(files, folder, args.undone)
    meta = asyncio.run(verify_probes(config, probes, verdicts, args.fresh, args.follow,
                                     files.made_from(verdicts), files.round))
    # only now: verify refuses a config that is another than the verdicts'
    remove(made, files)
    counts = write_consequences(config, probes, folder, files.round, args.undone)
    _log.info("%s", summary(meta, counts, files.round))


if __name__ == "__main__":
    run_main(main)
