#!/usr/bin/env bash
# LoopTool on a laptop: makes .venv, runs two whole rounds on the CPU, prints the table, writes runs/laptop/report.html.
# A tiny student, a SIMULATED teacher, the same scripts as on a cluster. About 10 minutes on 2 cores, 8 GB of memory.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_looptool

bash "$root/scripts/run_loop.sh" --config "$root/configs/laptop.yaml" "$@"
