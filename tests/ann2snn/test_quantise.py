import pytest
import torch
from torch import nn

from mmspike.ann2snn import calibrate_thresholds, insert_qcfs
from mmspike.neurons import QCFS


class Shared(nn.Module):
    """One activation at two places, as in the blocks of a ResNet."""

    def __init__(self, act=None):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(4, 6), nn.Linear(6, 3)
        self.act = act or nn.ReLU(inplace=True)
        self.out_act = nn.GELU()

    def forward(self, x):
        return self.out_act(self.act(self.fc2(self.act(self.fc1(x)))))


def test_activations_become_qcfs_in_place():
    net = Shared()
    assert insert_qcfs(net, levels=4, thresholds=1.5) == {'act': 'ReLU', 'out_act': 'GELU'}
    assert isinstance(net.act, QCFS)
    assert (net.act.levels, net.act.spike_value) == (4, 1.5 / 4)
    assert net.act is not net.out_act
    net(torch.randn(2, 4)).sum().backward()
    assert net.act.threshold.grad is not None


def test_a_shared_module_stays_shared():
    act = nn.ReLU()
    net = nn.ModuleDict(dict(a=act, b=nn.Sequential(act)))
    assert insert_qcfs(net) == {'a': 'ReLU'}
    assert net['a'] is net['b'][0]


def test_names_choose():
    net = Shared()
    assert insert_qcfs(net, include='^out') == {'out_act': 'GELU'}
    assert isinstance(net.act, nn.ReLU)
    net = Shared()
    assert insert_qcfs(net, exclude='out') == {'act': 'ReLU'}


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(include='nowhere'), 'no activation to replace.*nowhere'),
        (dict(include='('), 'no regular expression'),
        (dict(levels=0), 'levels'),
        (dict(thresholds=-1.0), 'init_threshold'),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        insert_qcfs(Shared(), **options)


def test_thresholds_by_name_say_what_is_replaced():
    net = Shared()
    assert insert_qcfs(net, thresholds=dict(act=1.5)) == {'act': 'ReLU'}
    assert net.act.threshold.item() == 1.5
    assert isinstance(net.out_act, nn.GELU)
    with pytest.raises(KeyError, match=r'thresholds has names that are no .* other'):
        insert_qcfs(Shared(), thresholds=dict(act=1.0, other=1.0))


def test_a_module_that_stands_twice_in_one_parent():
    act = nn.ReLU()
    net = nn.Sequential(nn.Linear(2, 2), act, nn.Linear(2, 2), act)
    insert_qcfs(net)
    assert isinstance(net[1], QCFS)
    assert net[3] is net[1]


def test_a_model_that_is_an_activation():
    with pytest.raises(ValueError, match='an activation itself'):
        insert_qcfs(nn.ReLU())


def test_mode_and_device_are_those_of_the_model():
    net = Shared().eval().to('meta')
    insert_qcfs(net)
    assert not net.act.training
    assert net.act.threshold.is_meta


@pytest.mark.parametrize('inplace', [True, False])
def test_calibration_finds_the_best_of_its_candidates(inplace):
    """Of uniform values up to 4, most are kept by 4; one of a thousand is 100 and is given up."""
    x = torch.rand(20_000, 1) * 4
    x[::1000] = 100.0
    net = nn.Sequential(nn.ReLU(inplace=inplace))
    thresholds = calibrate_thresholds(net, [x.clone()], levels=4)
    errors = {}
    for c in torch.arange(1, 101):
        step = c / 4
        errors[float(c)] = ((x / step + 0.5).floor().clamp(0, 4) * step - x).square().mean().item()
    best = min(errors.values())
    neuron = QCFS(levels=4, init_threshold=thresholds['0'])
    # It looks at some of the values only.
    assert (neuron(x) - x).square().mean() < 1.2 * best


def test_calibration_leaves_the_model_as_it_was():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Dropout(0.5))
    net[3].eval()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    calibrate_thresholds(net, [torch.randn(8, 3), torch.randn(8, 3)])
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [module.training for module in net] == [True, True, True, False]
    assert not net[2]._forward_hooks
    assert not net[2]._forward_pre_hooks


def test_calibration_sees_the_activation_and_not_its_successor():
    """Thresholds are those of the network before, so that errors do not add up on the way."""
    net = nn.Sequential(nn.ReLU(), nn.ReLU())
    x = torch.rand(1000, 4)
    thresholds = calibrate_thresholds(net, [x], levels=64)
    assert thresholds['0'] == pytest.approx(thresholds['1'])


def test_calibration_without_use():
    with pytest.raises(ValueError, match='no batches'):
        calibrate_thresholds(Shared(), [])
    with pytest.raises(ValueError, match='0 gave no positive number'):
        calibrate_thresholds(nn.Sequential(nn.ReLU()), [-torch.rand(4, 4)], run=None)
    silent = nn.ModuleDict(dict(used=nn.ReLU(), unused=nn.ReLU()))
    # Auxiliary heads run in training only.
    found = calibrate_thresholds(silent, [torch.rand(3)], run=lambda net, x: net['used'](x))
    assert list(found) == ['used']
    with pytest.raises(ValueError, match='none of the activations ran: used, unused'):
        calibrate_thresholds(silent, [torch.rand(3)], run=lambda net, x: x)


def test_calibration_that_fails_puts_the_model_back():
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Dropout()).train()
    with pytest.raises(RuntimeError):
        calibrate_thresholds(net, [torch.rand(2, 5)])
    assert all(module.training for module in net)
    assert not net[1]._forward_hooks


def test_dilated_pools_are_no_average_pools():
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2, dilation=2))
    with pytest.raises(ValueError, match='dilated'):
        insert_qcfs(net, average_pools=True)


def test_max_pools_can_become_average_pools():
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2))
    insert_qcfs(net, average_pools=True)
    assert type(net[1]) is nn.AvgPool2d
    x = torch.ones(1, 1, 8, 8)
    assert torch.equal(net[1](x), torch.ones(1, 1, 4, 4))  # padding is not averaged


def test_the_first_of_the_hundred_thresholds_is_tried():
    """The best one where all values but one are a hundredth of the largest."""
    batches = [torch.full((4000,), 0.01) for _ in range(4)]
    batches[0][0] = 1.0
    found = calibrate_thresholds(nn.Sequential(nn.ReLU()), batches, levels=1)
    assert found['0'] == pytest.approx(0.01)


def test_no_threshold_above_the_largest_output_is_tried():
    """One a hundredth above it would represent these values without any error."""
    x = torch.arange(101) / 101
    found = calibrate_thresholds(nn.Sequential(nn.ReLU()), [x], levels=101)
    assert 0.5 < found['0'] <= x.max().item()


def test_thresholds_are_calibrated_for_the_levels_that_are_put_in_by_default():
    torch.manual_seed(0)
    net, batch = Shared().eval(), torch.randn(64, 4)
    found = calibrate_thresholds(net, [batch])
    assert found == calibrate_thresholds(net, [batch], levels=QCFS().levels)
    assert found != calibrate_thresholds(net, [batch], levels=QCFS().levels + 1)
    insert_qcfs(net, thresholds=found)
    assert net.act.levels == QCFS().levels


def test_pools_stay_as_they_are_unless_asked():
    net = nn.Sequential(nn.ReLU(), nn.MaxPool2d(2))
    insert_qcfs(net)
    assert type(net[1]) is nn.MaxPool2d
    insert_qcfs(net := nn.Sequential(nn.ReLU(), nn.MaxPool2d(2)), average_pools=True)
    assert type(net[1]) is nn.AvgPool2d
