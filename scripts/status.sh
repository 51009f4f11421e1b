#!/usr/bin/env bash
# Where a loop stands, running or stopped: each step of each round, and what to run next. Takes
# --config and --set.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dataloop/running/status.py" "$@"
