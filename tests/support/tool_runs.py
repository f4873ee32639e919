"""Runs the tools in processes of their own, as a user does."""

import os
import socket
import subprocess
import sys
from pathlib import Path

from support.paths import ROOT


def train_command(config: Path, work_dir: Path, *arguments: str) -> list[str]:
    command = [sys.executable, 'tools/train.py', config, '--work-dir', work_dir, *arguments]
    return list(map(str, command))


def start_command(command: list[str]) -> subprocess.Popen:
    env = dict(os.environ, OMP_NUM_THREADS='1')
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def start(config: Path, work_dir: Path, *arguments: str) -> subprocess.Popen:
    return start_command(train_command(config, work_dir, *arguments))


def finish(process: subprocess.Popen) -> str:
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output[-3000:]
    return output


def free_port() -> str:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return str(probe.getsockname()[1])


def run_script(script: str, *arguments: object) -> str:
    """Run a shell script of tools/ to its end; return what it printed."""
    env = dict(
        os.environ,
        OMP_NUM_THREADS='1',
        PYTHON=sys.executable,
        PYTHONPATH=str(ROOT / 'tests'),
        PORT=free_port(),
    )
    done = subprocess.run(
        [f'tools/{script}', *map(str, arguments)],
        cwd=ROOT, env=env, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout + done.stderr
