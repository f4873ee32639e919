# Sets "python" to the interpreter that runs the tools: PYTHON, or that of the active environment, or
# the project's .venv, or what is on the PATH and has torch. Sourced by the other scripts.
fail() {
    echo "$(basename "$0"): $1" >&2
    exit 1
}
has_torch() {
    "$1" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("torch") is None)' 2>/dev/null
}
venv=$(dirname "$0")/../.venv/bin/python
if [ -n "${PYTHON:-}" ]; then
    python=$PYTHON
    command -v "$python" >/dev/null || fail "PYTHON=$PYTHON cannot be run."
elif [ -n "${VIRTUAL_ENV:-}${CONDA_PREFIX:-}" ] && has_torch python; then
    python=python
elif [ -x "$venv" ]; then
    python=$venv
elif has_torch python; then
    python=python
elif has_torch python3; then
    python=python3
else
    fail "no Python with torch was found. Run 'make setup', activate your environment, or set PYTHON=/path/to/python."
fi
