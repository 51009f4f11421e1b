#!/usr/bin/env bash
# Who is wrong where policy and label differ:
# round_j/{verdicts,error_seeds,label_changes,high_ppl}.jsonl.
# Takes --round J.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/judgement_label_verification.py" "$@"
