"""The kernel that counts spikes: what it refuses, and what is no number of spikes."""

import pytest
import torch

from mmspike.neurons.kernels import count, cpu
from mmspike.recorders.spike_sums import SpikeSums

pytestmark = pytest.mark.skipif(not cpu.AVAILABLE, reason=cpu.HOW_TO_BUILD)

STRANGE = [float('nan'), float('inf'), float('-inf'), 3e38, -3e38, 40_000.0, -1.0]


@pytest.mark.parametrize('dtype', [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize('value', STRANGE)
def test_what_is_no_number_of_spikes(value, dtype):
    """One value, and so many that sums of what they become would overflow."""
    value = torch.tensor(value).to(dtype)
    x = torch.ones(2, 70, 100, dtype=dtype)
    x[1, 3, 64] = value
    assert count.count_spikes(x, 1.0) is None
    assert count.count_spikes(value.expand(2, 70, 100).contiguous(), 1.0) is None


@pytest.mark.parametrize('dtype', [torch.float32, torch.bfloat16])
def test_as_many_spikes_as_there_can_be(dtype):
    """Sums at the end of what the kernel's integers hold."""
    x = torch.full((1, count.MOST_COUNTED_CHANNELS, 3), 32_512, dtype=dtype)
    maps, totals = count.count_spikes(x, 1.0)
    assert maps.tolist() == [[32_512.0 * 65_536] * 3]
    assert totals.tolist() == [32_512.0 * 65_536 * 3, 65_536.0 * 3]


@pytest.mark.parametrize(
    ('x', 'spike_value', 'message'),
    [
        (torch.ones(2, 3, 4, dtype=torch.float64), 1.0, 'got torch.float64 on cpu'),
        (torch.ones(2, 3, 4, device='meta'), 1.0, 'got torch.float32 on meta'),
        (torch.ones(3), 1.0, r'got \(3,\)'),
        (torch.ones(0, 3, 4), 1.0, r'got \(0, 3, 4\)'),
        (torch.ones(2, 0, 4), 1.0, r'got \(2, 0, 4\)'),
        (torch.ones(1).expand(1, 65_537, 1), 1.0, 'at most 65536 channels'),
        (torch.ones(2, 3, 4).mT, 1.0, r'strides \(12, 1, 4\) of shape \(2, 4, 3\)'),
        (torch.ones(1).expand(2, 3, 4), 1.0, r'strides \(0, 0, 0\)'),
        (torch._neg_view(torch.ones(2, 3, 4)), 1.0, 'negated: True'),
        (torch.ones(2, 3, 4), 0.0, 'above 0, got 0.0'),
        (torch.ones(2, 3, 4), -1.0, 'above 0, got -1.0'),
        (torch.ones(2, 3, 4), float('nan'), 'got nan'),
        (torch.ones(2, 3, 4), float('inf'), 'got inf'),
        (torch.ones(2, 3, 4), 1e300, r'got 1e\+300'),
        (torch.ones(2, 3, 4), 1e-300, 'got 1e-300'),
    ],
)
def test_what_the_kernel_cannot_read(x, spike_value, message):
    with pytest.raises(ValueError, match=message):
        count.count_spikes(x, spike_value)


def test_a_lazily_negated_view_is_counted_with_its_sign():
    x = torch._neg_view(-torch.arange(24.0).view(2, 3, 4))
    sums = SpikeSums(x)
    assert sums.total == 276
    assert sums.active == 23


@pytest.mark.parametrize(
    'x',
    [torch._efficientzerotensor((2, 3, 4)), torch.ones(2, 3, 4).to_sparse()],
    ids=['zero', 'sparse'],
)
def test_tensors_without_plain_memory_are_refused(x):
    with pytest.raises(ValueError, match='spikes are counted of plain tensors'):
        count.count_spikes(x, 1.0)
