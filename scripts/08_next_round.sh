#!/usr/bin/env bash
# The next round's dataset: round_{j+1}/dataset.jsonl. Takes --round J.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/next_round.py" "$@"
