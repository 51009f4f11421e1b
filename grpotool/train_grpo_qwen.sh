#!/usr/bin/env bash
# GRPO of Qwen3-8B on one node with 1 to 8 GPUs, on the Parquet files of json2parquet.py. With fewer than 8:
#   bash train_grpo_qwen.sh --set train.gpus_per_node=1 --set train.tensor_parallel=1
# Takes --round J (or ROUND), --config FILE (default configs/qwen3_8b.yaml), --set SECTION.KEY=VALUE and --dry-run.
set -euo pipefail
grpotool="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export LOOPTOOL_CONFIG="${LOOPTOOL_CONFIG:-$grpotool/../configs/qwen3_8b.yaml}"

python "$grpotool/train.py" "$@"
