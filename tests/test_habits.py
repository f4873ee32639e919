"""Workflows, hooks and templates name commands that exist; the page of variables names them all."""

import re
from pathlib import Path

import pytest
import yaml

from support.paths import ROOT

MAKEFILE = (ROOT / 'Makefile').read_text()
WORKFLOWS = sorted((ROOT / '.github' / 'workflows').glob('*.yml'))
YAML_FILES = [
    *sorted((ROOT / '.github').rglob('*.yml')),
    ROOT / '.pre-commit-config.yaml',
    ROOT / 'CITATION.cff',
]
ENVIRONMENT = (ROOT / 'docs' / 'environment.md').read_text()


def read(path: Path) -> dict:
    return yaml.safe_load(path.read_text())


def commands(workflow: dict) -> list[str]:
    """All that the jobs run, with a matrix of commands written out."""
    jobs = workflow['jobs'].values()
    run = [step['run'] for job in jobs for step in job['steps'] if 'run' in step]
    matrices = [job.get('strategy', {}).get('matrix', {}) for job in jobs]
    return run + [one for matrix in matrices for one in matrix.get('command', ())]


@pytest.mark.parametrize('path', YAML_FILES, ids=lambda path: path.name)
def test_is_yaml(path):
    assert isinstance(read(path), dict)


@pytest.mark.parametrize('path', WORKFLOWS, ids=lambda path: path.name)
def test_workflows_call_targets_and_variables_of_the_makefile(path):
    targets = set(re.search(r'^\.PHONY: (.*)$', MAKEFILE, re.M)[1].split())
    variables = set(re.findall(r'\$[({](\w+)', MAKEFILE))
    called = [one for one in commands(read(path)) if one.startswith('make ')]
    assert called
    for command in called:
        assert command.split()[1] in targets, command
        assert set(re.findall(r'\b([A-Z]+)=', command)) <= variables, command


def test_the_matrix_is_that_of_the_documentation():
    matrix = read(ROOT / '.github/workflows/test.yml')['jobs']['test']['strategy']['matrix']
    table = (ROOT / 'docs/get_started.md').read_text()
    oldest, newest = re.search(r'^\| torch \| (\S+) \| \S+ \| (\S+) \|', table, re.M).groups()
    assert matrix['torch'] == [oldest.removesuffix('.0'), '', newest]
    assert f'torch>={matrix["torch"][0]}\n' in (ROOT / 'requirements/runtime.txt').read_text()
    for python in matrix['python']:
        assert f'python{python}' in (ROOT / 'tools/setup.sh').read_text()


def test_hooks_are_those_of_make_lint():
    (local,) = (one for one in read(YAML_FILES[-2])['repos'] if one['repo'] == 'local')
    lint = re.search(r'^lint: .*\n((?:\t.*\n)+)', MAKEFILE, re.M)[1].replace('$(BIN)', '.venv/bin')
    lines = [line.split() for line in lint.replace(' --check', '').splitlines()]
    tools = {tuple(line[:2]) for line in lines if line[0] != '.venv/bin/python'}
    assert {tuple(hook['entry'].split()[:2]) for hook in local['hooks']} == tools


def test_the_citation_is_of_this_version():
    version = re.search(r"'(.+)'", (ROOT / 'mmspike/version.py').read_text())[1]
    citation = read(ROOT / 'CITATION.cff')
    assert (citation['cff-version'], citation['version']) == ('1.2.0', version)
    assert citation['license'] == 'Apache-2.0'


def test_the_table_lists_every_variable_that_python_reads():
    files = [*(ROOT / 'mmspike').rglob('*.py'), *(ROOT / 'tools').rglob('*.py')]
    text = '\n'.join(path.read_text() for path in files)
    read_here = set(re.findall(r"os\.environ(?:\[|\.\w+\()'(\w+)'", text))
    read_here |= set(re.findall(r"'(\w+)' (?:not )?in os\.environ", text))
    read_here |= set(re.findall(r'\bMMSPIKE_\w+', text))
    assert 'MMSPIKE_NEURON_BACKEND' in read_here
    assert {name for name in read_here if f'`{name}`' not in ENVIRONMENT} == set()


def test_the_table_lists_every_variable_that_scripts_read():
    scripts = [*(ROOT / 'tools').glob('*.sh')]
    text = '\n'.join(path.read_text() for path in scripts)
    read_here = set(re.findall(r'\$\{([A-Z_]+):-', text)) - {'VIRTUAL_ENV', 'CONDA_PREFIX'}
    assert 'MASTER_PORT' in read_here
    assert {name for name in read_here if f'`{name}`' not in ENVIRONMENT} == set()


def test_the_table_lists_nothing_else():
    """Every variable of mmspike's own that the page names is read somewhere."""
    text = '\n'.join(path.read_text() for path in (ROOT / 'mmspike').rglob('*.py'))
    for name in re.findall(r'`(MMSPIKE_\w+)`', ENVIRONMENT):
        assert f"'{name}'" in text
