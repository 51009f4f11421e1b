#!/usr/bin/env bash
# GRPO of Qwen3-32B on 4 nodes with 8 GPUs each. The repository and the run's folder lie where all
# nodes see them.
#   by ssh, from the first node:
#     bash multinode_qwen32b.sh --hosts node1,node2,node3,node4 --round 1
#   in a SLURM job of 4 nodes:     bash multinode_qwen32b.sh --round 1
#   on a Ray cluster that runs:    bash multinode_qwen32b.sh --address http://HEAD:8265 --round 1
# Waits until every node and GPU is there, trains, and says which node was lost. Takes the flags of
# train_grpo_qwen.sh too.
set -euo pipefail
grpotool="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export LOOPTOOL_CONFIG="${LOOPTOOL_CONFIG:-$grpotool/../configs/qwen3_32b.yaml}"

exec python "$grpotool/nodes/multinode.py" "$@"
