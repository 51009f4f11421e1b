#!/usr/bin/env bash
# The variants of Table 4 over several seeds, beside the paper's figures: --variants NAME..., --seeds N..., --rounds N, and
# --config and --set for every run. Hours; killed and run again, it goes on where it was. --table prints what is there so far.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/run_ablations.py" "$@"
