#!/usr/bin/env bash
# How many held-out tasks a round's policy solves: run_dir/heldout.jsonl ->
# round_j/heldout_probes.jsonl. Takes --round J; round 0 is the policy before training. With a
# simulated teacher the tasks are made first, else they are the user's own.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python -m looptool.simulation.heldout "$@"
python "$root/dataloop/greedy_capability_prob.py" --heldout "$@"
