#!/usr/bin/env bash
# GRPO of Qwen3-8B on one node with 1, 2, 4 or 8 GPUs, on the Parquet files of json2parquet.py. With
# fewer than 8:
#   GPUS=1 bash train_grpo_qwen.sh           # train.gpus_per_node and train.optimizer_offload
# Takes --round J (or ROUND), --config FILE (default $LOOPTOOL_CONFIG, else configs/qwen3_8b.yaml),
# --set SECTION.KEY=VALUE, --dry-run and --fresh.
set -euo pipefail
grpotool="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export LOOPTOOL_CONFIG="${LOOPTOOL_CONFIG:-$grpotool/../configs/qwen3_8b.yaml}"

if [[ -n "${GPUS:-}" ]]; then
  set -- --set "train.gpus_per_node=$GPUS" "$@"
  ((GPUS >= 8)) || set -- --set train.optimizer_offload=true "$@"
fi
python "$grpotool/train.py" "$@"
