# Sourced by the scripts that stand at the beginning, which then name the environment they run in: it is made if it is not
# there or not current, and stands first on PATH. PYTHON names the interpreter to make it with (default python3).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

use_environment() {  # FOLDER REQUIREMENTS [FLAGS of pip]
  local venv="$1" requirements="$2" wanted
  wanted="$(cat "$root/$requirements" "$root/pyproject.toml" | cksum)"  # the latter names our packages, which pip links
  if [[ "$(cat "$venv/.requirements" 2>/dev/null || true)" != "$wanted" ]]; then
    "${PYTHON:-python3}" -c 'import sys; assert (3, 10) <= sys.version_info[:2] <= (3, 12), "LoopTool needs Python 3.10, 3.11 or 3.12: set PYTHON=python3.11"'
    echo "setting up $venv (1 to 2 minutes, once)"
    "${PYTHON:-python3}" -m venv "$venv"
    (cd "$root" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --use-pep517 "${@:3}" -r "$requirements")
    echo "$wanted" > "$venv/.requirements"
  fi
  export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
}

use_looptool() { use_environment "${LOOPTOOL_VENV:-$root/.venv}" requirements.txt; }

use_bfcl() {  # v3 | v4
  export SERVE_PYTHON="${SERVE_PYTHON:-$(command -v python || true)}"  # vLLM is in the environment that was active before
  case "$1" in
    v3) BFCL_EVAL=2025.6.14 use_environment "$root/.venv-bfcl" requirements-bfcl.txt --no-deps ;;
    v4) BFCL_EVAL=2026.3.23 use_environment "$root/.venv-bfcl-v4" requirements-bfcl.txt --no-deps ;;
    *) echo "BFCL=$1: v3 or v4" >&2; exit 2 ;;
  esac
}
