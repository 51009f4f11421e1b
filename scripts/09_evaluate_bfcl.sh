#!/usr/bin/env bash
# BFCL of a model, by the official tasks and scorer, with a protocol card: round_J/bfcl_v3/ of the
# run. BFCL=v4 takes v4. It makes its own .venv-bfcl. Flags go to bfcl/evaluate.py, those behind --
# to vLLM:
#   bash scripts/09_evaluate_bfcl.sh --config configs/qwen3_8b.yaml --round 2 --base \
#     -- --tensor-parallel-size 8
#   bash scripts/09_evaluate_bfcl.sh --config configs/qwen3_8b.yaml --model Qwen/Qwen3-8B \
#     --prompt native --subset
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_bfcl "${BFCL:-v3}"

exec python "$root/bfcl/evaluate.py" "$@"
