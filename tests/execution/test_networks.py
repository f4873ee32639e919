"""Whole networks on integers and on spikes."""

import copy
from importlib import import_module

import pytest
import torch
from mmengine.registry import MODELS, init_default_scope

from mmspike.execution import (
    SpikeDriven,
    SpikeDrivenError,
    SpikeTrain,
    check_spike_driven,
    compare_executions,
    get_execution,
    set_execution,
)
from support.firing_networks import give_statistics, make_exact
from support.paths import ROOT
from support.small_runs import DIGITS, small_config

# The package mmcv.ops has a function of the same name.
nms = import_module('mmcv.ops.nms')

CONFIGS = {
    'sfa': DIGITS,
    'ilif': 'classification/metaspikformer/*-digits-ilif-t4d4_1xb32-coslr-15e_*.py',
    'lif': 'classification/metaspikformer/*-digits-lif-t4_*.py',
    'sdtv2': 'classification/sdt_v2/sdtv2-digits-*.py',
    'sdtv3-large': 'classification/sdt_v3_large/sdtv3-digits-sfa-t1d4_1xb32-coslr-15e_*.py',
    'mask-rcnn': 'detection/digit-scenes/mask-rcnn*.py',
    'retinanet': 'detection/digit-scenes/retinanet*.py',
    'semantic-fpn': 'segmentation/digit-scenes/*.py',
}
SAMPLES = {
    'mmpretrain': ('mmpretrain.structures', 'DataSample', 32),
    'mmdet': ('mmdet.structures', 'DetDataSample', 64),
    'mmseg': ('mmseg.structures', 'SegDataSample', 64),
}
ANALOG = {
    'mask-rcnn': {'roi_head.bbox_head.fc_cls', 'roi_head.bbox_head.fc_reg'},
    'sdtv3-large': {'head.fc'},  # it reads membranes
    'sdtv2': {f'backbone.stages.{i}.blocks.0.sep_conv.pointwise2.conv' for i in range(3)},
}
STEM = 'backbone.stages.0.downsample.conv'
# Networks with chains of convolutions, which add other numbers in other orders on spikes.
CHAINS = ('sdtv2', 'sdtv3-large')
INTEGER = [name for name in CONFIGS if name not in (*CHAINS, 'lif')]


def batch_of(scope):
    module, kind, size = SAMPLES[scope]
    make = getattr(import_module(module), kind)
    info = dict(
        img_shape=(size, size), ori_shape=(size, size), scale_factor=(1.0, 1.0),
        pad_shape=(size, size), img_id=0,
    )  # fmt: skip
    images = [torch.randint(0, 256, (3, size, size), dtype=torch.uint8) for _ in range(2)]
    return dict(inputs=images, data_samples=[make(metainfo=info) for _ in images])


class Network:
    """A small config's model, whose neurons fire, and a batch for it."""

    def __init__(self, name, folder):
        pattern = CONFIGS[name]
        path = pattern if name == 'sfa' else next((ROOT / 'configs').glob(pattern))
        cfg = small_config(path, folder)
        self.scope = cfg.default_scope
        init_default_scope(self.scope)
        torch.manual_seed(0)
        self.model = MODELS.build(cfg.model)
        self.batch = batch_of(self.scope)
        self.inputs = self.model.data_preprocessor(self.batch, False)
        give_statistics(self.model, self._layers_with_norms)

    def _layers_with_norms(self):
        feats = self.model.extract_feat(self.inputs['inputs'])
        if hasattr(self.model, 'decode_head'):
            self.model.decode_head(feats)

    def raw(self):
        """What the last layers put out."""
        with torch.no_grad():
            return tensors_of(self.model(**self.inputs, mode='tensor'))

    def predict(self):
        return [tensors_of(sample) for sample in self.model.test_step(self.batch)]

    def in_both(self, call):
        expected = call()
        set_execution(self.model, 'spike')
        out = call()
        set_execution(self.model, 'integer')
        return expected, out


def tensors_of(out):
    if isinstance(out, torch.Tensor):
        return [out]
    if hasattr(out, 'all_values'):
        out = out.all_values()
    elif isinstance(out, dict):
        out = out.values()
    if isinstance(out, str | int | float | None):
        return []
    return [x for one in out for x in tensors_of(one)]


@pytest.fixture(scope='module')
def network(tmp_path_factory):
    """Build a network by its name; each call gives a copy."""
    built = {}

    def copy_of(name):
        if name not in built:
            built[name] = Network(name, tmp_path_factory.mktemp(name))
        init_default_scope(built[name].scope)
        return copy.deepcopy(built[name])

    return copy_of


@pytest.mark.slow
@pytest.mark.parametrize('name', [*INTEGER, 'lif'])
def test_exact_weights_give_equal_predictions(network, name):
    net = network(name)
    make_exact(net.model)
    for call in (net.raw, net.predict):
        expected, out = net.in_both(call)
        assert len(flat(expected)) == len(flat(out)) > 0
        for a, b in zip(flat(expected), flat(out), strict=True):
            assert torch.equal(a, b)


def flat(out):
    return [x for one in out for x in (flat(one) if isinstance(one, list) else [one])]


@pytest.mark.parametrize(
    ('name', 'execution'),
    [*((name, 'spike') for name in INTEGER), ('sfa', 'bitwise'), ('ilif', 'ternary'),
     ('mask-rcnn', 'ternary'), ('semantic-fpn', 'bitwise')],
)  # fmt: skip
def test_exact_weights_differ_in_no_layer(network, name, execution):
    net = network(name)
    make_exact(net.model)
    found = compare_executions(net.model, net.raw, execution)
    assert len(found) > 70
    assert all(one.largest == 0 for one in found)
    neurons = [one for one in found if one.spikes is not None]
    # They do fire, nearly all of them.
    assert sum(one.scale > 0 for one in neurons) > 0.9 * len(neurons)


@pytest.mark.parametrize('name', [*INTEGER, *CHAINS])
def test_in_double_precision_all_spikes_are_equal(network, name, monkeypatch):
    net = network(name)
    # mmcv suppresses boxes in float32 only.
    suppress = nms.ext_module.nms
    monkeypatch.setattr(
        nms.ext_module, 'nms', lambda boxes, scores, **options:
        suppress(boxes.float(), scores.float(), **options),
    )  # fmt: skip
    net.model.double()
    net.inputs['inputs'] = net.inputs['inputs'].double()
    for one in compare_executions(net.model, net.raw):
        assert not one.spikes, one
        assert one.largest <= 1e-12 * max(one.scale, 1), one


@pytest.mark.parametrize('name', CONFIGS)
def test_in_single_precision_outputs_agree_to_rounding(network, name):
    net = network(name)
    expected, out = net.in_both(net.raw)
    if name == 'lif':
        assert all(torch.equal(a, b) for a, b in zip(expected, out, strict=True))
    flips = [one for one in compare_executions(net.model, net.raw) if one.spikes]
    if flips:  # a tie, somewhere, that another order of additions breaks otherwise
        assert sum(one.spikes for one in flips) < 1e-3 * sum(one.outputs for one in flips)
        return
    for a, b in zip(expected, out, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', CONFIGS)
def test_the_check(network, name):
    net = network(name)
    if name == 'sdtv2':
        # Chains of convolutions, of which two take real numbers in integer execution.
        with pytest.raises(SpikeDrivenError, match=r'16 of 51 layers .*q\.conv\.depthwise'):
            check_spike_driven(net.model, net.raw)
    if name in INTEGER:
        with pytest.raises(SpikeDrivenError) as error:
            check_spike_driven(net.model, net.raw)
        # Named are nearly all layers: in integer execution hardly any input is binary.
        assert str(error.value).count('conv') > 40
        assert STEM not in str(error.value)
    set_execution(net.model, 'spike')
    found = check_spike_driven(net.model, net.predict)
    assert {one.layer for one in found if not one.binary} == {STEM} | ANALOG.get(name, set())


def test_an_undeclared_layer_fails(network, monkeypatch):
    net = network('mask-rcnn')
    monkeypatch.setattr(type(net.model.roi_head.bbox_head), 'analog_layers', ('fc_cls',))
    set_execution(net.model, 'spike')
    with pytest.raises(SpikeDrivenError, match=r'1 of 69 layers .*: roi_head\.bbox_head\.fc_reg\.'):
        check_spike_driven(net.model, net.raw)


def test_an_attention_of_pairwise_slots_differs(network, monkeypatch):
    net = network('sfa')
    make_exact(net.model)

    def pairwise(self, func, args, kwargs):
        left, right = args
        if not (isinstance(left, SpikeTrain) and isinstance(right, SpikeTrain)):
            return original(self, func, args, kwargs)
        parts = (func(a, b) for a, b in zip(left.slots(), right.slots(), strict=True))
        return sum(parts) * (left.spike_value * right.spike_value)

    original = SpikeDriven.product
    monkeypatch.setattr(SpikeDriven, 'product', pairwise)
    found = {one.layer: one for one in compare_executions(net.model, net.raw)}
    first = 'backbone.stages.3.blocks.0.attn.'
    assert all(found[f'{first}{part}.activate'].spikes == 0 for part in 'qkv')
    assert found[f'{first}out.activate'].spikes > 0
    assert get_execution(net.model) == 'integer'


@pytest.mark.parametrize('name', ['sfa', 'mask-rcnn'])
def test_the_switch_restores(network, name):
    net = network(name)
    before = flat(net.predict())
    net.in_both(net.predict)
    assert all(torch.equal(a, b) for a, b in zip(flat(net.predict()), before, strict=True))
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.model.modules())
