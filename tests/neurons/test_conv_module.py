import importlib

import pytest
import torch
from mmcv.cnn import ConvModule, build_activation_layer
from mmengine.registry import MODELS, DefaultScope

import mmspike
from mmspike.neurons import ILIF, SFA
from support import neurons

NEURONS = {cls.__name__: cls for cls in neurons.NEURONS}
SCOPES = ['mmpretrain', 'mmdet', 'mmseg']
CONV_FIRST, ACT_FIRST = ('conv', 'norm', 'act'), ('act', 'conv', 'norm')


def block(order=CONV_FIRST, **act_cfg):
    torch.manual_seed(0)
    return ConvModule(
        3, 4, 3, padding=1, norm_cfg=dict(type='BN'), act_cfg=act_cfg, order=order
    ).eval()


def maps(T=2):
    generator = torch.Generator().manual_seed(1)
    return 3 * torch.randn(T * 2, 3, 6, 6, generator=generator)


@pytest.mark.parametrize('name', NEURONS)
@pytest.mark.parametrize('order', [CONV_FIRST, ACT_FIRST])
def test_a_neuron_is_an_activation_in_either_order(name, order):
    layer = block(order, type=f'mmspike.{name}', timesteps=2)
    assert type(layer.activate) is NEURONS[name]
    x = maps()
    kept = x.clone()
    out = layer(x)
    if order == CONV_FIRST:
        expected = layer.activate(layer.bn(layer.conv(x)))
    else:
        expected = layer.bn(layer.conv(layer.activate(x)))
    assert torch.equal(out, expected)
    assert out.any()
    # ConvModule asks every activation to work in place
    assert torch.equal(x, kept)


@pytest.mark.parametrize('order', [CONV_FIRST, ACT_FIRST])
def test_gradients_reach_the_convolution_and_the_input(order):
    layer = block(order, type='mmspike.LIF', timesteps=2)
    x = maps().requires_grad_()
    layer(x).square().sum().backward()
    assert layer.conv.weight.grad.any()
    assert x.grad.any()


def test_options_reach_the_neuron():
    layer = block(type='mmspike.LIF', tau=4.0, v_reset=None, surrogate=dict(type='atan', alpha=3))
    assert (layer.activate.tau, layer.activate.v_reset) == (4.0, None)
    assert (layer.activate.surrogate.name, layer.activate.surrogate.alpha) == ('atan', 3.0)


def test_set_timesteps_reaches_the_neuron():
    layer = block(type='mmspike.IF')
    x = maps(T=2)
    one = layer(x)
    mmspike.set_timesteps(layer, 2)
    assert not torch.equal(layer(x), one)
    assert mmspike.get_timesteps(layer) == 2


def test_a_bad_option_fails_when_the_layer_is_built():
    with pytest.raises(ValueError, match=r'tau must be finite and at least 1, got 0\.5'):
        block(type='mmspike.LIF', tau=0.5)


@pytest.mark.parametrize('name', NEURONS)
def test_build_from_the_root_registry(name):
    assert type(MODELS.build(dict(type=f'mmspike.{name}'))) is NEURONS[name]
    assert type(build_activation_layer(dict(type=f'mmspike.{name}'))) is NEURONS[name]


@pytest.mark.slow
def test_the_first_use_imports_the_package(run_python):
    script = (
        'import sys; from mmcv.cnn import ConvModule; '
        "assert 'mmspike' not in sys.modules; "
        "print(type(ConvModule(1, 1, 1, act_cfg=dict(type='mmspike.LIF')).activate))"
    )
    done = run_python('-W', 'ignore', '-c', script)
    assert done.stdout.splitlines()[-1] == "<class 'mmspike.neurons.lif.LIF'>"


@pytest.mark.parametrize('scope', SCOPES)
@pytest.mark.parametrize('order', [CONV_FIRST, ACT_FIRST])
def test_conv_module_below_a_default_scope(scope, order):
    pytest.importorskip(scope)
    with DefaultScope.overwrite_default_scope(scope):
        layer = block(order, type='mmspike.SFA', D=8, timesteps=2)
    assert type(layer.activate) is SFA
    assert layer.activate.D == 8
    assert layer(maps()).shape == (4, 4, 6, 6)


@pytest.mark.parametrize('scope', SCOPES)
@pytest.mark.parametrize('name', NEURONS)
def test_build_from_the_registry_of_a_cpu_library(scope, name):
    pytest.importorskip(scope)
    registry = importlib.import_module(f'{scope}.registry').MODELS
    assert type(registry.build(dict(type=f'mmspike.{name}', timesteps=3))) is NEURONS[name]


def test_the_scope_may_be_left_out_below_ours():
    with DefaultScope.overwrite_default_scope('mmspike'):
        assert type(block(type='ILIF').activate) is ILIF
