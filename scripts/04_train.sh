#!/usr/bin/env bash
# GRPO of one round (section 4.1): round_J/dataset.jsonl and the policy of round J-1 ->
# round_J/policy. The doctor looks first. Takes --round J (or ROUND), --config FILE, --set
# SECTION.KEY=VALUE, and --fresh, which forgets an earlier training of the round. Where train.nodes
# is more than 1, the nodes are those of the SLURM job, of $LOOPTOOL_HOSTS, or of the Ray cluster at
# $RAY_API_SERVER_ADDRESS.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/grpotool/dataset/utils/json2parquet.py" "$@"
python "$root/grpotool/doctor/main.py" --training "$@"
python "$root/grpotool/nodes/multinode.py" "$@"
