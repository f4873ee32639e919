#!/usr/bin/env bash
# Runs the tests of the CPU kernels on libraries that AddressSanitizer and
# UndefinedBehaviorSanitizer watch; the first finding ends it. What is given is passed to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-.venv/bin/python}
FOLDER=$PWD/work_dirs/sanitize
SUFFIX=$($PYTHON -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')
# As in setup.py, but -O1. GCC does not count casts of floats that do not fit among the undefined.
FLAGS=(-O1 -g -fno-omit-frame-pointer -std=c++17 -ffp-contract=off -fno-math-errno -fPIC -fopenmp
    -fsanitize=address,undefined,float-cast-overflow -fno-sanitize-recover=all)

# Python itself is not watched, so the runtime has to be there first; and with it the C++ library,
# whose exceptions (torch's) the runtime looks at. Python's leaks are not ours.
watched() {
    local libraries
    libraries="$(${CXX:-g++} -print-file-name=libasan.so) $(${CXX:-g++} -print-file-name=libstdc++.so)"
    LD_PRELOAD=$libraries ASAN_OPTIONS=detect_leaks=0 \
        UBSAN_OPTIONS=print_stacktrace=1 "$@"
}

for variant in baseline avx2 avx512; do
    case $variant in
        avx2) grep -qw avx2 /proc/cpuinfo || continue; FLAGS+=(-march=x86-64-v3) ;;
        avx512) grep -qw avx512vl /proc/cpuinfo || continue; FLAGS+=(-march=x86-64-v4 -mprefer-vector-width=512) ;;
    esac
    export MMSPIKE_CPU_KERNELS=$FOLDER/$variant
    mkdir -p "$MMSPIKE_CPU_KERNELS"
    objects=()
    for part in cpu depthwise; do
        objects+=("$MMSPIKE_CPU_KERNELS/$part.o")
        ${CXX:-g++} "${FLAGS[@]}" -c mmspike/neurons/kernels/csrc/$part.cpp -o "${objects[-1]}"
    done
    # Without -fopenmp: the loader provides torch's own OpenMP runtime.
    ${CXX:-g++} -shared -fsanitize=address,undefined "${objects[@]}" \
        -o "$MMSPIKE_CPU_KERNELS/_cpu_$variant$SUFFIX"
    watched $PYTHON -c 'from mmspike.neurons.kernels import cpu; assert cpu.AVAILABLE'
    watched $PYTHON -m pytest -q -p no:cacheprovider --hypothesis-profile sanitize \
        tests/neurons/kernels/test_{ops,backend,count,fuzz}.py \
        tests/layers/test_depthwise_gradient.py "$@"
done
