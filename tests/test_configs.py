import re
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
from mmengine.runner import Runner

from mmspike import get_timesteps
from mmspike.neurons import BaseNeuron
from support.paths import ROOT
from support.small_runs import CONFIGS, small_config

# What evaluation must report, and the best value of it.
METRICS = {
    'mmpretrain': ('accuracy/top1', 100),
    'mmdet': ('coco/bbox_mAP', 1),
    'mmseg': ('mIoU', 100),
}
HOSTS = {
    'classification': 'mmpretrain',
    'detection': 'mmdet',
    'segmentation': 'mmseg',
    'selfsup': 'mmpretrain',
}
STOCK = [path for path in CONFIGS if path.parent.name == 'stock_heads']
# Parameters of one level, for the boxes of objects of its size; the tiny scenes have small objects
# only, which FCOS learns on the first level and RTMDet on the first two.
OF_ONE_LEVEL = re.compile(
    r'bbox_head\.(scales\.[1-4]\.scale|reg_convs\.2\.[01]\.bn\.(weight|bias))'
)
# The first spikes of an SDT v2 are so few that the product of an attention reaches the threshold of
# its neuron on large maps only: what stands behind that neuron is not reached on tiny ones.
BEHIND_A_PRODUCT = re.compile(r'backbone\.stages\.[34]\.blocks\.\d\.attn\.out\.(conv|bn)\..*weight')


def name_of(path):
    """The folder says whether the heads are spiking or stock."""
    return f'{path.parent.name}/{path.stem}'


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=name_of)
def test_config_takes_a_step_and_evaluates(path, tmp_path):
    runner = Runner.from_cfg(small_config(path, tmp_path))
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    if runner.cfg.model.backbone.type == 'mmspike.SDTV2':
        before = {name: p for name, p in before.items() if not BEHIND_A_PRODUCT.fullmatch(name)}
    runner.train()
    assert runner.iter >= 1
    after = dict(runner.model.named_parameters())
    moved = [name for name in before if not torch.equal(after[name], before[name])]
    assert len(moved) > 0.9 * len(before)
    if path in STOCK:
        assert not [name for name in set(before) - set(moved) if not OF_ONE_LEVEL.fullmatch(name)]
    if runner.cfg.get('test_dataloader') is None:  # pre-training
        return
    metrics = runner.test()
    name, best = METRICS[runner.cfg.default_scope]
    assert 0 <= metrics[name] <= best
    evaluators = runner.cfg.test_evaluator
    evaluators = evaluators if isinstance(evaluators, list) else [evaluators]
    if 'segm' in evaluators[0].get('metric', []):
        assert 0 <= metrics['coco/segm_mAP'] <= 1
    steps = re.search(r'-t(\d+)', path.stem)
    if steps is None:  # a network to convert
        assert not any(isinstance(module, BaseNeuron) for module in runner.model.modules())
    else:
        assert get_timesteps(runner.model) == int(steps[1])


@pytest.fixture(scope='module')
def built(run_python):
    """Library and number of parameters of every config's model, built in a fresh process."""
    code = f"""
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
for path in {[str(path) for path in CONFIGS]!r}:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    try:
        with torch.device('meta'):  # the largest has 171 million weights
            model = MODELS.build(cfg.model)
    except RuntimeError:  # a ResNet of mmpretrain reads numbers from tensors
        model = MODELS.build(cfg.model)
    packages = [base.__module__.partition('.')[0] for base in type(model).__mro__]
    library = next(package for package in packages if package != 'mmspike')
    print('built', path, library, sum(p.numel() for p in model.parameters()))
"""
    lines = [line.split() for line in run_python('-c', code).stdout.splitlines()]
    return {Path(line[1]): (line[2], int(line[3])) for line in lines if line and line[0] == 'built'}


@pytest.mark.slow
def test_configs_build_in_a_fresh_process_with_the_host_scope(built):
    assert list(built) == CONFIGS
    for path, (library, _) in built.items():
        assert library == HOSTS[path.relative_to(ROOT / 'configs').parts[0]]


@pytest.mark.parametrize('path', CONFIGS, ids=name_of)
def test_bases_are_at_most_two_levels_and_our_own_or_models_of_mmdet(path):
    def bases(file, depth=0):
        assert depth <= 2, file
        scope = {}
        lines = file.read_text()
        start = lines.find('_base_ =')
        if start < 0:
            return
        end = lines.find(']', start) + 1 if lines[start:].startswith('_base_ = [') else None
        statement = lines[start:end] if end else lines[start:].splitlines()[0]
        exec(statement, scope)
        names = scope['_base_'] if isinstance(scope['_base_'], list) else [scope['_base_']]
        for name in names:
            if name.startswith('mmdet::'):
                # mmengine finds mmdet under any name of its distribution, and mmseg only under one.
                assert name.startswith('mmdet::_base_/models/')
                continue
            assert '::' not in name
            bases((file.parent / name).resolve(), depth + 1)

    bases(path)


@pytest.mark.parametrize('path', [path for path in STOCK if 'detection' in path.parts], ids=name_of)
def test_stock_heads_are_given_the_true_strides(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model).eval()
    with torch.no_grad():
        maps = model.extract_feat(torch.zeros(1, 3, 256, 128))
    true = [(128 / x.shape[3], 256 / x.shape[2]) for x in maps]
    parts = dict(model.named_children())
    if 'panoptic_head' in parts:
        decoder = parts['panoptic_head'].pixel_decoder
        assert [(stride, stride) for stride in decoder.strides] == true
        points = decoder.point_generator
    else:
        points = parts.get('rpn_head', parts.get('bbox_head')).prior_generator
    assert points.strides == true
    if 'roi_head' in parts:
        used = parts['roi_head'].bbox_roi_extractor.featmap_strides
        assert [(stride, stride) for stride in used] == true[: len(used)]


@pytest.mark.parametrize('path', STOCK, ids=name_of)
def test_stock_heads_are_those_of_the_host(path):
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    for name, module in model.named_modules():
        if not name.startswith('backbone'):
            assert not type(module).__module__.startswith('mmspike'), name
    assert type(model.backbone).__module__.startswith('mmspike.backbones.')


def metafiles():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    return [(ROOT / name, yaml.safe_load((ROOT / name).read_text())) for name in index['Import']]


def test_metafiles_and_configs_list_each_other():
    listed = [model['Config'] for _, content in metafiles() for model in content['Models']]
    assert sorted(listed) == [str(path.relative_to(ROOT)) for path in CONFIGS]
    for _, content in metafiles():
        collections = {collection['Name'] for collection in content['Collections']}
        for model in content['Models']:
            assert model['In Collection'] in collections
            assert model['Name'] == model['Config'].rpartition('/')[2].removesuffix('.py')


def test_model_zoo_agrees_with_the_metafiles():
    page = (ROOT / 'docs/model_zoo.md').read_text()
    rows = [line for line in page.splitlines() if line.startswith('|')]
    for _, content in metafiles():
        for model in content['Models']:
            row = next(row for row in rows if f'](../{model["Config"]})' in row)
            cells = [cell.strip() for cell in row.strip('|').split('|')]
            assert f'{model["Metadata"]["Parameters"]:,}' in cells, row
            for result in model['Results']:
                for value in result['Metrics'].values():
                    assert any(f'{value:.1f}' in cell for cell in cells), row


@pytest.mark.slow
@pytest.mark.parametrize('path', CONFIGS, ids=name_of)
def test_metafile_counts_parameters(path, built):
    name = str(path.relative_to(ROOT))
    entry = next(
        model
        for _, content in metafiles()
        for model in content['Models']
        if model['Config'] == name
    )
    assert entry['Metadata']['Parameters'] == built[path][1]
