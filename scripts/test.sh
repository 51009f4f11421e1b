#!/usr/bin/env bash
# Makes .venv from requirements.txt, and .venv-bfcl for the tests of the evaluation, and runs the
# tests, two at a time. Flags go to pytest:
#   bash scripts/test.sh -m "not slow"
#   bash scripts/test.sh -n 0 -m cluster            # one at a time: they share the network
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_looptool
# in a subshell, as the tests run in the first environment
(use_bfcl v3)

cd "$root"
# Two workers that each use two threads wait for one another on two cores.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
# A file stays with one worker: else each of both would make what its tests share.
python -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder "$@"
