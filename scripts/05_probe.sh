#!/usr/bin/env bash
# What the policy can do by itself: round_j/probes.jsonl. Flags go to
# dataloop/greedy_capability_prob.py, such as --round J.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/greedy_capability_prob.py" "$@"
