# Sourced by the scripts that stand at the beginning: makes .venv from requirements.txt if it is not there or not current,
# and puts it first on PATH. PYTHON names the interpreter to make it with (default python3).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
venv="${LOOPTOOL_VENV:-$root/.venv}"
wanted="$(cksum < "$root/requirements.txt")"

if [[ "$(cat "$venv/.requirements" 2>/dev/null || true)" != "$wanted" ]]; then
  "${PYTHON:-python3}" -c 'import sys; assert (3, 10) <= sys.version_info[:2] <= (3, 12), "LoopTool needs Python 3.10, 3.11 or 3.12: set PYTHON=python3.11"'
  echo "setting up $venv (1 to 2 minutes, once)"
  "${PYTHON:-python3}" -m venv "$venv"
  (cd "$root" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 -r requirements.txt)
  echo "$wanted" > "$venv/.requirements"
fi
export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
