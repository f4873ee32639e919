#!/usr/bin/env bash
# Train with several processes: tools/dist_train.sh CONFIG PROCESSES [arguments of train.py]
# One process per GPU; without GPUs they talk over gloo. For several machines run it on each with
# NNODES, NODE_RANK and MASTER_ADDR set. PORT (a free one, or 29500 on several machines) and PYTHON
# (the active environment, or the project's .venv) can be set too.
set -euo pipefail
if [ $# -lt 2 ]; then
    echo "usage: $0 CONFIG PROCESSES [arguments of train.py]" >&2
    exit 2
fi
config=$1 processes=$2
shift 2
source "$(dirname "$0")/python.sh"
source "$(dirname "$0")/dist_options.sh"
exec "$python" -m torch.distributed.run "${options[@]}" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
