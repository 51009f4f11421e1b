#!/usr/bin/env bash
# The whole loop: tools, dialogs, samples, a cold start where the config has one, then `rounds`
# rounds, then the report. Flags (--config, --set) go to every step; --tools FILE goes to the first
# one and --overlap to the rounds. Killed anywhere and run again, it goes on where it was; `bash
# scripts/status.sh` says where that is. Rounds that are complete stay as they were made, also where
# the config was edited since; with --same-config that is refused.
set -euo pipefail
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

tools=() overlap=() same=() flags=()
while (($#)); do
  case "$1" in
    --tools) tools=("$1" "${2:?--tools: name a file or folder}"); shift 2 ;;
    --overlap) overlap=("$1"); shift ;;
    --same-config) same=("$1"); shift ;;
    *) flags+=("$1"); shift ;;
  esac
done
set -- "${flags[@]}"

bash "$scripts/01_synthesize_tools.sh" "${tools[@]}" "$@"
bash "$scripts/02_generate_dialogs.sh" "$@"
bash "$scripts/03_make_samples.sh" "$@"
python -m looptool.simulation.heldout "$@"  # first, as answers to other tasks are not complete
# a variable, as within `for` a failure would not end the script
left="$(python "$scripts/../dataloop/running/steps_left.py" "${same[@]}" "$@")"
for step in $left; do  # such as run_round.sh:1
  if [[ "$step" == run_round.sh:* ]]; then own=("${overlap[@]}"); else own=(); fi
  ROUND="${step#*:}" bash "$scripts/${step%:*}" "${own[@]}" "$@"
done
bash "$scripts/11_report.sh" "$@"
