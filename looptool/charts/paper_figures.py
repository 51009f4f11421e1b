"""The paper's BFCL-v3 overall of Qwen3-8B by round, and the gain by size, to print beside ours."""
from __future__ import annotations

FULL = "none"
"""The config's word for the loop as it is."""
BY_ROUND: dict[str, list[float | None]] = {
    FULL: [65.19, 71.20, 73.00, 74.34, 74.93], "static": [65.19, 71.20, 73.3, 73.5, 72.2],
    "no_high_ppl": [None, None, 72.31, 73.50], "no_jglv": [None, None, 71.30, 72.61],
    "no_edde": [None, None, 71.50, 73.12], "high_ppl_replace": [None, None, 72.50, 73.28],
    "error_seed_repetition": [None, None, 72.38, 73.43]}
"""Percent by variant, before training and after each round (Table 4; static: read off Figure 2)."""
GAINS = {"0.6B": 0.70, "8B": 1.80}
"""Points of round 2 over round 1 by size of the student, the smallest and the largest that the
paper tells."""
