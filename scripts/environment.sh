# Sourced by the scripts that stand at the beginning, which then name the environment they run in.
# It is made if it is not there or not current, and stands first on PATH. PYTHON names the
# interpreter to make it with (default python3).
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

cpu_wheels=https://download.pytorch.org/whl/cpu # PyTorch's own index

pip_install() { "$1/bin/python" -m pip install --quiet --disable-pip-version-check "${@:2}"; }

# On Linux pip's default build of torch brings CUDA libraries of several GB. Where there is no
# NVIDIA GPU, its CPU build comes first, from where pip looks anyway, else from PyTorch's own index.
install_torch() { # FOLDER REQUIREMENTS
  local torch
  torch="$(grep '^torch==' "$2" || true)"
  [[ "$torch" && "$(uname -s)" == Linux ]] || return 0
  if nvidia-smi -L > /dev/null 2>&1; then
    echo "torch: pip's default build with CUDA, as nvidia-smi finds a GPU"
  elif pip_install "$1" "$torch+cpu" 2> /dev/null; then
    echo "torch: the CPU build, from pip's own index, as nvidia-smi finds no GPU"
  elif pip_install "$1" --extra-index-url "$cpu_wheels" "$torch+cpu" 2> /dev/null; then
    echo "torch: the CPU build, from $cpu_wheels, as nvidia-smi finds no GPU"
  else
    echo "torch: pip's default build, several GB with CUDA, as $cpu_wheels gave no CPU build"
  fi
}

use_environment() {  # FOLDER REQUIREMENTS [FLAGS of pip]
  local venv="$1" requirements="$2" wanted
  # pip links what the latter names
  wanted="$(cat "$root/$requirements" "$root/pyproject.toml" | cksum)"
  if [[ "$(cat "$venv/.requirements" 2>/dev/null || true)" != "$wanted" ]]; then
    "${PYTHON:-python3}" -c 'import sys; assert (3, 10) <= sys.version_info[:2] <= (3, 12), \
"LoopTool needs Python 3.10, 3.11 or 3.12: set PYTHON=python3.11"'
    echo "setting up ${venv#"$PWD"/} (1 to 2 minutes, once)"
    "${PYTHON:-python3}" -m venv "$venv"
    install_torch "$venv" "$root/$requirements"
    # in there, as requirements name this repository by `-e .`
    (cd "$root" && pip_install "$venv" --use-pep517 "${@:3}" -r "$requirements")
    # last, so that an installation that was broken off is done again
    echo "$wanted" > "$venv/.requirements"
  fi
  export PATH="$venv/bin:$PATH" VIRTUAL_ENV="$venv"
}

use_looptool() { use_environment "${LOOPTOOL_VENV:-$root/.venv}" requirements.txt; }

use_bfcl() {  # v3 | v4
  # vLLM is in the environment that was active before
  export SERVE_PYTHON="${SERVE_PYTHON:-$(command -v python || true)}"
  case "$1" in
    v3) BFCL_EVAL=2025.6.14 use_environment "$root/.venv-bfcl" requirements-bfcl.txt --no-deps ;;
    v4) BFCL_EVAL=2026.3.23 use_environment "$root/.venv-bfcl-v4" requirements-bfcl.txt --no-deps ;;
    *) echo "BFCL=$1: v3 or v4" >&2; exit 2 ;;
  esac
}
