#!/usr/bin/env bash
# The table of a run in the terminal, run_dir/report.html and report.json. Takes --config FILE and
# --set SECTION.KEY=VALUE.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/report.py" "$@"
