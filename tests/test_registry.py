import re

import pytest

SCOPED = """
import sys
from mmengine.registry import MODELS, HOOKS, DATASETS
registry, name = MODELS, {name!r}
if {host!r} != 'mmengine':
    import importlib
    registry = importlib.import_module({host!r} + '.registry').MODELS
print(registry.get(name).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize('host', ['mmengine', 'mmpretrain', 'mmdet', 'mmseg'])
def test_scoped_name_is_found_from_every_host_with_nothing_imported(run_python, host):
    out = run_python('-c', SCOPED.format(name='mmspike.MetaSpikformer', host=host)).stdout
    assert out.split()[-1] == 'MetaSpikformer'


@pytest.mark.slow
def test_hosted_parts_are_found_and_load_their_host(run_python):
    code = SCOPED.format(name='mmspike.SpikeLinearClsHead', host='mmengine')
    assert run_python('-c', code).stdout.split()[-1] == 'SpikeLinearClsHead'


@pytest.mark.slow
def test_parts_without_host_load_no_host(run_python):
    code = SCOPED.format(name='mmspike.LIF', host='mmengine')
    code += "assert not {'mmpretrain', 'mmdet', 'mmseg', 'cupy'} & set(sys.modules)"
    run_python('-c', code)


@pytest.mark.slow
def test_import_is_light_and_touches_no_gpu(run_python):
    """What the import may load is what keeps it fast."""
    code = """
import sys, torch
import mmspike
assert not {'mmpretrain', 'mmdet', 'mmseg', 'mmcv', 'cupy', 'spikingjelly'} & set(sys.modules)
assert not torch.cuda.is_initialized()
light = 'checks deprecation metafiles moved registry temporal version versions zoo'.split()
loaded = {name for name in sys.modules if name.startswith('mmspike')}
assert loaded == {'mmspike', *(f'mmspike.{name}' for name in light)}, loaded
"""
    run_python('-c', code)


BLOCK = """
import importlib.util, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in {blocked!r}:
            raise ModuleNotFoundError(f'No module named {{name!r}}', name=name)
sys.meta_path.insert(0, Blocker())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *a: None if name in {blocked!r} else find_spec(name, *a)
"""


@pytest.mark.slow
def test_missing_host_is_named_with_its_install_command(run_python):
    code = BLOCK.format(blocked=['mmpretrain']) + (
        'from mmengine.registry import MODELS\n'
        "MODELS.build(dict(type='mmspike.SpikeLinearClsHead', num_classes=2, in_channels=2))"
    )
    error = run_python('-c', code, check=False).stderr.strip().splitlines()[-1]
    assert error.startswith('ImportError')
    assert "'SpikeLinearClsHead'" in error
    # pip knows the distribution, whose files are not there.
    assert re.search(r'pip install --force-reinstall --no-deps .*onedl-mmpretrain==', error)


@pytest.mark.slow
def test_backbone_works_without_any_host_but_mmcv(run_python):
    code = BLOCK.format(blocked=['mmpretrain', 'mmdet', 'mmseg', 'cupy']) + (
        'from mmengine.registry import MODELS\n'
        "net = MODELS.build(dict(type='mmspike.MetaSpikformer', arch='tiny'))\n"
        'import torch\n'
        'print(net(torch.rand(1, 3, 32, 32))[0].shape)'
    )
    assert 'torch.Size([1, 128, 2, 2])' in run_python('-c', code).stdout


def test_unknown_name_with_all_hosts_installed():
    from mmengine.registry import MODELS

    with pytest.raises(KeyError, match='SpikeNothing is not in the'):
        MODELS.build(dict(type='mmspike.SpikeNothing'))


def test_public_names():
    import mmspike
    from mmspike import ann2snn, backbones, converters, energy, execution, hooks, layers, neurons

    assert sorted(mmspike.__all__) == [
        '__version__', 'config_path', 'get_config', 'get_model', 'get_timesteps', 'list_models',
        'optimize_for_inference', 'register_in_mmpretrain', 'registry', 'set_timesteps',
    ]  # fmt: skip
    packages = (ann2snn, backbones, converters, energy, execution, hooks, layers, neurons)
    for package in (mmspike, *packages):
        for name in package.__all__:
            assert hasattr(package, name), name


@pytest.mark.parametrize(
    ('registry', 'wrong', 'right'),
    [
        ('MODELS', 'Lif', 'LIF'),
        ('MODELS', 'plif', 'PLIF'),
        ('MODELS', 'MetaSpikeFormer', 'MetaSpikformer'),
        ('MODELS', 'SpikeFPNHed', 'SpikeFPNHead'),
        ('HOOKS', 'RSMScheduleHok', 'RSMScheduleHook'),
        ('DATASETS', 'HandwritenDigits', 'HandwrittenDigits'),
    ],
)
def test_misspelled_name_is_answered_with_the_right_one(registry, wrong, right):
    import mmengine.registry

    with pytest.raises(KeyError, match=rf"'{wrong}'.* Did you mean 'mmspike\.{right}'\?"):
        getattr(mmengine.registry, registry).build(dict(type=f'mmspike.{wrong}'))


@pytest.mark.parametrize('backbone', ['MetaSpikformer', 'SDT', 'MST'])
@pytest.mark.parametrize('neuron', ['LIF', 'Lif', 'mmspike.Lif'])
def test_neurons_without_prefix_or_misspelled(backbone, neuron):
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import MODELS

    cfg = dict(type=f'mmspike.{backbone}', arch='tiny', neuron_cfg=dict(type=neuron))
    if backbone == 'SDT':
        cfg['arch'] = '2-256'
    with (
        DefaultScope.overwrite_default_scope('mmpretrain'),
        pytest.raises(KeyError, match=r"Did you mean 'mmspike\.LIF'"),
    ):
        MODELS.build(cfg)


@pytest.mark.slow
def test_misspelled_name_while_a_host_is_missing(run_python):
    code = BLOCK.format(blocked=['mmpretrain']) + (
        "from mmengine.registry import MODELS\nMODELS.build(dict(type='mmspike.Lif'))"
    )
    error = run_python('-c', code, check=False).stderr.strip().splitlines()[-1]
    assert error.startswith('ImportError')
    assert "Did you mean 'mmspike.LIF'?" in error
    assert 'pip install' in error
