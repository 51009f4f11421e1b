#!/usr/bin/env bash
# LoopTool on a laptop: makes .venv, runs two whole rounds on the CPU, prints the table, writes
# runs/laptop/report.html. A tiny student, a SIMULATED teacher, the same scripts as on a cluster.
# About 10 minutes on 2 cores, 8 GB of memory. With --static, training on D_1 again in every round
# is run too (5 minutes more) and stands beside it in table and page.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_looptool

beside=() flags=(--config "$root/configs/laptop.yaml")
for flag in "$@"; do
  if [[ "$flag" == --static ]]; then beside=(--static); else flags+=("$flag"); fi
done
bash "$root/scripts/run_loop.sh" "${flags[@]}"
if ((${#beside[@]})); then
  python "$root/dataloop/ablations/static_training.py" "${flags[@]}"
  python "$root/dataloop/report.py" --static "${flags[@]}"
fi

cat << 'NEXT'

try next
  source .venv/bin/activate                      first, in each new shell
  bash scripts/00_quickstart.sh --static         training on D_1 alone, beside the loop (5 minutes)
  bash scripts/run_loop.sh --tools FILE --set run_dir=runs/mine      the same with your own tools
  python examples/loop_minimal.py                the whole method in 200 lines (a minute)
NEXT
