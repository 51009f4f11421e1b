#!/usr/bin/env bash
# Dialogs -> conversations -> samples -> D_seed (run_dir/seed.jsonl) -> D_1
# (run_dir/round_1/dataset.jsonl). Takes --config FILE and --set SECTION.KEY=VALUE.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

python "$root/dialog_generation/trans2conversation.py" "$@"
python "$root/grpotool/dataset/utils/conversation_transform_grpo_qwen.py" "$@"
python "$root/grpotool/dataset/utils/filter_grpo_sample.py" "$@"
python "$root/dataloop/next_round.py" --round 0 "$@"
