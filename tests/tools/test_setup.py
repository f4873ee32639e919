"""`make setup` on machines where something is missing: one clear message, soon."""

import fcntl
import os
import shutil
import subprocess
import sys

import pytest

from support.paths import ROOT


@pytest.fixture
def setup(tmp_path):
    """Run the set-up in a copy of the project."""
    project = tmp_path / 'project with a space'
    for name in ('tools/setup.sh', 'pyproject.toml', 'setup.py', 'mmspike/version.py'):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    shutil.copytree(ROOT / 'requirements', project / 'requirements')

    def run(**environment):
        return subprocess.run(
            ['bash', 'tools/setup.sh'],
            cwd=project,
            env=dict(os.environ, **environment),
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run


def message(done) -> str:
    assert done.returncode == 1, done.stdout + done.stderr
    assert 'Traceback' not in done.stderr
    return done.stderr.strip().removeprefix('make setup: ')


def test_old_python(setup, tmp_path):
    old = tmp_path / 'python3.8'
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.10 || exit 1\n')
    old.chmod(0o755)
    text = message(setup(PYTHON=str(old)))
    assert text.startswith('Python 3.11 or 3.12 is needed')
    assert 'Python 3.8.10' in text
    assert 'make setup PYTHON=' in text


def test_another_python_than_that_of_the_environment(setup, tmp_path):
    other = tmp_path / 'python3.12'
    other.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.12.99\nexit 0\n')
    other.chmod(0o755)
    environment = tmp_path / 'project with a space' / '.venv' / 'bin'
    environment.mkdir(parents=True)
    (environment / 'python').symlink_to(sys.executable)
    text = message(setup(PYTHON=str(other)))
    assert 'not Python 3.12.99; remove it first: rm -r .venv' in text


def test_an_environment_of_somebody_else_is_left_alone(setup, tmp_path):
    environment = tmp_path / 'project with a space' / '.venv' / 'bin'
    environment.mkdir(parents=True)
    old = environment / 'python'
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.8.10 || exit 1\n')
    old.chmod(0o755)
    assert '.venv is an environment of another kind (Python 3.8.10)' in message(setup())
    assert old.exists()


def test_no_compiler(setup):
    text = message(setup(CXX='absent-c++'))
    assert text.startswith("a C++ compiler is needed to build mmcv; found no 'absent-c++'")
    assert 'apt install g++' in text


@pytest.mark.slow
def test_no_network(setup):
    offline = dict(
        PIP_INDEX_URL='http://127.0.0.1:9/simple',
        PIP_CONFIG_FILE='/dev/null',
        PIP_NO_CACHE_DIR='1',
        PIP_FIND_LINKS='',
    )
    done = setup(**offline)
    assert '[1/6] Build tools' in done.stdout
    text = message(done)
    assert 'the package index cannot be reached' in text
    assert 'resumes where it stopped' in text


def test_one_at_a_time(setup, tmp_path):
    with open(tmp_path / 'project with a space' / '.setup.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert 'another make setup is at work' in message(setup())


@pytest.mark.parametrize('torch', ['newest', '2', '2.14; rm', '2.14.1+cpu'])
def test_no_version_of_torch(setup, torch):
    text = message(setup(TORCH=torch))
    assert text.startswith(f'TORCH={torch} is no version of torch')
    assert 'make setup TORCH=2.14.1' in text


@pytest.mark.slow
def test_another_torch_has_an_environment_of_its_own(setup, tmp_path):
    offline = dict(
        PIP_INDEX_URL='http://127.0.0.1:9/simple',
        PIP_CONFIG_FILE='/dev/null',
        PIP_NO_CACHE_DIR='1',
        PIP_FIND_LINKS='',
    )
    done = setup(TORCH='2.14.1', **offline)
    assert 'Creating .venv-torch2.14.1 with' in done.stdout
    message(done)
    environment = tmp_path / 'project with a space' / '.venv-torch2.14.1'
    constraints = (environment / 'constraints.txt').read_text().splitlines()
    assert 'numpy==2.2.6' in constraints
    # This torch chooses its own.
    names = {line.partition('==')[0] for line in constraints}
    assert not names & {'torch', 'torchvision', 'torchaudio', 'sympy'}
    assert not (tmp_path / 'project with a space' / '.venv').exists()
