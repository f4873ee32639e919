"""Configs and models of mmspike by name."""

import argparse

import pytest
import torch
from mmengine.config import Config

import mmspike
from mmspike import zoo
from mmspike.apis.config import load_config
from mmspike.converters import convert_file
from mmspike.files import read_training_checkpoint
from mmspike.metafiles import weights_named, weights_of
from support.paths import ROOT
from support.published_files import weights_like
from support.reference_cases import Case
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
    tasks = 'classification, detection, segmentation, selfsup'
    with pytest.raises(ValueError, match=f"{tasks}, got 'cls'"):
        mmspike.list_models(task='cls')


def test_list_by_family():
    assert mmspike.list_models(family='sdt') == mmspike.list_models('sdt-*')
    both = mmspike.list_models('*digits', family='MetaSpikformer')
    assert mmspike.list_models(task='detection', family='metaspikformer')
    assert DIGITS in both
    assert set(both) < set(mmspike.list_models('*digits'))
    with pytest.raises(ValueError, match=r"family is one of .*mst, sdt, .*, got 'swin'"):
        mmspike.list_models(family='swin')


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


def test_files_outside_of_the_configs_have_no_name(tmp_path):
    (tmp_path / 'other.py').write_text('model = dict()')
    for name in ('../tools/train', 'mmspike::../tools/train.py', str(tmp_path / 'other.py'), '/'):
        with pytest.raises(ValueError, match='mmspike has no config'):
            mmspike.config_path(name)


def test_a_part_of_configs_is_no_model():
    with pytest.raises(ValueError, match=r'models/mst_cls.py is no whole config, with model and'):
        mmspike.get_model('_base_/models/mst_cls.py')


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


def first_parameter(model):
    return next(iter(model.parameters()))


@pytest.mark.parametrize('path', [CLASSIFICATION, DETECTION, SEGMENTATION], ids=lambda p: p.stem)
def test_models_of_all_hosts_with_and_without_weights(path, monkeypatch):
    config, checkpoint = trained(path)
    # The zoo's config of that name, made small.
    monkeypatch.setattr(zoo, 'config_path', lambda name: config)
    scope = path.parts[-3]
    model = mmspike.get_model(path.stem)
    assert not model.training
    loaded = mmspike.get_model(path.stem, str(checkpoint))
    assert not first_parameter(loaded).equal(first_parameter(model)), scope
    with pytest.warns(DeprecationWarning, match='use pretrained='):
        again = mmspike.get_model(path.stem, checkpoint=checkpoint)
    assert first_parameter(again).equal(first_parameter(loaded))
    other = mmspike.get_model(path.stem, backbone=dict(neuron_cfg=dict(D=2)))
    assert other.backbone.stages[0].blocks[0].conv1.activate.D == 2


@pytest.mark.parametrize(
    'content',
    [
        dict(state_dict='WEIGHTS', args=argparse.Namespace(lr=0.1)),
        dict(model='WEIGHTS', epoch=3),
        dict(state_dict='WEIGHTS', meta=None),
    ],
    ids=['settings', 'timm', 'no meta'],
)
def test_weights_of_mmspike_in_files_of_other_forms(content, tmp_path, monkeypatch, capfd):
    config, checkpoint = trained(CLASSIFICATION)
    weights = read_training_checkpoint(checkpoint)['state_dict']
    path = tmp_path / 'own.pth'
    torch.save({k: weights if v == 'WEIGHTS' else v for k, v in content.items()}, path)
    monkeypatch.setattr(zoo, 'config_path', lambda name: config)
    model = mmspike.get_model(DIGITS, path)
    assert first_parameter(model).equal(weights['backbone.stages.0.downsample.conv.weight'])
    # mmengine's loader did not have to open the file with pickle.
    assert 'weights_only' not in ''.join(capfd.readouterr())


def test_weights_that_do_not_fit_are_refused():
    _, checkpoint = trained(CLASSIFICATION)
    with pytest.raises(ValueError, match='does not fit the config'):
        mmspike.get_model(SMALL, str(checkpoint))


SMALL = 'metaspikformer-small-sfa-t1d4_8xb256-amp-coslr-200e_in1k'


def test_usual_weights_are_those_of_the_metafile(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        mmspike.get_model(SMALL, pretrained=True)
    text = str(error.value)
    assert text.startswith('there is no file checkpoints/metaspikformer-small-sfa-t1d4_in1k.pth')
    assert 'download it from https://drive.google.com/' in text
    assert 'convert.py V3_5.1M_1x4.pth checkpoints/metaspikformer-small' in text
    with pytest.raises(FileNotFoundError, match='`make demo` writes it'):
        mmspike.get_model(DIGITS, pretrained=True)
    without = 'sdt-2-512-lif-t4_1xb64-coslr-310e_cifar10'
    with pytest.raises(ValueError, match=f'no weights are known for {without}: give a file'):
        mmspike.get_model(without, pretrained=True)


@pytest.mark.slow
def test_published_file_is_recognised_and_converted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    weights = weights_like(weights_named('V3_5.1M_1x4.pth'), device='cpu')
    bias = weights['head.bias'] = torch.randn(1000)
    torch.save(dict(model=weights, args=argparse.Namespace(lr=0.1)), 'download.pth')
    model = mmspike.get_model(SMALL, pretrained='download.pth')
    assert model.head.fc.bias.equal(bias)
    # The same by its usual place, converted before.
    convert_file('download.pth', weights_of(SMALL).target)
    model = mmspike.get_model(SMALL, pretrained=True)
    assert model.head.fc.bias.equal(bias)
    with pytest.raises(ValueError, match=r'download.pth does not fit the config: of the \d+'):
        mmspike.get_model(SMALL.replace('small', 'medium'), pretrained='download.pth')
    assert sorted(path.name for path in tmp_path.iterdir()) == ['checkpoints', 'download.pth']


def test_published_file_of_a_segmentor_is_converted_for_its_model(tmp_path, monkeypatch):
    case = Case.load('sdtv3_seg_fpn')
    config = tmp_path / 'small.py'
    config.write_text(f"""
_base_ = {str(ROOT / 'configs/_base_/models/semantic-fpn_metaspikformer.py')!r}
default_scope = 'mmseg'
model = dict(
    backbone=dict(arch='tiny'),
    neck=dict(in_channels=[12, 24, 48, 128], out_channels=32),
    decode_head=dict(in_channels=[32] * 4, channels=32, num_classes=19),
)
""")
    monkeypatch.setattr(zoo, 'config_path', lambda name: config)
    torch.save(dict(meta=dict(), state_dict=case.weights()), tmp_path / 'published.pth')
    model = mmspike.get_model('small', pretrained=tmp_path / 'published.pth')
    expected = case.weights()['decode_head.conv_seg.weight']
    assert model.decode_head.conv_seg.weight.equal(expected)


def test_files_that_are_no_weights_of_the_model(tmp_path):
    damaged = tmp_path / 'damaged.pth'
    damaged.write_bytes(b'PK damaged')
    with pytest.raises(ValueError, match=r'damaged.pth \(10 bytes\) cannot be read'):
        mmspike.get_model(DIGITS, damaged)
    with pytest.raises(IsADirectoryError, match='is a directory'):
        mmspike.get_model(DIGITS, tmp_path)
    with pytest.raises(IsADirectoryError, match='is a directory'):
        mmspike.get_model(DIGITS, pretrained='')
    with pytest.raises(FileNotFoundError, match='there is no checkpoint file'):
        mmspike.get_model(DIGITS, tmp_path / 'absent.pth')
    torch.save(Case.load('sdt_v1_cifar').weights(), tmp_path / 'sdt.pth')
    with pytest.raises(ValueError, match=r'sdt.pth does not fit the config'):
        mmspike.get_model(DIGITS, tmp_path / 'sdt.pth')


@pytest.mark.slow
def test_mmpretrain_knows_its_models_after_registration(run_python):
    code = f"""
import mmpretrain, mmspike
assert not mmpretrain.list_models('metaspikformer')
mmspike.register_in_mmpretrain()
mmspike.register_in_mmpretrain()  # again: nothing happens
names = mmspike.list_models(task='classification') + mmspike.list_models(task='selfsup')
assert set(names) <= set(mmpretrain.list_models()), names
assert mmpretrain.list_models('resnet50_8xb32_in1k') == ['resnet50_8xb32_in1k']
model = mmpretrain.get_model({DIGITS!r})
print(type(model).__name__, type(model.backbone).__name__)
"""
    assert 'ImageClassifier MetaSpikformer' in run_python('-c', code).stdout
