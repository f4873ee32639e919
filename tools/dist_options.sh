# Options of torchrun, for dist_train.sh and dist_test.sh: reads "python" and the environment.
nodes=${NNODES:-1} rank=${NODE_RANK:-0} port=${PORT:-}
if [ "$nodes" -gt 1 ]; then
    port=${port:-29500} # all machines have to name the same one
fi
if [ "$rank" -eq 0 ]; then
    # Port 0 asks the system for a free one.
    port=$("$python" -c 'import socket, sys
script, port = sys.argv[1:]
try:
    with socket.create_server(("", int(port))) as server:
        print(server.getsockname()[1])
except (OSError, ValueError, OverflowError) as error:
    sys.exit(f"{script}: port {port} cannot be used here: {error}. Another training may have it. "
             "Set PORT to another one, the same on all machines; on a single machine leave PORT "
             "unset, and a free one is chosen.")' "$(basename "$0")" "${port:-0}")
fi
options=(
    --nnodes="$nodes"
    --node_rank="$rank"
    --master_addr="${MASTER_ADDR:-127.0.0.1}"
    --master_port="$port"
    --nproc_per_node="$processes"
)
