#!/usr/bin/env bash
# The variants of Table 4 and the options beyond it, over seeds and SIMULATED worlds, beside the
# paper's figures. Hours; killed and run again, it goes on where it was.
#
#   bash scripts/ablations.sh                   # Table 4 in the config's world, 5 seeds, 3 rounds
#   bash scripts/ablations.sh --variants static \
#     --worlds random random_shared systematic systematic_shared     # when the loop helps: 2 x 2
#   bash scripts/ablations.sh --worlds systematic_shared \
#     --variants audit_with_draws distractors          # what options win in the worst corner
#   bash scripts/ablations.sh --table --results docs/results         # from the kept results again
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/ablations/run.py" "$@"
