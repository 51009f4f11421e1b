#!/usr/bin/env bash
# ACEBench of one model, from a checkout of the benchmark: its figures beside the paper's, with a
# protocol card. Flags go to bfcl/acebench/evaluate.py, such as --acebench FOLDER --round J --base;
# what stands behind -- goes to vLLM.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

exec python "$root/bfcl/acebench/evaluate.py" "$@"
