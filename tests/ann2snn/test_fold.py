import pytest
import torch
from mmcv.cnn import ConvModule
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike.ann2snn import fold_batch_norms
from mmspike.backbones import MetaSpikformer
from mmspike.neurons import LIF


def with_random_statistics(model):
    """Norms that are no identity, as after training."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm) and module.running_mean is not None:
            for tensor in (module.running_mean, module.bias.data):
                tensor.copy_(torch.randn(tensor.shape, generator=generator) / 2)
            for tensor in (module.running_var, module.weight.data):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    model.eval()
    return model


def norms(model):
    return [module for module in model.modules() if isinstance(module, _BatchNorm)]


@pytest.mark.parametrize('neuron', [dict(type='mmspike.SFA'), dict(type='mmspike.LIF')])
def test_backbone_computes_the_same(neuron):
    net = with_random_statistics(MetaSpikformer('tiny', timesteps=2, neuron_cfg=neuron).double())
    images = torch.rand(2, 3, 64, 64, dtype=torch.float64)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    folded = fold_batch_norms(net)
    with torch.no_grad():
        (expected,), (out,) = net(images), folded(images)
    torch.testing.assert_close(out, expected, rtol=1e-9, atol=1e-9)
    assert not norms(folded)
    assert norms(net)
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize('order', [('conv', 'norm', 'act'), ('act', 'conv', 'norm')])
@pytest.mark.parametrize('bias', [True, False])
def test_conv_modules(order, bias):
    layer = ConvModule(
        4, 6, 3, padding=1, groups=2, bias=bias, norm_cfg=dict(type='BN'),
        act_cfg=dict(type='mmspike.LIF'), order=order,
    )  # fmt: skip
    layer = with_random_statistics(layer.double())
    folded = fold_batch_norms(layer)
    x = torch.randn(2, 4, 5, 5, dtype=torch.float64) * 2
    torch.testing.assert_close(folded(x), layer(x))
    assert not norms(folded)


def test_sequences():
    net = nn.Sequential(
        nn.Conv1d(3, 4, 1, bias=False), nn.BatchNorm1d(4), LIF(), nn.Flatten(),
        nn.Linear(20, 6), nn.SyncBatchNorm(6), nn.Linear(6, 2), nn.BatchNorm1d(2),
    )  # fmt: skip
    net = with_random_statistics(net.double())
    folded = fold_batch_norms(net)
    x = torch.randn(3, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(folded(x), net(x))
    assert not norms(folded)


@pytest.mark.parametrize(
    'net',
    [
        # What comes between, or before, cannot be folded.
        nn.Sequential(nn.Conv2d(3, 4, 1), LIF(), nn.BatchNorm2d(4)),
        nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)),
        nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)),
        ConvModule(3, 4, 1, norm_cfg=dict(type='BN'), order=('norm', 'conv', 'act')),
        ConvModule(3, 4, 1, norm_cfg=dict(type='BN'), order=('conv', 'act', 'norm')),
    ],
)
def test_other_norms_stay(net):
    net = with_random_statistics(net)
    folded = fold_batch_norms(net)
    x = torch.randn(2, 3, 5, 5)
    assert torch.equal(folded(x), net(x))
    assert len(norms(folded)) == 1


def test_the_copy_is_in_evaluation_mode_and_the_model_stays_as_it_was():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).train()
    assert not fold_batch_norms(net).training
    assert net.training
    assert net[1].training


class Named(nn.Module):
    """Layers and norms as attributes, in an order that only running shows."""

    def __init__(self):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(4)
        self.conv1 = nn.Conv2d(3, 4, 3, bias=False)
        self.conv2 = nn.Conv2d(4, 4, 1)
        self.norm2 = nn.BatchNorm2d(4)
        self.conv3 = nn.Conv2d(4, 4, 1)
        self.norm3 = nn.BatchNorm2d(4)
        self.norm4 = nn.BatchNorm2d(4)

    def forward(self, x):
        x = self.norm1(self.conv1(x)).relu()
        y = self.conv2(x)
        y = self.norm2(y) + y  # somebody else needs the output as it is
        z = self.norm3(self.conv3(y))
        return self.norm3(self.conv3(z)) + self.norm4(z)  # called twice; no layer in front


def test_a_run_shows_which_norm_follows_which_layer():
    net = with_random_statistics(Named().double())
    x = torch.randn(2, 3, 6, 6, dtype=torch.float64)
    folded = fold_batch_norms(net, lambda model: model(x))
    torch.testing.assert_close(folded(x), net(x))
    assert [name for name, m in folded.named_modules() if isinstance(m, _BatchNorm)] == [
        'norm2', 'norm3', 'norm4',
    ]  # fmt: skip
    assert len(norms(fold_batch_norms(net))) == 4


def test_a_run_folds_all_of_a_stock_resnet():
    from mmpretrain.models import ResNet

    net = with_random_statistics(ResNet(18, base_channels=8, stem_channels=8).double())
    x = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    folded = fold_batch_norms(net, lambda model: model(x))
    torch.testing.assert_close(folded(x), net(x))
    assert not norms(folded)
