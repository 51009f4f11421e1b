"""The lines of the ablation table, and the SIMULATED worlds in which they are compared."""
from __future__ import annotations

from typing import NamedTuple, get_args

from looptool.config import Ablation, Config


class Variant(NamedTuple):
    """What makes one line of the table another run than the full loop."""

    ablation: Ablation = "none"
    settings: tuple[str, ...] = ()
    """Overrides of the config, as --set takes them."""

    @property
    def probes_alike(self) -> bool:
        """Whether a probe of round 1 holds the same as that of the full loop."""
        return not any(setting.startswith("probe.") for setting in self.settings)


TABLE_4: tuple[str, ...] = get_args(Ablation)
"""The paper's own, "none" being the full loop."""
DRAWS = "probe.samples=4"
OPTIONS: dict[str, Variant] = {
    "audit_mastered": Variant(settings=("verify.audit_mastered=0.5",)),
    "audit_with_draws": Variant(settings=("verify.audit_mastered=0.5", DRAWS)),
    "label_refinement": Variant(settings=("verify.label_refinement=true", DRAWS)),
    "pass_rate": Variant(settings=("mix.medium_difficulty_share=0.5", DRAWS)),
    "distractors": Variant(settings=("expand.distractors=3",)),
    "all_options": Variant(settings=("verify.audit_mastered=0.5", "verify.label_refinement=true",
                                     "mix.medium_difficulty_share=0.5", "expand.distractors=3",
                                     DRAWS))}
"""The full loop with options that are off in the paper."""
VARIANTS: dict[str, Variant] = {**{name: Variant(name) for name in get_args(Ablation)}, **OPTIONS}

NOISES, JUDGES = ("random", "systematic"), {"": "false", "_shared": "true"}
WORLDS: dict[str, tuple[str, ...]] = {
    f"{noise}{ending}": (f"simulation.noise={noise}",
                         f"simulation.judge_shares_blind_spots={shares}")
    for noise in NOISES for ending, shares in JUDGES.items()}
"""The 2 x 2 of noise and judge: overrides of the config by name."""
IN_WORDS = {"random": "errors at random, judge independent",
            "random_shared": "errors at random, judge of the teacher's kind",
            "systematic": "systematic errors, judge independent",
            "systematic_shared": "systematic errors, judge of the teacher's kind"}


def world_of(config: Config) -> str:
    """The name of the world that a config describes; "real" where nothing is simulated."""
    shares = config.simulation.judge_shares_blind_spots
    return (f"{config.simulation.noise}{'_shared' if shares else ''}" if config.teacher.is_simulated
            else "real")
