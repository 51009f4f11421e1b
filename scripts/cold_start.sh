#!/usr/bin/env bash
# Before round 1, where train.cold_start.steps is not 0: supervised steps on D_1 (or --input FILE)
# make pi_0 from the student, round_0/policy. For a base model, or one that writes calls in another
# form, which GRPO alone would hardly move. Takes --config FILE, --set SECTION.KEY=VALUE, --input
# FILE, and --fresh, which forgets an earlier cold start.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/grpotool/cold_start/train.py" "$@"
