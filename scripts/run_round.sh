#!/usr/bin/env bash
# One round of LoopTool (algorithm 1): train, probe, verify, expand, mix the next dataset. Give it
# the round as ROUND=J or --round J; other flags (--config, --set) go to every step. Killed anywhere
# and run again, it goes on where it was. With --overlap verification starts while probing runs, and
# expansion while verification runs.
set -euo pipefail
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

overlap= flags=()
for flag; do
  if [[ "$flag" == --overlap ]]; then overlap=yes; else flags+=("$flag"); fi
done
set -- "${flags[@]}"

bash "$scripts/04_train.sh" "$@"
if [[ "$overlap" ]]; then
  python "$scripts/../dataloop/running/overlap.py" "$@"
else
  bash "$scripts/05_probe.sh" "$@"
  bash "$scripts/06_verify.sh" "$@"
  bash "$scripts/07_expand.sh" "$@"
fi
bash "$scripts/08_next_round.sh" "$@"
