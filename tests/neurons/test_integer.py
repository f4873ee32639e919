import pytest
import torch

from mmspike.neurons import ILIF, LIF, SFA, set_largest_integer

X = torch.tensor([[-1.0, 0.4, 1.6, 3.2, 9.0]])


def test_the_divisor_stays():
    net = torch.nn.Sequential(SFA(D=4), ILIF(D=4), LIF())
    set_largest_integer(net, 2)
    assert [(n.D, n.norm, n.max_spikes) for n in net[:2]] == [(2, 4, 2), (2, 1, 2)]
    assert net[0](X).tolist() == [[0, 0, 0.5, 0.5, 0.5]]
    assert net[1](X).tolist() == [[0, 0, 2, 2, 2]]


def test_the_divisor_may_follow_where_it_was_D():
    net = torch.nn.Sequential(SFA(D=4), SFA(D=4, norm=1), SFA(D=4, norm=4), ILIF(D=4, norm=None))
    set_largest_integer(net, 8, scale_norm=True)
    assert [n.norm for n in net] == [8, 1, 4, 8]
    assert net[0](X).tolist() == [[0, 0, 0.25, 0.375, 1]]


@pytest.mark.parametrize(
    ('value', 'error'), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)]
)
def test_wrong_values(value, error):
    with pytest.raises(error, match='D must be'):
        set_largest_integer(SFA(), value)


def test_models_without_integer_neurons():
    with pytest.raises(ValueError, match='has no integer neurons'):
        set_largest_integer(torch.nn.Sequential(LIF()), 2)
