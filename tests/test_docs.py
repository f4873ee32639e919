"""What the documentation shows works."""

import importlib
import re

import pytest
import torch
from conftest import ROOT
from mmengine.registry import init_default_scope

from mmspike.neurons import BaseNeuron

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def snippets(path):
    return re.findall(r'^```python\n(.*?)^```', path.read_text(), flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize('host', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_of_the_readme_build_and_run(host):
    (code,) = (s for s in snippets(ROOT / 'README.md') if s.startswith(f'# {host}\n'))
    scope = {}
    exec(code, scope)
    init_default_scope(host)
    model = importlib.import_module(f'{host}.registry').MODELS.build(scope['model'])
    assert any(isinstance(module, BaseNeuron) for module in model.modules())
    out = model(torch.rand(2, 3, 64, 64), mode='tensor')
    first = out if isinstance(out, torch.Tensor) else out[0]
    first = first if isinstance(first, torch.Tensor) else first[0]
    assert first.shape[0] == 2


RUNNABLE = [
    pytest.param(code, id=f'{path.name}-{i}')
    for path in PAGES
    for i, code in enumerate(snippets(path))
    if not code.startswith(('# mmpretrain', '# mmdet', '# mmseg', '# fragment'))
]


@pytest.mark.parametrize('code', RUNNABLE)
def test_snippets_run(code):
    exec(code, {})


@pytest.mark.parametrize('path', [*PAGES, ROOT / 'CONTRIBUTING.md'], ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r'\]\(([^)#]+)', path.read_text()):
        if not target.startswith('http'):
            assert (path.parent / target).exists(), target


def test_tools_named_in_the_docs_exist_and_take_the_arguments(run_python):
    text = (ROOT / 'docs' / 'training.md').read_text()
    rows = re.findall(r'^\| `(tools/\S+?\.py)[^`]*` \| (.*) \|$', text, flags=re.MULTILINE)
    assert len(rows) >= 4
    for tool, arguments in rows:
        shown = run_python(tool, '--help').stdout
        for argument in re.findall(r'`(--[\w-]+)', arguments):
            assert argument in shown, (tool, argument)
