#!/usr/bin/env bash
# Dialogs by four agents, run_dir/dialogs.jsonl, and those that pass verification,
# run_dir/verified_dialogs.jsonl. Flags go to dialog_generation/run.py, such as --crawl_num N.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dialog_generation/run.py" --func data_crawl "$@"
python "$root/dialog_generation/run.py" --func data_post_process "$@"
