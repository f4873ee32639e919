"""MST on spikes: what its layers take, what is counted, and what is said to be no spikes."""

import pytest
import torch
from mmpretrain.registry import MODELS
from torch import nn

from mmspike.backbones import MST
from mmspike.energy import EnergyCounter, EnergyReport
from mmspike.execution import check_spike_driven, compare_executions, set_execution
from mmspike.layers import SpikeWindowAttention

ARCH = dict(embed_dims=8, depths=(2, 1), num_heads=(2, 4), window_size=4)
SPIKING = dict(type='mmspike.SpikingQCFS', init_threshold=0.5)
IMAGE = torch.rand(2, 3, 22, 30, generator=torch.Generator().manual_seed(0))


def net_of(neuron=SPIKING, timesteps=4, **options):
    net = MST(ARCH, out_indices=(1,), neuron_cfg=neuron, timesteps=timesteps, **options)
    for module in net.modules():
        if isinstance(module, SpikeWindowAttention):
            # Equal scores would make means of few spikes, which are ties.
            nn.init.normal_(module.relative_position_bias_table)
    return net.eval()


def test_every_layer_but_the_declared_takes_binary_spikes():
    net = net_of()
    set_execution(net, 'spike')
    inputs = check_spike_driven(net, lambda: net(IMAGE))
    assert [one.layer for one in inputs if not one.binary] == [
        'stages.0.downsample.projection.conv',
        'stages.1.downsample.conv',
    ]
    assert len(inputs) == 2 + 3 * 5
    assert {one.operators for one in inputs if one.layer.endswith('attn')} == {('bmm',)}


@pytest.mark.parametrize('neuron', [SPIKING, dict(type='mmspike.QCFS', levels=4)])
def test_both_executions_give_the_same(neuron):
    net = net_of(neuron).double()
    for row in compare_executions(net, lambda: net(IMAGE.double())):
        assert row.largest < 1e-9, row


def test_a_classifier_without_a_last_neuron_says_so():
    classifier = MODELS.build(
        dict(
            type='mmpretrain.ImageClassifier',
            backbone=dict(
                type='mmspike.MST', arch=ARCH, out_indices=(1,), neuron_cfg=SPIKING, timesteps=2
            ),
            neck=dict(type='mmpretrain.GlobalAveragePooling'),
            head=dict(
                type='mmspike.SpikeLinearClsHead',
                num_classes=3, in_channels=16, timesteps=2, neuron_cfg=None,
                loss=dict(type='mmpretrain.CrossEntropyLoss'),
            ),
        )
    ).eval()  # fmt: skip
    set_execution(classifier, 'spike')
    inputs = check_spike_driven(classifier, lambda: classifier(IMAGE))
    assert [one.layer for one in inputs if not one.binary][-1] == 'head.fc'
    assert classifier(IMAGE, mode='tensor').shape == (2, 3)


def connections_by_hand(module, spikes):
    """Every spike of a 1x1 convolution goes to every output channel."""
    return spikes.count_nonzero().item() * module.out_channels


def test_operations_are_those_counted_by_hand():
    net = net_of()
    expected, taken = {}, {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and name not in net.analog_layers:
            module.register_forward_pre_hook(
                lambda module, args, name=name: expected.update(
                    {name: connections_by_hand(module, args[0])}
                )
            )
        if name.endswith(('q_neuron', 'v_neuron')):
            module.register_forward_hook(
                lambda module, _, out, name=name: taken.update({name: out.count_nonzero().item()})
            )
    with torch.no_grad():
        net(IMAGE)
        with EnergyCounter(net, strict=True) as counter:
            net(IMAGE)
    layers = counter.counts().layers
    for name, sops in expected.items():
        assert layers[name].sops == sops > 0, name
    for i, j in ((0, 0), (0, 1), (1, 0)):
        attn = f'stages.{i}.blocks.{j}.attn'
        # A spike of q selects what is added of each key in its window, 16 at most; a spike of v is
        # added to each query.
        tokens = 16 if i == 0 else 4 * 3
        assert layers[f'{attn}: product 1'].sops == taken[f'{attn}.q_neuron'] * tokens
        assert layers[f'{attn}: product 2'].sops == taken[f'{attn}.v_neuron'] * tokens
    stem = layers['stages.0.downsample.projection.conv']
    assert stem.analog_macs == stem.macs_once == 2 * 8 * 48 * 6 * 8  # once, not at every step


def test_frames_are_embedded_at_every_step():
    net = net_of()
    with torch.no_grad(), EnergyCounter(net) as counter:
        net(IMAGE.unsqueeze(1).repeat(1, 4, 1, 1, 1))
    stem = counter.counts().layers['stages.0.downsample.projection.conv']
    assert stem.analog_macs == 4 * stem.macs_once == 4 * 2 * 8 * 48 * 6 * 8


def test_what_works_on_real_numbers_is_listed():
    net = net_of(readout=True)
    with torch.no_grad(), EnergyCounter(net) as counter:
        net(IMAGE)
    counts = counter.counts()
    windows = {'stages.0.blocks.0': 2 * 2, 'stages.0.blocks.1': 2 * 2}
    expected = {f'{name}.attn: softmax': 2 * 4 * n * 2 * 16 * 16 for name, n in windows.items()}
    expected['stages.1.blocks.0.attn: softmax'] = 2 * 4 * 4 * 12 * 12
    expected['norm: layer_norm'] = 2 * 3 * 4 * 16  # of the mean over time
    assert counts.real_functions == expected
    report = EnergyReport(counter, name='net')
    text = report.notes()[-1]
    assert text.startswith('net works on real numbers as well, not counted: softmax of ')
    assert '(3x), layer_norm of 192 numbers (1x)' in text
    assert report.to_dict()['real_functions'] == expected
    counter.reset()
    assert counter.counts().real_functions == {}
