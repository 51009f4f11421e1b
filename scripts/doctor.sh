#!/usr/bin/env bash
# Everything that would fail later, said now: one line a check, exit code 1 if one fails, and
# nothing is written. Takes --round J (or ROUND), --config FILE and --set SECTION.KEY=VALUE. Rows
# are checked once json2parquet.py has run.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/grpotool/doctor/main.py" "$@"
