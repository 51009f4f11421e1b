#!/usr/bin/env bash
# The tools of a run: run_dir/tools.jsonl. Flags go to dialog_generation/synthesize_tools.py, such
# as --tools FILE.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dialog_generation/synthesize_tools.py" "$@"
