"""Every backbone, neck and head, small: the same on integers and in every execution on spikes."""

import pytest
import torch
from torch import Tensor

from mmspike.execution import check_spike_driven, compare_executions, set_execution
from mmspike.execution.encodings import ENCODINGS
from support.firing_networks import make_exact
from support.small_parts import PARTS, outputs

D = 7
# Chains of convolutions are one convolution on spikes, and softmax makes real numbers: their sums
# are rounded in another order.
ROUNDED = ('SDTV2', 'SDTV3Large', 'MST', 'MST for events')
each = pytest.mark.parametrize('execution', ENCODINGS)


def small(part, exact=False):
    """A part whose neurons fire integers, and its inputs; without rounding or in float64."""
    torch.manual_seed(0)
    binary = part.name.startswith('SDT') and not part.name.startswith('SDTV')
    neuron = dict(type='mmspike.LIF') if binary else dict(type='mmspike.SFA', D=D, norm=4)
    module, x = part.make(neuron_cfg=neuron).eval(), part.input(2)
    if exact:
        make_exact(module)
    else:
        module.double()
        x = x.double() if isinstance(x, Tensor) else tuple(one.double() for one in x)
    return module, lambda: outputs(module, x)


@each
@pytest.mark.parametrize(
    'part', [part for part in PARTS if part.name not in ROUNDED], ids=lambda part: part.name
)
def test_exact_weights_differ_in_no_layer(part, execution):
    module, run = small(part, exact=True)
    found = compare_executions(module, run, execution)
    assert sum(one.scale for one in found if one.spikes is not None) > 0
    assert all(one.largest == 0 for one in found)


@each
@pytest.mark.parametrize(
    'part', [part for part in PARTS if part.name in ROUNDED], ids=lambda part: part.name
)
def test_in_double_precision_all_spikes_are_equal(part, execution):
    module, run = small(part)
    found = compare_executions(module, run, execution)
    assert sum(one.scale for one in found if one.spikes is not None) > 0
    for one in found:
        assert not one.spikes, one
        assert one.largest <= 1e-12 * max(one.scale, 1), one


@each
@pytest.mark.parametrize('part', PARTS, ids=lambda part: part.name)
def test_layers_take_the_spikes_of_the_execution(part, execution):
    module, run = small(part)
    set_execution(module, execution)
    found = check_spike_driven(module, run)
    assert any(one.spikes for one in found)
    # 3 and 7 have a digit -1, which integer neurons of these parts do fire.
    integers = any(getattr(m, 'max_spikes', 1) > 1 for m in module.modules())
    negative = any(one.spikes and not one.binary for one in found)
    assert negative == (integers and execution == 'ternary')
