#!/usr/bin/env bash
# The variants of Table 4 and the options beyond it, over seeds and SIMULATED worlds, beside the paper's figures.
# Hours; killed and run again, it goes on where it was. --table runs nothing and prints what is there so far.
#
#   bash scripts/ablations.sh                                    # Table 4 in the config's world, seeds 0 to 4, 3 rounds
#   bash scripts/ablations.sh --worlds random random_shared systematic systematic_shared --variants static    # the 2 x 2
#   bash scripts/ablations.sh --worlds systematic_shared --variants audit_mastered label_refinement      # the options
#   bash scripts/ablations.sh --table --results docs/results     # all tables and pictures of the committed results again
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/run_ablations.py" "$@"
