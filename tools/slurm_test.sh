#!/usr/bin/env bash
# Evaluate under Slurm: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of
# test.py]. Environment as for slurm_train.sh.
set -euo pipefail
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG CHECKPOINT [arguments of test.py]" >&2
    exit 2
fi
partition=$1 job=$2 config=$3 checkpoint=$4
shift 4
source "$(dirname "$0")/python.sh"
source "$(dirname "$0")/slurm_options.sh"
exec srun "${options[@]}" \
    "$python" -u "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher slurm "$@"
