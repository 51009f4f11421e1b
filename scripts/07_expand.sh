#!/usr/bin/env bash
# New samples from the errors: round_j/expanded.jsonl. Takes --round J.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/error_data_expansion.py" "$@"
