#!/usr/bin/env bash
# The whole loop: tools, dialogs, samples, then `rounds` rounds, then the report. Flags (--config, --set) go to every
# step; --tools FILE goes to the first one and --overlap to the rounds. Killed anywhere and run again, it goes on where it
# was; `bash scripts/status.sh` says where that is.
set -euo pipefail
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

tools=() overlap=() flags=()
while (($#)); do
  case "$1" in
    --tools) tools=("$1" "${2:?--tools: name a file or folder}"); shift 2 ;;
    --overlap) overlap=("$1"); shift ;;
    *) flags+=("$1"); shift ;;
  esac
done
set -- "${flags[@]}"

bash "$scripts/01_synthesize_tools.sh" "${tools[@]}" "$@"
bash "$scripts/02_generate_dialogs.sh" "$@"
bash "$scripts/03_make_samples.sh" "$@"
ROUND=0 bash "$scripts/evaluate_heldout.sh" "$@"
for round in $(python -m looptool.config "$@"); do
  ROUND="$round" bash "$scripts/run_round.sh" "${overlap[@]}" "$@"
  ROUND="$round" bash "$scripts/evaluate_heldout.sh" "$@"
done
bash "$scripts/11_report.sh" "$@"
