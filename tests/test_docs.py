"""What the documentation shows works."""

import importlib
import re

import pytest
import torch
from conftest import ROOT
from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmengine.structures import InstanceData, PixelData

from mmspike.neurons import BaseNeuron

PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]


def snippets(path):
    return re.findall(r'^```python\n(.*?)^```', path.read_text(), flags=re.DOTALL | re.MULTILINE)


def batch_of(host):
    """Two images with annotations, as the host's pipelines pack them."""
    inputs = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(2)]
    if host == 'mmpretrain':
        from mmpretrain.structures import DataSample

        samples = [DataSample().set_gt_label(i) for i in range(2)]
    elif host == 'mmdet':
        from mmdet.structures import DetDataSample

        boxes = InstanceData(
            bboxes=torch.tensor([[8.0, 8.0, 40.0, 40.0]]), labels=torch.tensor([3])
        )
        samples = [DetDataSample(gt_instances=boxes) for _ in range(2)]
    else:
        from mmseg.structures import SegDataSample

        maps = PixelData(data=torch.randint(0, 150, (1, 64, 64)))
        samples = [SegDataSample(gt_sem_seg=maps) for _ in range(2)]
    for sample in samples:
        sample.set_metainfo(
            dict(
                img_shape=(64, 64), ori_shape=(64, 64), scale_factor=(1.0, 1.0), pad_shape=(64, 64)
            )
        )
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize('host', ['mmpretrain', 'mmdet', 'mmseg'])
def test_configs_of_the_readme_build_and_run(host):
    (code,) = (s for s in snippets(ROOT / 'README.md') if s.startswith(f'# {host}\n'))
    scope = {}
    exec(code, {}, scope)
    init_default_scope(host)
    model = importlib.import_module(f'{host}.registry').MODELS.build(Config(scope).model)
    assert any(isinstance(module, BaseNeuron) for module in model.modules())
    data = model.data_preprocessor(batch_of(host), training=True)
    losses = model(**data, mode='loss')
    model.parse_losses(losses)[0].backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert not unused
    model.eval()
    with torch.no_grad():
        data = model.data_preprocessor(batch_of(host), training=False)
        assert len(model(**data, mode='predict')) == 2


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


def test_tools_named_in_the_docs_exist_and_take_the_arguments(run_tool):
    text = (ROOT / 'docs' / 'training.md').read_text()
    rows = re.findall(r'^\| `tools/(\S+?\.py)[^`]*` \| (.*) \|$', text, flags=re.MULTILINE)
    assert len(rows) >= 4
    for tool, arguments in rows:
        status, shown = run_tool(tool, '--help')
        assert status == 0
        for argument in re.findall(r'`(--[\w-]+)', arguments):
            assert argument in shown, (tool, argument)
