"""Configs and models of mmspike by name."""

import pytest
from mmengine.config import Config

import mmspike
from mmspike import zoo
from mmspike.apis.config import load_config
from support.paths import ROOT
from support.small_checkpoints import CLASSIFICATION, DETECTION, SEGMENTATION, trained
from support.small_runs import CONFIGS

DIGITS = CLASSIFICATION.stem


def test_all_configs_are_listed_once():
    assert mmspike.list_models() == sorted(path.stem for path in CONFIGS)


def test_list_by_pattern_and_task():
    assert mmspike.list_models('metaspikformer-digits-sfa-t1d4_*') == [DIGITS]
    assert DETECTION.stem in mmspike.list_models(task='detection')
    assert not set(mmspike.list_models(task='detection')) & set(
        mmspike.list_models(task='segmentation')
    )
    with pytest.raises(ValueError, match="classification, detection, segmentation, got 'cls'"):
        mmspike.list_models(task='cls')


@pytest.mark.parametrize(
    'name',
    [
        DIGITS,
        f'mmspike::classification/metaspikformer/{DIGITS}.py',
        f'classification/metaspikformer/{DIGITS}',
    ],
)
def test_config_by_name_and_by_path(name):
    assert mmspike.config_path(name).resolve() == CLASSIFICATION
    assert mmspike.get_config(name).model.backbone.type == 'mmspike.MetaSpikformer'


def test_bases_are_found_too():
    path = mmspike.config_path('mmspike::_base_/classification_runtime.py')
    assert path.resolve() == ROOT / 'configs/_base_/classification_runtime.py'


def test_unknown_config_is_answered_with_close_names():
    with pytest.raises(ValueError, match=f'no config .*; close names are .*{DIGITS}.*list_models'):
        mmspike.config_path(DIGITS.replace('sfa', 'sfb'))
    with pytest.raises(ValueError, match=r'no config .*; mmspike.list_models\(\) lists all'):
        mmspike.config_path('../../README.md')


def test_child_config_elsewhere_inherits_by_name(tmp_path):
    """As mmengine evaluates ``_base_`` by itself, the import stands in it."""
    path = tmp_path / 'child.py'
    path.write_text(
        f"_base_ = __import__('mmspike').config_path({DIGITS!r}).as_posix()\n"
        'train_cfg = dict(max_epochs=3)\n'
    )
    cfg = Config.fromfile(path)
    assert cfg.train_cfg.max_epochs == 3
    assert cfg.model.backbone.type == 'mmspike.MetaSpikformer'


def test_tools_take_names():
    cfg = load_config(f'mmspike::classification/metaspikformer/{DIGITS}.py')
    assert cfg.work_dir == f'work_dirs/{DIGITS}'
    with pytest.raises(ValueError, match='mmspike has no config'):
        load_config('mmspike::nothing.py')


@pytest.mark.parametrize('path', [CLASSIFICATION, DETECTION, SEGMENTATION], ids=lambda p: p.stem)
def test_models_of_all_hosts_with_and_without_weights(path, monkeypatch):
    config, checkpoint = trained(path)
    # The zoo's config of that name, made small.
    monkeypatch.setattr(zoo, 'config_path', lambda name: config)
    scope = path.parts[-3]
    model = mmspike.get_model(path.stem)
    assert not model.training
    loaded = mmspike.get_model(path.stem, str(checkpoint))
    assert not next(iter(loaded.parameters())).equal(next(iter(model.parameters()))), scope
    other = mmspike.get_model(path.stem, backbone=dict(neuron_cfg=dict(D=2)))
    assert other.backbone.stages[0].blocks[0].conv1.activate.D == 2


def test_weights_that_do_not_fit_are_refused():
    _, checkpoint = trained(CLASSIFICATION)
    name = 'metaspikformer-small-sfa-t1d4_8xb256-amp-coslr-200e_in1k'
    with pytest.raises(ValueError, match='does not fit the config'):
        mmspike.get_model(name, str(checkpoint))


@pytest.mark.slow
def test_mmpretrain_knows_the_classifiers_after_registration(run_python):
    code = f"""
import mmpretrain, mmspike
assert not mmpretrain.list_models('metaspikformer')
mmspike.register_in_mmpretrain()
mmspike.register_in_mmpretrain()  # again: nothing happens
names = mmspike.list_models(task='classification')
assert set(names) <= set(mmpretrain.list_models()), names
assert mmpretrain.list_models('resnet50_8xb32_in1k') == ['resnet50_8xb32_in1k']
model = mmpretrain.get_model({DIGITS!r})
print(type(model).__name__, type(model.backbone).__name__)
"""
    assert 'ImageClassifier MetaSpikformer' in run_python('-c', code).stdout
