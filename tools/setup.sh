#!/usr/bin/env bash
# Sets up .venv with everything mmspike needs. Run it as often as you like: finished steps are
# skipped, an interrupted one starts again. PYTHON=... chooses the interpreter. TORCH=... sets up
# another torch, a version such as 2.6 or 2.14.1 or 'latest', in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

TORCH=${TORCH:-}
VENV=.venv${TORCH:+-torch$TORCH}
STAMPS=$VENV/.mmspike
LOG=$VENV/setup.log
PIP=("$VENV/bin/python" -m pip --disable-pip-version-check --retries 3 --timeout 60)
TESTED=requirements/constraints.txt
CONSTRAINTS=$TESTED
KERNELS=mmspike/neurons/kernels/csrc

fail() {
    printf '\nmake setup: %s\n' "$1" >&2
    exit 1
}

# --- what the machine must have ------------------------------------------------------------------
[ "$(uname -s)" = Linux ] || fail "mmspike supports Linux; this is $(uname -s)."

if ! [[ $TORCH =~ ^(|latest|[0-9]+(\.[0-9]+)+)$ ]]; then
    fail "TORCH=$TORCH is no version of torch; name one (make setup TORCH=2.14.1) or the newest: TORCH=latest."
fi
if [ -n "${PYTHON:-}" ] && ! command -v "$PYTHON" >/dev/null 2>&1; then
    fail "PYTHON=$PYTHON cannot be run."
fi
usable() { # an interpreter that runs and is of a supported version
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null
}
find_python() {
    local candidate
    for candidate in ${PYTHON:-python3.11 python3.12 python3 python}; do
        if usable "$candidate"; then
            echo "$candidate"
            return
        fi
    done
}
if [ -n "${PYTHON:-}" ] && [ -x $VENV/bin/python ] && usable "$PYTHON" &&
    [ "$("$PYTHON" --version)" != "$($VENV/bin/python --version)" ]; then
    fail "$VENV was made with $($VENV/bin/python --version), not $("$PYTHON" --version); remove it first: rm -r $VENV"
fi
complete() { # an environment that is there as a whole: the interpreter comes first, pip last
    [ -x $VENV/bin/python ] && usable $VENV/bin/python && $VENV/bin/python -m pip --version >/dev/null 2>&1
}
if complete; then
    python=$VENV/bin/python
else
    python=$(find_python)
    if [ -z "$python" ]; then
        found=$("${PYTHON:-python3}" --version 2>&1 || true)
        fail "Python 3.11 or 3.12 is needed; '${PYTHON:-python3}' says: ${found:-nothing}.
Install one (Debian, Ubuntu: apt install python3.11 python3.11-venv python3.11-dev) or name one:
make setup PYTHON=/path/to/python3.11"
    fi
fi
compiler=${CXX:-c++}
command -v "${compiler%% *}" >/dev/null 2>&1 || fail "a C++ compiler is needed to build mmcv; found no '${CXX:-c++}'.
Install one (Debian, Ubuntu: apt install g++) or name one in CXX."
"$python" -c 'import pathlib, sys, sysconfig
sys.exit(not (pathlib.Path(sysconfig.get_paths()["include"]) / "Python.h").is_file())' ||
    fail "the C headers of $("$python" --version) are needed to build mmcv (Debian, Ubuntu: apt install python3-dev)."
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "the venv module of $("$python" --version) is missing (Debian, Ubuntu: apt install python3-venv)."
if [ ! -d $STAMPS ]; then
    free=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
    [ "$free" -ge 12 ] || fail "12 GB of free disk space are needed, $free GB are left here."
fi

# --- steps ---------------------------------------------------------------------------------------
# Ctrl-C does not reach background jobs by itself.
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
trap 'exit 130' INT TERM
TOTAL=6
number=0
step() { # name, files it depends on, what to say, command...
    local name=$1 inputs=$2 say=$3 stamp began
    shift 3
    number=$((number + 1))
    # shellcheck disable=SC2086  # the inputs are a list
    stamp=$STAMPS/$name-$(cat $inputs tools/setup.sh | cksum | cut -d' ' -f1)
    if [ -e "$stamp" ]; then
        return
    fi
    printf '[%d/%d] %s\n' $number $TOTAL "$say"
    began=$SECONDS
    printf '\n=== %s\n' "$say" >>$LOG
    "$@" >>$LOG 2>&1 &
    local pid=$! waited=0
    while kill -0 $pid 2>/dev/null; do
        sleep 1
        waited=$((waited + 1))
        if [ $((waited % 60)) -eq 0 ]; then
            printf '      ... %d min\n' $((waited / 60))
        fi
    done
    if ! wait $pid; then
        tail -n 15 $LOG >&2
        if tail -n 40 $LOG | grep -qiE 'Temporary failure in name|NewConnectionError|ConnectTimeout|Network is unreachable|Connection refused|Read timed out'; then
            fail "the package index cannot be reached. Check the network, or the proxy and index in 'pip config list', and run make setup again; it resumes where it stopped."
        fi
        fail "step $number of $TOTAL failed; the whole output is in $LOG. Running make setup again starts with this step."
    fi
    rm -f "$STAMPS/$name-"*
    touch "$stamp"
    printf '      done in %d s\n' $((SECONDS - began))
}

pin() { # the tested version of a package
    awk -F'==' -v name="$1" '$1 == name {print $0}' $TESTED
}

constrain() { # the tested set, but for what another torch decides about itself
    [ -n "$TORCH" ] || return 0
    CONSTRAINTS=$VENV/constraints.txt
    grep -vE '^(torch|torchvision|torchaudio|sympy|fsspec|cuda-pathfinder|cupy-cuda12x)==' $TESTED >"$CONSTRAINTS.new"
    # What install_torch found stays.
    grep -hE '^(torch|torchvision)==' "$CONSTRAINTS" >>"$CONSTRAINTS.new" 2>/dev/null || true
    mv "$CONSTRAINTS.new" "$CONSTRAINTS"
}

install() { "${PIP[@]}" install --constraint $CONSTRAINTS "$@"; }

version_of() { "$VENV/bin/python" -c "from importlib.metadata import version; print(version('$1').split('+')[0])"; }

at_least() { # version, oldest version
    [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

install_build_tools() { install --upgrade 'setuptools>=77,<80' wheel ninja psutil; }

install_torch() {
    if [ -z "$TORCH" ]; then
        install "$(pin torch)" "$(pin torchvision)" "$(pin torchaudio)"
        return
    fi
    sed -i '/^torch\(vision\)\?==/d' "$CONSTRAINTS"
    if [ "$TORCH" = latest ]; then
        install torch torchvision
    else
        install "torch==$TORCH.*" torchvision
    fi
    local found
    found=$(version_of torch)
    printf 'torch==%s\ntorchvision==%s\n' "$found" "$(version_of torchvision)" >>$CONSTRAINTS
    # torchaudio ends before torch does; only event readers of spikingjelly use it.
    install "torchaudio==${found%.*}.*" || echo "no torchaudio for torch $found"
}

install_mmcv() {
    # mmcv must see the torch it is built for: no build isolation. A compiler job wants up to 2 GB.
    local cores memory jobs
    cores=$(nproc)
    memory=$(awk '/MemAvailable/ {print int($2 / 2097152)}' /proc/meminfo)
    jobs=$((cores < memory ? cores : memory))
    export MAX_JOBS=${MAX_JOBS:-$((jobs > 0 ? jobs : 1))} MMCV_WITH_OPS=1
    if ! command -v nvidia-smi >/dev/null 2>&1; then
        export FORCE_CUDA=0 # a CUDA toolkit without a GPU is no reason to build CUDA operators
    fi
    "$VENV/bin/python" -c 'import torch'
    if [ -n "$TORCH" ]; then
        # A wheel of mmcv fits one torch only, and pip's cache does not know which.
        PIP_CACHE_DIR=$("${PIP[@]}" cache dir)/mmcv-for-torch-$(version_of torch)
        export PIP_CACHE_DIR
    fi
    if at_least "$(version_of torch)" 2.10; then
        # The headers of this torch are C++20, the build of mmcv asks for C++17.
        local wrapper
        wrapper=$(mktemp -d)/c++
        printf '#!/bin/bash\nexec %s "${@/#-std=c++17/-std=c++20}"\n' "${CXX:-c++}" >"$wrapper"
        chmod +x "$wrapper"
        export CXX=$wrapper CC=$wrapper
    fi
    install --no-build-isolation "$(pin onedl-mmcv)"
    if ! "$VENV/bin/python" -c 'import mmcv.ops'; then
        # A wheel without operators, left in pip's cache by a build that did not see torch.
        "${PIP[@]}" cache remove onedl_mmcv || true
        install --no-build-isolation --no-deps --force-reinstall "$(pin onedl-mmcv)"
        "$VENV/bin/python" -c 'import mmcv.ops'
    fi
}

install_rest() {
    if [ -n "$TORCH" ] && ! "$VENV/bin/python" -c 'import torchaudio'; then
        # spikingjelly asks for torchaudio, of which there is none; what else it asks for comes first.
        install 'spikingjelly>=2.0,<3' --no-deps
        local needs
        mapfile -t needs < <("$VENV/bin/python" -c 'from importlib.metadata import requires
print(*(r for r in requires("spikingjelly") if "extra ==" not in r and not r.startswith("torchaudio")), sep="\n")')
        install "${needs[@]}"
        grep -v '^spikingjelly' requirements/runtime.txt >"$VENV/runtime.txt"
        install --no-build-isolation -r requirements/hosts.txt -r "$VENV/runtime.txt" -r requirements/dev.txt -r requirements/nir.txt -r requirements/deploy.txt
        return
    fi
    install --no-build-isolation -r requirements/hosts.txt -r requirements/runtime.txt -r requirements/dev.txt -r requirements/nir.txt -r requirements/deploy.txt -r requirements/neurobench.txt
}

install_cupy() {
    # The one for torch's CUDA. Without a GPU too: its compiler checks the CUDA kernels anywhere.
    local cuda
    cuda=$("$VENV/bin/python" -c 'import torch; print((torch.version.cuda or "12").split(".")[0])')
    install -r "requirements/cuda$cuda.txt"
}

install_mmspike() {
    install --no-build-isolation --no-deps --editable .
    if "$VENV/bin/python" -c 'import torchaudio'; then
        "${PIP[@]}" check
    else # which spikingjelly asks for
        ! "${PIP[@]}" check | grep -vE '^No broken requirements|requires torchaudio'
    fi
}

exec 9>.setup.lock
if ! flock -n 9; then
    fail "another make setup is at work in this folder; wait for it, or stop it."
fi
if ! complete; then
    if [ -x $VENV/bin/python ] && [ ! -d $STAMPS ] && [ ! -e $VENV/.unfinished ]; then
        fail "$VENV is an environment of another kind ($($VENV/bin/python --version 2>&1)); remove or rename it: mv $VENV $VENV.old"
    fi
    echo "Creating $VENV with $("$python" --version)"
    rm -rf $VENV
    mkdir $VENV
    touch $VENV/.unfinished
    "$python" -m venv $VENV
    rm $VENV/.unfinished
fi
mkdir -p $STAMPS
constrain
step tools 'pyproject.toml' 'Build tools (seconds)' install_build_tools
step torch $TESTED 'PyTorch: about 3 GB to download, 2 to 10 minutes' install_torch
step mmcv $TESTED 'mmcv, compiled from source: about 10 minutes on 2 cores the first time' install_mmcv
step rest "$TESTED requirements/hosts.txt requirements/runtime.txt requirements/dev.txt requirements/nir.txt requirements/deploy.txt requirements/neurobench.txt" \
    'mmpretrain, mmdet, mmseg, spikingjelly and tools: 1 to 3 minutes' install_rest
step cupy "$TESTED requirements/cuda12.txt requirements/cuda13.txt" 'CuPy: 150 MB to download' install_cupy
step mmspike "setup.py requirements/runtime.txt mmspike/version.py $(echo $KERNELS/*.h $KERNELS/*.cpp)" \
    'mmspike itself and its kernels (a minute)' install_mmspike
