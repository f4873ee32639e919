import torch
from torch import nn

from mmspike.finite import first_bad_weight, first_not_finite


def test_the_first_with_nan_is_named():
    weights = dict(
        count=torch.tensor(3),
        text='no tensor',
        a=torch.ones(3),
        b=torch.tensor([1.0, float('nan')]),
        c=torch.tensor(float('nan')),
    )
    assert first_not_finite(weights) == 'b'
    del weights['b'], weights['c']
    assert first_not_finite(weights) is None
    assert first_not_finite({}) is None


def test_buffers_may_be_infinite_and_parameters_not():
    model = nn.Linear(2, 2)
    model.register_buffer('mask', torch.full((2,), -float('inf')))
    assert first_bad_weight(model) is None
    model.mask[0] = float('nan')
    assert first_bad_weight(model) == 'mask'
    model.weight.data[0, 0] = float('inf')
    assert first_bad_weight(model) == 'weight'
