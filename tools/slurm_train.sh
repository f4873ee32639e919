#!/usr/bin/env bash
# Train under Slurm: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py]
# GPUS (8), GPUS_PER_NODE (8) and CPUS_PER_TASK (5) can be set, SRUN_ARGS is passed on to srun.
# GPUS=0 runs PROCESSES (2) tasks without GPUs.
set -euo pipefail
if [ $# -lt 3 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG [arguments of train.py]" >&2
    exit 2
fi
partition=$1 job=$2 config=$3
shift 3
source "$(dirname "$0")/python.sh"
source "$(dirname "$0")/slurm_options.sh"
exec srun "${options[@]}" \
    "$python" -u "$(dirname "$0")/train.py" "$config" --launcher slurm "$@"
