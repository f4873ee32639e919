#!/usr/bin/env bash
# Train with several processes: tools/dist_train.sh CONFIG PROCESSES [arguments of train.py]
# One process per GPU; without GPUs they talk over gloo. For several machines run it on each with
# NNODES, NODE_RANK and MASTER_ADDR set. PORT and PYTHON can be set too.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [arguments of train.py]" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$processes" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
