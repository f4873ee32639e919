"""What all spiking backbones share."""

import copy

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.utils import register_all_modules

from mmspike.backbones import MST, SDT, MetaSpikformer
from mmspike.energy import EnergyCounter
from mmspike.masking import set_masking
from mmspike.neurons import BaseNeuron
from support.small_parts import BACKBONES, outputs


def order_of_use(backbone, x):
    """Names of the parameters in the order in which their modules first run."""
    names = []

    def note(prefix):
        def hook(module, inputs):
            names.extend(f'{prefix}.{key}' for key, _ in module.named_parameters(recurse=False))

        return hook

    for name, module in backbone.named_modules():
        module.register_forward_pre_hook(note(name))
    backbone(x)
    return list(dict.fromkeys(names))


@pytest.mark.parametrize('part', BACKBONES, ids=lambda part: part.name)
def test_depth_rises_from_input_to_output(part):
    backbone = part.make()
    names = order_of_use(backbone, part.input(2))
    assert set(names) == {name for name, _ in backbone.named_parameters()}
    depths = [backbone.get_layer_depth(f'backbone.{name}', 'backbone.') for name in names]
    counts = {count for _, count in depths}
    assert len(counts) == 1
    (count,) = counts
    layers = [depth for depth, _ in depths]
    assert layers == sorted(layers)
    # Only MST has a norm behind the stages, which is as deep as a head.
    assert set(layers) == set(range(count - ('MST' not in part.name)))
    assert backbone.get_layer_depth('head.fc.weight', 'backbone.') == (count - 1, count)
    assert backbone.get_layer_depth(names[0]) == (0, count)


def test_depths_of_the_named_architectures():
    """Blocks, and one more for the stem; SDT has four convolutions and an end of its embedding."""
    for backbone, layers in ((MetaSpikformer('tiny'), 12 + 1), (MST('tiny'), 12 + 1)):
        assert backbone.get_layer_depth('stages.0.downsample.x') == (0, layers + 1)
        assert (
            backbone.get_layer_depth('stages.2.downsample.x')[0]
            == (backbone.get_layer_depth('stages.2.blocks.0.x')[0])
        )
    sdt = SDT(dict(embed_dims=8, depth=3))
    assert sdt.get_layer_depth('stages.7.attn.q.conv.weight') == (7, 9)
    # Block 10 is not block 1.
    deep = SDT(dict(embed_dims=8, depth=9))
    assert deep.get_layer_depth('stages.12.mlp.fc1.conv.weight')[0] == 12


@pytest.mark.parametrize('part', BACKBONES, ids=lambda part: part.name)
def test_layer_wise_learning_rates_of_mmpretrain(part):
    register_all_modules(init_default_scope=False)
    init_default_scope('mmpretrain')
    model = MODELS.build(
        dict(
            type='ImageClassifier',
            backbone=dict(type='mmspike.SDT', arch=dict(embed_dims=8, depth=1)),
            neck=dict(type='GlobalAveragePooling'),
            head=dict(type='mmspike.SpikeLinearClsHead', num_classes=3, in_channels=8),
        )
    )
    model.backbone = part.make()
    wrapper = build_optim_wrapper(
        model,
        dict(
            optimizer=dict(type='SGD', lr=1.0, weight_decay=0.1),
            constructor='LearningRateDecayOptimWrapperConstructor',
            paramwise_cfg=dict(layer_decay_rate=0.5),
        ),
    )
    groups = wrapper.optimizer.param_groups
    assert {id(p) for group in groups for p in group['params']} == set(map(id, model.parameters()))
    for group in groups:
        name = group['param_name']
        depth, count = model.backbone.get_layer_depth(name, 'backbone.')
        assert group['lr'] == 0.5 ** (count - 1 - depth)
        if name.startswith('head'):
            assert group['lr'] == 1.0
    assert min(group['lr'] for group in groups) == 0.5 ** (count - 1)


def gradients(backbone, x):
    """Gradients of the sum of squares of all outputs, by name."""
    sum(out.float().square().sum() for out in outputs(backbone, x)).backward()
    return {name: p.grad for name, p in backbone.named_parameters() if p.grad is not None}


@pytest.mark.parametrize('part', BACKBONES, ids=lambda part: part.name)
def test_recomputed_activations_give_the_same_gradients(part):
    torch.manual_seed(0)
    plain = part.make(timesteps=2).train()
    recomputing = part.make(timesteps=2, with_cp=True).train()
    recomputing.load_state_dict(plain.state_dict())
    x = part.input(2).requires_grad_()
    expected = gradients(plain, x)
    found = gradients(recomputing, x)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, msg=name)
    for name, buffer in plain.named_buffers():  # statistics are taken once, not twice
        torch.testing.assert_close(recomputing.get_buffer(name), buffer, msg=name)


@pytest.mark.parametrize('part', BACKBONES, ids=lambda part: part.name)
def test_mixed_precision_trains_all_that_full_precision_trains(part):
    torch.manual_seed(0)
    net, x = part.make().train(), part.input(4)
    expected = gradients(copy.deepcopy(net), x)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        outs = outputs(net, x)
    assert all(out.isfinite().all() for out in outs)
    sum(out.float().square().sum() for out in outs).backward()
    found = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    assert found.keys() == expected.keys()
    assert all(gradient.isfinite().all() for gradient in found.values())
    for name, gradient in found.items():
        assert gradient.dtype == torch.float32, name


@pytest.mark.parametrize('part', BACKBONES, ids=lambda part: part.name)
def test_frozen_stages_neither_learn_nor_take_statistics(part):
    net = part.make(frozen_stages=0).train()
    frozen = copy.deepcopy(net.stages[0].state_dict())
    found = gradients(net, part.input(4))
    assert not any(name.startswith('stages.0.') for name in found)
    assert any(name.startswith('stages.1.') for name in found)
    for name, value in net.stages[0].state_dict().items():
        assert torch.equal(value, frozen[name]), name


@pytest.mark.parametrize('part', BACKBONES, ids=lambda part: part.name)
def test_energy_is_complete_and_every_group_can_be_masked(part):
    torch.manual_seed(0)
    net, x = part.make(timesteps=2).eval(), part.input(2)
    with torch.no_grad(), EnergyCounter(net, strict=True) as counter:
        net(x)
    whole = sum(layer.sops for layer in counter.counts().layers.values())
    assert whole > 0
    set_masking(net, dict.fromkeys(('all', *getattr(net, 'neuron_groups', ())), 0.9))
    assert {m.masking_ratio for m in net.modules() if isinstance(m, BaseNeuron)} == {0.9}
    with torch.no_grad(), EnergyCounter(net, strict=True) as counter:
        net(x)
    assert sum(layer.sops for layer in counter.counts().layers.values()) < 0.5 * whole
