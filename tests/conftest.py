"""Shared by all tests: few threads, so that parallel workers do not fight over the cores."""

import gc
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope

from support.paths import ROOT
from support.warm_python import WarmPython

torch.set_num_threads(1)
# A shell lets what it starts in the background ignore this signal, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
# More examples where a test takes as many as the profile says: --hypothesis-profile nightly.
settings.register_profile('nightly', max_examples=5000, print_blob=True)
settings.register_profile('sanitize', max_examples=500, print_blob=True)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest files, or one worker would be left with them at the end.

    These are the tests of tools, and those of no single part of the package.
    """
    items.sort(key=lambda item: item.path.parent.name not in ('tools', 'tests'))


def pytest_collection_finish() -> None:
    """Leave what the imports made out of garbage collections, which datasets ask for often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _fixed_seed():
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _no_runner_left():
    """A Runner sets scope and log file of its config for the whole process, and leaves them."""
    scopes, loggers = DefaultScope._instance_dict.copy(), MMLogger._instance_dict.copy()
    yield
    for name, logger in MMLogger._instance_dict.items():
        if name not in loggers:
            for handler in logger.handlers:
                handler.close()
    DefaultScope._instance_dict, MMLogger._instance_dict = scopes, loggers


@pytest.fixture(autouse=True, scope='module')
def _no_scope_of_another_file():
    """Fixtures of a whole file set the scope of a host before its first test begins."""
    scopes = DefaultScope._instance_dict.copy()
    yield
    DefaultScope._instance_dict = scopes


@pytest.fixture
def compiled_anew():
    """No code that torch compiled for another test, and none left for the next."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope='session')
def run_python():
    """Run Python in a process of its own, where nothing is imported yet.

    Returns the finished process; ``check=False`` accepts failure.
    """

    def run(
        *arguments: str, check: bool = True, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=dict(os.environ, OMP_NUM_THREADS='1', **(env or {})),
            timeout=300,
        )
        return checked(done) if check else done

    return run


def checked(done: subprocess.CompletedProcess) -> subprocess.CompletedProcess:
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


@pytest.fixture(scope='session')
def run_program():
    """Run a program in a process of its own, which begins with torch imported, but no host.

    Returns the finished process; ``check=False`` accepts failure.
    """
    python = WarmPython()

    def run(*argv: object, check: bool = True, cwd: Path = ROOT) -> subprocess.CompletedProcess:
        done = python.run(*argv, cwd=cwd)
        return checked(done) if check else done

    yield run
    python.close()


@pytest.fixture
def run_tool(monkeypatch, capsys, tmp_path):
    """Run a tool in this process, because importing the hosts takes its time.

    It begins in ``tmp_path``. Returns its exit status, or the sentence with which it left, and what
    it printed.
    """
    monkeypatch.setenv('COLUMNS', '200')
    # Tools set these for their own process.
    monkeypatch.setenv('TORCH_FORCE_WEIGHTS_ONLY_LOAD', '1')
    monkeypatch.setenv('LOCAL_RANK', '0')
    monkeypatch.chdir(tmp_path)

    def run(tool: str, *arguments: object) -> tuple[int | str, str]:
        tool = str(ROOT / 'tools' / tool)
        monkeypatch.setattr(sys, 'argv', [tool, *map(str, arguments)])
        DefaultScope._instance_dict.clear()
        capsys.readouterr()
        status = 0
        try:
            runpy.run_path(tool, run_name='__main__')
        except SystemExit as leaving:
            status = leaving.code
        return status, capsys.readouterr().out

    return run
