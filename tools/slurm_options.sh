# Options of srun, for slurm_train.sh and slurm_test.sh: reads partition, job and the environment.
gpus=${GPUS:-8}
per_node=${GPUS_PER_NODE:-8}
options=(
    --partition="$partition"
    --job-name="$job"
    --cpus-per-task="${CPUS_PER_TASK:-5}"
    --kill-on-bad-exit=1
)
if [ "$gpus" -gt 0 ]; then
    [ "$gpus" -lt "$per_node" ] && per_node=$gpus
    options+=(--gres="gpu:$per_node" --ntasks="$gpus" --ntasks-per-node="$per_node")
else
    options+=(--ntasks="${PROCESSES:-2}")
fi
read -r -a extra <<<"${SRUN_ARGS:-}"
options+=("${extra[@]}")
# Jobs on one node must not meet at one port; all tasks of a job get this one.
export MASTER_PORT=${PORT:-${MASTER_PORT:-$((20000 + RANDOM % 10000))}}
