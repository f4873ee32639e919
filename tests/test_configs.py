import logging

import pytest
import torch
import yaml
from mmengine.runner import Runner
from small_runs import CONFIGS, ROOT, small_config

from mmspike import get_timesteps

# What evaluation must report, and the best value of it.
METRICS = {
    'mmpretrain': ('accuracy/top1', 100),
    'mmdet': ('coco/bbox_mAP', 1),
    'mmseg': ('mIoU', 100),
}
MODELS_OF = {
    'classification': {'ImageClassifier'},
    'detection': {'MaskRCNN', 'CascadeRCNN', 'RetinaNet'},
    'segmentation': {'EncoderDecoder'},
}


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_config_takes_a_step_and_evaluates(path, tmp_path):
    runner = Runner.from_cfg(small_config(path, tmp_path))
    before = {name: p.detach().clone() for name, p in runner.model.named_parameters()}
    runner.train()
    assert runner.iter >= 1
    moved = [
        name for name, p in runner.model.named_parameters() if not torch.equal(p, before[name])
    ]
    assert len(moved) > 0.9 * len(before)
    metrics = runner.test()
    name, best = METRICS[runner.cfg.default_scope]
    assert 0 <= metrics[name] <= best
    assert get_timesteps(runner.model) == (4 if '-t4' in path.stem else 1)
    logging.shutdown()


def test_configs_build_in_a_fresh_process_with_the_host_scope(run_python):
    code = f"""
from mmengine.config import Config
from mmengine.registry import MODELS, init_default_scope
for path in {[str(path) for path in CONFIGS]!r}:
    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    print(type(MODELS.build(cfg.model)).__name__)
"""
    out = run_python('-c', code).stdout.split()
    built = [name for name in out if name in set.union(*MODELS_OF.values())]
    assert len(built) == len(CONFIGS)
    for path, name in zip(CONFIGS, built, strict=True):
        assert name in MODELS_OF[path.relative_to(ROOT / 'configs').parts[0]]


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_bases_are_at_most_two_levels_and_our_own(path):
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
            assert '::' not in name
            bases((file.parent / name).resolve(), depth + 1)

    bases(path)


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


def test_readme_table_agrees_with_the_metafiles():
    readme = (ROOT / 'README.md').read_text()
    for _, content in metafiles():
        for model in content['Models']:
            row = next(line for line in readme.splitlines() if f']({model["Config"]})' in line)
            cells = [cell.strip() for cell in row.strip('|').split('|')]
            assert f'{model["Metadata"]["Parameters"]:,}' in cells, row
            for result in model['Results']:
                for value in result['Metrics'].values():
                    assert any(f'{value:.1f}' in cell for cell in cells), row


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_metafile_counts_parameters(path):
    from mmengine.config import Config
    from mmengine.registry import MODELS, init_default_scope

    cfg = Config.fromfile(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    name = str(path.relative_to(ROOT))
    entry = next(
        model
        for _, content in metafiles()
        for model in content['Models']
        if model['Config'] == name
    )
    assert entry['Metadata']['Parameters'] == sum(p.numel() for p in model.parameters())
