#!/usr/bin/env bash
# GRPO of Qwen3-32B on 4 nodes with 8 GPUs each, as a Ray job. Start Ray first, all nodes with the same files and software:
#   head node:   ray start --head --port=6379 --dashboard-host=0.0.0.0
#   the others:  ray start --address=HEAD:6379
# and then, on any of them (RAY_API_SERVER_ADDRESS names the head where it is another one):
#   bash multinode_qwen32b.sh --round 1
# The run's folder must be on a file system that all nodes share. Takes the flags of train_grpo_qwen.sh.
set -euo pipefail
grpotool="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
config="${LOOPTOOL_CONFIG:-$grpotool/../configs/qwen3_32b.yaml}"

if [[ " $* " == *" --dry-run "* || " $* " == *" --help "* ]]; then
  exec python "$grpotool/train.py" --config "$config" "$@"
fi
exec ray job submit --address "${RAY_API_SERVER_ADDRESS:-http://127.0.0.1:8265}" -- \
  python "$grpotool/train.py" --config "$config" "$@"
