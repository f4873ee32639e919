"""Shared by all tests: few threads, so that parallel workers do not fight over the cores."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

ROOT = Path(__file__).resolve().parent.parent

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tools: their files take longest, and one worker would be left with them."""
    items.sort(key=lambda item: 'tools' not in item.path.parts)


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _restored_default_scope():
    """A Runner sets the scope of its config for the whole process, and leaves it."""
    instances = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict = instances


@pytest.fixture
def run_python():
    """Run a Python command in a process of its own, without this one's imports.

    Returns the finished process; ``check=False`` accepts failure.
    """

    def run(*arguments: str, check: bool = True, **kwargs) -> subprocess.CompletedProcess:
        env = dict(os.environ, OMP_NUM_THREADS='1', **kwargs.pop('env', {}))
        process = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=kwargs.pop('cwd', ROOT),
            env=env,
            timeout=300,
            **kwargs,
        )
        if check:
            assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
        return process

    return run


@pytest.fixture(scope='session')
def root() -> Path:
    """The repository."""
    return ROOT
