"""The shell scripts that start several processes: which Python, which port."""

import os
import shutil
import socket
import subprocess
import sys

import pytest

from support.paths import ROOT

# Stands for an interpreter with torch: prints its name and what it is to run. The questions of the
# scripts (`-c`) are answered by the real one.
STAND_IN = """#!/bin/sh
case $1 in -c) exec {python} "$@" ;; esac
echo "$0"
printf '%s\\n' "$@"
"""
WITHOUT_TORCH = '#!/bin/sh\nexit 1\n'


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


@pytest.fixture
def project(tmp_path):
    """A copy of tools/ in a folder without environment, and a PATH without Python."""
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools')
    (tmp_path / 'bin').mkdir()
    for tool in ('bash', 'dirname', 'basename'):
        (tmp_path / 'bin' / tool).symlink_to(shutil.which(tool))
    return tmp_path


def run(project, script='dist_train.sh', *arguments, **env):
    return subprocess.run(
        [project / 'tools' / script, *(arguments or ('config.py', '2'))],
        cwd=project, env=dict(PATH=str(project / 'bin'), **env), capture_output=True, text=True,
    )  # fmt: skip


def stand_in(path):
    write(path, STAND_IN.format(python=sys.executable))


def test_no_python_at_all(project):
    done = run(project)
    assert done.returncode == 1
    assert done.stderr.startswith('dist_train.sh: no Python with torch was found. Run ')
    assert 'set PYTHON=' in done.stderr


def test_environment_of_the_project_is_taken(project):
    stand_in(project / '.venv/bin/python')
    write(project / 'bin/python', WITHOUT_TORCH)
    used, *arguments = run(project).stdout.splitlines()
    assert used.endswith('.venv/bin/python')
    assert arguments[-4].endswith('tools/train.py')
    assert arguments[-3:] == ['config.py', '--launcher', 'pytorch']


def test_active_environment_comes_before_that_of_the_project(project):
    stand_in(project / '.venv/bin/python')
    stand_in(project / 'bin/python')
    used = run(project, VIRTUAL_ENV='elsewhere').stdout.splitlines()[0]
    assert used == str(project / 'bin/python')


def test_python3_with_torch_is_taken_where_python_has_none(project):
    write(project / 'bin/python', WITHOUT_TORCH)
    stand_in(project / 'bin/python3')
    assert run(project).stdout.splitlines()[0] == str(project / 'bin/python3')


def test_named_python_comes_first_and_must_run(project):
    stand_in(project / '.venv/bin/python')
    stand_in(project / 'mine')
    assert run(project, PYTHON=str(project / 'mine')).stdout.startswith(str(project / 'mine'))
    done = run(project, PYTHON='no-such-python')
    assert done.returncode == 1
    assert done.stderr == 'dist_train.sh: PYTHON=no-such-python cannot be run.\n'


@pytest.mark.parametrize('script', ['slurm_train.sh', 'slurm_test.sh'])
def test_slurm_scripts_choose_python_alike(project, script):
    stand_in(project / '.venv/bin/python')
    write(project / 'bin/srun', '#!/bin/sh\necho "$MASTER_PORT"\nprintf "%s\\n" "$@"\n')
    arguments = ('gpu', 'job', 'config.py', 'c.pth')
    port, *printed = run(project, script, *arguments).stdout.splitlines()
    assert any(line.endswith('.venv/bin/python') for line in printed)
    assert 20000 <= int(port) < 30000
    assert run(project, script, *arguments, PORT='1234').stdout.startswith('1234\n')


def options(done):
    return dict(line[2:].split('=') for line in done.stdout.splitlines() if '=' in line)


@pytest.mark.parametrize('script', ['dist_train.sh', 'dist_test.sh'])
def test_free_port_is_chosen(project, script):
    stand_in(project / '.venv/bin/python')
    with socket.create_server(('', 0)) as taken:
        chosen = int(options(run(project, script, 'config.py', 'c.pth', '2'))['master_port'])
        assert chosen != taken.getsockname()[1]
    socket.create_server(('', chosen)).close()


def test_port_in_use_is_named(project):
    stand_in(project / '.venv/bin/python')
    with socket.create_server(('', 0)) as taken:
        port = str(taken.getsockname()[1])
        done = run(project, PORT=port)
        assert done.returncode == 1
        assert f'dist_train.sh: port {port} cannot be used here: ' in done.stderr
        assert 'leave PORT unset' in done.stderr
        assert 'Traceback' not in done.stderr
        assert not done.stdout
        # Of several machines, only the first one listens at the port.
        assert options(run(project, PORT=port, NNODES='2', NODE_RANK='1'))['master_port'] == port


def test_several_machines_agree_on_a_port(project):
    stand_in(project / '.venv/bin/python')
    found = options(run(project, NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1'))
    assert found['master_port'] == '29500'
    assert found['master_addr'] == '10.0.0.1'
    assert found['nnodes'] == '2'


def test_port_that_is_no_number(project):
    stand_in(project / '.venv/bin/python')
    assert 'port abc cannot be used here' in run(project, PORT='abc').stderr


@pytest.mark.slow
def test_training_starts_without_an_activated_environment(tmp_path):
    """With the real interpreter: the tool's own message shows that it runs."""
    path = f'{tmp_path}:/usr/bin:/bin'
    (tmp_path / 'python3').symlink_to(sys.executable)
    if not (ROOT / '.venv').exists():
        pytest.skip('no .venv in this clone')
    env = {k: v for k, v in os.environ.items() if k not in ('PYTHON', 'VIRTUAL_ENV', 'PORT')}
    done = subprocess.run(
        ['tools/dist_train.sh', 'no_such_config.py', '1'],
        cwd=ROOT, env=dict(env, PATH=path), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert 'train.py: there is no config file no_such_config.py' in done.stderr
