"""How good is a real model as the judge of JGLV, and what are both orders worth with it?

    python benchmarks/real_judge.py --probes FILE [FILE ...] --endpoint http://HOST:PORT/v1 \\
        --model NAME [--count 200] [--structured auto|on|off] [--out runs/real_judge]

In: probes of a laptop run, whose truth the SIMULATED world knows, and a REAL model behind an
OpenAI-compatible server. `--count` mismatches, drawn by seed 0, go through the loop's own
verification, one vote in each order. The votes are then read three ways: label first only (the
paper's), prediction first only, and both, which must agree. Out: the table that is printed, and one
JSON object as last line. Killed and run again it goes on where it was; `--out` keeps every vote.

- right: verdicts that are the true one, of those that are decided
- kappa: Cohen's, of the decided verdicts with the true ones; 0 is chance
- LABEL_WRONG right: of the labels that would be replaced, those that are wrong, the prediction
  being right
- first place: of the votes for one candidate only, those for the one that stands first; 50% is no
  preference
"""
from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from dataloop.judgement_label_verification import verify_probes
from dataloop.report import simulated_world
from dataloop.reporting.files import unjudged
from dataloop.reporting.measures import TRUE_VERDICTS, Known, kappa, rate
from looptool.command import run_main
from looptool.config_file import ROOT, load_config
from looptool.json_lines import read_jsonl, write_jsonl
from looptool.records import Probe, Verdict
from looptool.stages.meta import StageMeta

FIRST = {(True, "PRED_WRONG"), (False, "LABEL_WRONG")}
"""Votes for the candidate that stands first: (label_first, verdict)."""
ONE_SIDED = ("PRED_WRONG", "LABEL_WRONG")


def true_verdict(probe: Probe, known: Known) -> str | None:
    """What a perfect judge says of a mismatch; None where the world does not know."""
    sides = known(probe.sample, probe.sample.label), known(probe.sample, probe.prediction)
    return None if None in sides else TRUE_VERDICTS[sides]


def drawn(paths: Iterable[Path], count: int, known: Known) -> list[Probe]:
    """`count` mismatches of known truth; all if there are fewer. Each sample once."""
    found = {probe.sample.id: probe for path in paths for probe in read_jsonl(path, Probe)
             if not probe.matches and not probe.faults and true_verdict(probe, known)}
    # sorted, so that the draw does not depend on the order of the files
    ids = sorted(found)
    return [found[id] for id in random.Random(0).sample(ids, min(count, len(ids)))]


def by_order(label_first: bool) -> Callable[[Verdict], str]:
    """The verdict of one order alone."""
    return lambda verdict: next(vote.verdict for vote in verdict.votes
                                if vote.label_first == label_first)


READINGS: dict[str, Callable[[Verdict], str]] = {
    "label first": by_order(True), "prediction first": by_order(False),
    "both agree": lambda verdict: verdict.verdict}


def figures(verdicts: Sequence[Verdict], known: Known) -> dict[str, dict[str, object]]:
    """By reading: hits and totals, and kappa."""
    rows: dict[str, dict[str, object]] = {}
    for name, reading in READINGS.items():
        pairs = [(reading(verdict), true_verdict(verdict.probe, known)) for verdict in verdicts]
        pairs = [pair for pair in pairs if pair[0] != "UNDECIDED"]
        confusion: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for said, true in pairs:
            confusion[true][said] += 1
        replaced = [one == other for one, other in pairs if one == "LABEL_WRONG"]
        rows[name] = {
            "decided": [len(pairs), len(verdicts)],
            "right": [sum(one == other for one, other in pairs), len(pairs)],
            "kappa": kappa(confusion), "LABEL_WRONG right": [sum(replaced), len(replaced)]}
    return rows


def first_place(verdicts: Sequence[Verdict]) -> list[int]:
    """Votes for the first candidate, and votes for one candidate only."""
    votes = [vote for verdict in verdicts for vote in verdict.votes if vote.verdict in ONE_SIDED]
    return [sum((vote.label_first, vote.verdict) in FIRST for vote in votes), len(votes)]


def shown(hits: int, total: int) -> str:
    """"61.0% of 100 (51.2-70.0)", with Wilson's 95% interval."""
    if not total:
        return "-"
    share = rate(Counter({True: hits, False: total - hits}))
    return f"{share.share:.1%} of {total} ({100 * share.low:.1f}-{100 * share.high:.1f})"


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probes", type=Path, nargs="+", required=True)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--model", required=True, help="its name there")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--structured", choices=("auto", "on", "off"), default="auto")
    parser.add_argument("--max-tokens", type=int, default=512, help="of one reply")
    parser.add_argument("--in-flight", type=int, default=8)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "real_judge")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    os.environ.setdefault("CI", "1")
    logging.basicConfig(level=logging.WARNING)
    known = simulated_world().right
    probes = drawn(args.probes, args.count, known)
    config = load_config(ROOT / "configs" / "laptop.yaml", [
        f"run_dir={args.out}", f"teacher.base_urls=[{args.endpoint}]",
        f"teacher.models=[{args.model}]", f"teacher.in_flight={args.in_flight}",
        f'teacher.structured="{args.structured}"', f"teacher.max_tokens.judge={args.max_tokens}",
        "teacher.timeout_seconds=3600", "verify.confirming_votes=0"])
    chosen = args.out / f"mismatches_{len(probes)}.jsonl"
    judged = args.out / f"verdicts_{len(probes)}.jsonl"
    write_jsonl(chosen, probes)
    meta = asyncio.run(verify_probes(config, chosen, judged))
    if meta.failed:
        raise SystemExit(f"{meta.failed} mismatches got no answer; run this again for them alone")
    report(args, probes, list(read_jsonl(judged, Verdict)), meta, known)


def report(args: argparse.Namespace, probes: Sequence[Probe], verdicts: Sequence[Verdict],
           meta: StageMeta, known: Known) -> None:
    truth, usage = Counter(true_verdict(probe, known) for probe in probes), meta.usage["judge"]
    print(f"judge {args.model}, structured {args.structured}, at most {args.max_tokens} tokens")
    print(f"{len(probes)} mismatches of simulated tasks; truth: "
          f"{', '.join(f'{count} {name}' for name, count in truth.most_common())}")
    print(f"{unjudged(meta)} unjudged; {usage.calls} calls, "
          f"{usage.cut} cut, {usage.unstructured} unstructured, {meta.seconds:.0f} s")
    rows, first = figures(verdicts, known), first_place(verdicts)
    print(f"{'':18}{'decided':>28}{'right':>28}{'kappa':>8}{'LABEL_WRONG right':>28}")
    for name, row in rows.items():
        agreement = "-" if row["kappa"] is None else f"{row['kappa']:.2f}"
        print(f"{name:18}{shown(*row['decided']):>28}{shown(*row['right']):>28}{agreement:>8}"
              f"{shown(*row['LABEL_WRONG right']):>28}")
    print(f"first place: {shown(*first)}")
    print(json.dumps({"truth": truth, "readings": rows, "first place": first,
                      "calls": usage.calls, "cut": usage.cut}))


if __name__ == "__main__":
    run_main(main)
