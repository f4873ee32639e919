"""NeuroBench's metrics on our models: equal where both define the same."""

import pytest
import torch
from torch import nn

pytest.importorskip('neurobench')

from neurobench.benchmarks import Benchmark
from neurobench.metrics.workload import ClassificationAccuracy
from torch.utils.data import DataLoader, TensorDataset

from mmspike import set_timesteps
from mmspike.energy.neurobench import SpikingModel, compare_with_neurobench
from mmspike.neurons import IF, LIF, SFA


class Net(nn.Sequential):
    """Two convolutions without padding, so that both count the same connections."""

    def __init__(self, neuron, timesteps=1):
        super().__init__(
            nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), neuron(), nn.Conv2d(4, 6, 3), neuron(),
            nn.Flatten(), nn.Linear(96, 5),
        )  # fmt: skip
        self.timesteps = timesteps
        set_timesteps(self, timesteps)
        self[0].weight.data.mul_(4)
        self[3].weight.data.mul_(2)

    def forward(self, x):
        out = super().forward(x.repeat(self.timesteps, 1, 1, 1))
        return out.unflatten(0, (self.timesteps, -1)).mean(0)


def rows(net, samples=11):
    x = torch.rand(samples, 2, 8, 8) + 0.01
    return {row.metric: row for row in compare_with_neurobench(net, x, batch_size=4)}


@pytest.mark.parametrize('neuron', [IF, LIF])
def test_binary_networks_have_equal_counts(neuron):
    found = rows(Net(neuron, timesteps=4))
    same = ('ParameterCount', 'Footprint', 'ConnectionSparsity', 'ActivationSparsity',
            'Effective_ACs', 'Effective_MACs', 'Dense')  # fmt: skip
    for name in same:
        assert found[name].equal, found[name]
        assert found[name].theirs > 0 or name == 'ConnectionSparsity'
    assert found['Effective_ACs'].why == ''
    assert found['ActivationSparsityByLayer, layers'].equal
    assert found['NeuronOperations'].ours == found['MembraneUpdates'].ours
    assert found['MembraneUpdates'].theirs == 0
    assert found['MembraneUpdates'].ours == 4 * (4 * 36 + 6 * 16)


def test_integers_are_macs_to_neurobench_and_the_row_says_so():
    found = rows(Net(SFA))
    assert found['ActivationSparsity'].equal
    row = found['Effective_ACs']
    assert row.theirs < row.ours
    assert 'an integer n is n additions' in row.why


def test_padding_is_a_difference_that_is_explained():
    net = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), IF())
    found = rows(net)
    assert found['Dense'].theirs < found['Dense'].ours
    assert 'zeros around a map' in found['Dense'].why


def test_pruned_weights():
    net = Net(IF)
    net[3].weight.data[:2] = 0
    found = rows(net)
    assert found['ConnectionSparsity'].equal
    assert found['ConnectionSparsity'].ours == 72 / (72 + 216 + 480)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.fc = IF(), IF(), nn.Linear(3, 2)

    def forward(self, x):
        return self.fc((self.q(x) @ self.k(x).mT) @ x)


def test_products_are_seen_by_mmspike_alone():
    net = Attention()
    x = torch.rand(4, 5, 3) * 3
    found = {row.metric: row for row in compare_with_neurobench(net, x)}
    assert found['operations of attentions'].ours > 0


def test_accuracy_by_its_own_benchmark():
    net = Net(LIF, timesteps=2)
    x = torch.rand(6, 2, 8, 8)
    with torch.no_grad():
        labels = net.eval()(x).argmax(1)
    labels[0] = (labels[0] + 1) % 5
    loader = DataLoader(TensorDataset(x, labels), batch_size=4)
    bench = Benchmark(
        SpikingModel(net), loader, [], [lambda out: out.argmax(1)], [[], [ClassificationAccuracy]]
    )
    assert bench.run(quiet=True)['ClassificationAccuracy'] == pytest.approx(5 / 6)


def test_neurobench_keeps_nothing_of_the_network():
    net = Net(IF)
    rows(net)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())


def test_a_metric_that_fails_is_no_0(monkeypatch):
    def fails(*arguments):
        raise ZeroDivisionError

    monkeypatch.setattr('neurobench.metrics.workload.SynapticOperations.__call__', fails)
    with pytest.raises(
        RuntimeError, match=r'SynapticOperations of NeuroBench failed on Net and says'
    ):
        rows(Net(IF))
