"""What NIR cannot express is refused: with the module's name and the reason."""

import re

import pytest
import torch
from torch import nn
from torch.nn.functional import scaled_dot_product_attention, softmax

from mmspike.ann2snn import convert_to_spiking, insert_qcfs, simulate
from mmspike.deploy.nir import from_nir, to_nir
from mmspike.layers import TemporalMean
from mmspike.neurons import IF, ILIF, LIF, QCFS, SFA
from support.paths import ROOT


class Computing(nn.Module):
    """A module that computes something by functions."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


class Subclass(nn.Conv2d):
    def forward(self, x):
        return super().forward(x * 2)


def masked():
    neuron = IF()
    neuron.masking_ratio = 0.5
    return neuron


pool = nn.AvgPool2d
MODULES = [
    (nn.BatchNorm2d(4), 'NIR has no norms. A batch norm directly behind'),
    (nn.GroupNorm(2, 4), 'NIR has no norms that depend on the input'),
    (nn.LayerNorm(6), 'NIR has no norms that depend on the input'),
    (nn.MaxPool2d(2), 'train with average pools'),
    (nn.AdaptiveMaxPool2d(1), 'train with average pools'),
    (SFA(D=4), 'integers up to D'),
    (ILIF(D=4), 'integers up to D'),
    (QCFS(), 'convert_to_spiking first'),
    (TemporalMean(), 'NIR has no time axis'),
    (nn.Softmax(-1), 'NIR has no softmax'),
    (nn.ReLU(), 'it calls relu on tensors of shape (2, 4, 6, 6): NIR has no node for it'),
    (nn.Linear(6, 6), 'take vectors, not maps (4, 6, 6)'),
    (nn.Conv2d(4, 4, 3, padding_mode='reflect'), "padding_mode='reflect'"),
    (Subclass(4, 4, 3), 'it calls mul'),
    (pool(2, ceil_mode=True), 'ceil_mode'),
    (pool(2, divisor_override=3), 'divisor_override=3'),
    (pool(3, padding=1, count_include_pad=False), 'count_include_pad'),
    (nn.AdaptiveAvgPool2d(4), '[6, 6] is no multiple of (4, 4)'),
    (nn.Flatten(0), 'no batch dimension'),
    (masked(), 'masking_ratio=0.5'),
    (Computing(lambda x: x * x), 'it calls mul on tensors of shape (2, 4, 6, 6): NIR has no prod'),
    (Computing(lambda x: x @ x.transpose(-1, -2)), 'it calls transpose'),
    (Computing(lambda x: torch.matmul(x, x)), 'it calls matmul'),
    (Computing(lambda x: scaled_dot_product_attention(x, x, x)), 'which an attention needs'),
    (Computing(lambda x: softmax(x, -1)), 'NIR has no softmax'),
    (Computing(lambda x: torch.cat([x, x], 1)), 'NIR has no concatenation'),
    (Computing(lambda x: x + x), 'it adds a tensor to itself'),
    (Computing(lambda x: x + torch.ones_like(x)), 'it calls ones_like'),
    (Computing(lambda x: x + torch.ones(2, 4, 6, 6)), 'a summand does not come from the input'),
    (Computing(lambda x: x + x[:, :1]), 'it calls __getitem__'),
    (Computing(lambda x: x + 1), 'it calls add'),
    (Computing(lambda x: torch.add(x, x, alpha=2)), 'it calls add'),
    (Computing(lambda x: x.flatten(0, 1)), 'it calls flatten'),
]


@pytest.mark.parametrize(('module', 'reason'), MODULES, ids=lambda x: re.sub(r'\W+', ' ', str(x)))
def test_modules(module, reason):
    net = nn.Sequential(nn.Identity(), module)
    with pytest.raises(ValueError, match=re.escape(reason)) as caught:
        to_nir(net, torch.rand(2, 4, 6, 6))
    assert f'1 ({type(module).__name__}) cannot be written to NIR' in str(caught.value)


def test_the_reason_names_the_module_within_modules():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(nn.Linear(3, 3), nn.GELU())

        def forward(self, x):
            return self.body(x) + x

    with pytest.raises(ValueError, match=r'^0\.body\.1 \(GELU\) cannot be .*: it calls gelu'):
        to_nir(nn.Sequential(Block()), torch.rand(2, 3))


def test_attention():
    class SelfAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.heads = nn.MultiheadAttention(6, 1)

        def forward(self, x):
            return self.heads(x, x, x)[0]

    with pytest.raises(ValueError, match=r'^heads \(Mult.*which an attention needs'):
        to_nir(SelfAttention(), torch.rand(2, 3, 6))


def test_sums_of_other_shapes():
    class Wide(nn.Module):
        def __init__(self):
            super().__init__()
            self.wide, self.narrow = nn.Conv2d(2, 3, 1), nn.Conv2d(2, 1, 1)

        def forward(self, x):
            return self.wide(x) + self.narrow(x)

    with pytest.raises(ValueError, match=r'different shapes, \(1, 3, 4, 4\) and \(1, 1, 4, 4\)'):
        to_nir(Wide(), torch.rand(1, 2, 4, 4))


def test_an_attention_of_ours_is_named():
    from mmspike.backbones import MetaSpikformer

    net = MetaSpikformer('tiny', neuron_cfg=dict(type='mmspike.LIF'))
    with pytest.raises(ValueError, match='cannot be written to NIR'):
        to_nir(net, torch.rand(1, 3, 64, 64))


def test_models_that_return_more_than_a_tensor():
    with pytest.raises(ValueError, match='Computing returns a tuple; a graph of NIR needs one'):
        to_nir(Computing(lambda x: (x,)), torch.rand(1, 2))


def test_constant_outputs():
    with pytest.raises(ValueError, match='the output of the model does not come from the input'):
        to_nir(Computing(lambda x: torch.ones(1, 2)), torch.rand(1, 2))


def test_nodes_that_change_the_batch():
    class Mean(nn.Module):
        def forward(self, x):
            return self.neuron(self.head(x))

    net = Mean()
    net.head, net.neuron = Computing(lambda x: x.view(2, 2, 3)), LIF()
    with pytest.raises(ValueError, match=r'head \(Computing\) .* it calls view'):
        to_nir(net, torch.rand(4, 3))


def test_simulated_models():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU())
    insert_qcfs(net, levels=4, thresholds=1.0)
    net = convert_to_spiking(net)
    simulate(net, timesteps=4, input_module='', readout_module='')
    with pytest.raises(ValueError, match='export the network before simulate'):
        to_nir(net, torch.rand(1, 3))


@pytest.mark.parametrize(('dt', 'error'), [(0, ValueError), (-1e-4, ValueError), ('1', TypeError)])
def test_step_lengths(dt, error):
    graph = to_nir(IF(), torch.rand(1, 2))
    with pytest.raises(error, match='dt must be'):
        to_nir(IF(), torch.rand(1, 2), dt=dt)
    with pytest.raises(error, match='dt must be'):
        from_nir(graph, dt=dt)


@pytest.mark.slow
def test_without_the_library(run_python):
    code = 'import sys; sys.modules["nir"] = None; import mmspike.deploy.nir'
    done = run_python('-c', code, check=False)
    assert done.returncode
    assert done.stderr.strip().endswith("nir is not installed: pip install 'mmspike[nir]'")
    assert (ROOT / 'requirements/nir.txt').read_text().count('\nnir>=') == 1
