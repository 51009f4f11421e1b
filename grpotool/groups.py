"""Whether GRPO has anything to learn from: rewards by group, which is all rollouts of a prompt.

In: verl's dump of a step's rollouts. Without a difference between the rewards of a group its
advantages are 0 (section 4.1), so where no group has any reward, a training changes nothing.
"""
from __future__ import annotations

import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

import msgspec

from grpotool.reward import compute_score

QUIET_SECONDS = 2.0
"""verl writes a dump in the background; one that has not grown for so long is whole."""


class Groups(NamedTuple):
    """The rollouts of one step, by prompt."""

    count: int
    rewarded: int
    """Groups with any reward."""
    mixed: int
    """Of these the ones with different rewards, which alone have a gradient."""
    reasons: Counter[str]
    """Of all rollouts; "match" is the one of those with a reward."""

    def record(self) -> dict[str, dict[str, int]]:
        """For the step's line of metrics.jsonl."""
        groups = {"count": self.count, "rewarded": self.rewarded, "mixed": self.mixed}
        return {"reasons": dict(self.reasons.most_common()), "groups": groups}

    def line(self) -> str:
        """What a user should know after the first step: a warning where nothing was rewarded."""
        if self.rewarded:
            return (f"first step: {self.rewarded} of {self.count} groups have a reward "
                    f"({self.rewarded / self.count:.0%}), {self.mixed} of them different ones, "
                    "from which GRPO learns")
        reason, count = self.reasons.most_common(1)[0]
        return (f"warning: first step: none of {self.count} groups has any reward, so GRPO learns "
                f"nothing; the commonest reason is {reason} ({count / self.reasons.total():.0%}). "
                "Better stop, and let the student learn the format of calls first: set "
                "train.cold_start.steps, to 24 for example, and run scripts/cold_start.sh")


def groups(dump: Path, mode: str) -> Groups:
    """Rewards as verl had them; reasons by the reward once more, whose `mode` is train.reward."""
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    reasons: Counter[str] = Counter()
    with dump.open("rb") as lines:
        for line in lines:
            rollout = msgspec.json.decode(line)
            score = compute_score("looptool", rollout["output"], rollout["gts"], mode=mode)
            # by the label too, as two samples of a dataset may have one prompt
            scores[rollout["input"], rollout["gts"]].append(rollout["score"])
            reasons[score["reason"]] += 1
    return Groups(len(scores), sum(map(any, scores.values())),
                  sum(len(set(group)) > 1 for group in scores.values()), reasons)


def is_whole(dump: Path) -> bool:
    """Whether verl has written all of a dump."""
    return dump.exists() and time.time() - dump.stat().st_mtime > QUIET_SECONDS
