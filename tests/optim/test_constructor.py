"""mmengine's constructor with a short report."""

import copy
import logging

import pytest
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from torch import nn

HEAD = nn.ModuleDict(dict(head=nn.Linear(4, 2)))
NET = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), HEAD)
CFG = dict(
    optimizer=dict(type='AdamW', lr=1.0, weight_decay=0.5),
    paramwise_cfg=dict(flat_decay_mult=0.0, custom_keys=dict(head=dict(lr_mult=10.0))),
)


@pytest.fixture
def messages():
    logger, records = MMLogger.get_current_instance(), []
    handler = logging.Handler(logging.INFO)
    handler.emit = lambda record: records.append(record.getMessage())
    logger.addHandler(handler)
    yield records
    logger.removeHandler(handler)


def build(constructor):
    cfg = dict(copy.deepcopy(CFG), constructor=constructor)
    return build_optim_wrapper(NET, cfg).optimizer.param_groups


def test_groups_are_those_of_mmengine_and_the_report_is_short(messages):
    expected = build('DefaultOptimWrapperConstructor')
    assert len(messages) == 9  # three parameters without decay, two with three options
    messages.clear()
    groups = build('mmspike.OptimWrapperConstructor')
    for ours, theirs in zip(groups, expected, strict=True):
        assert ours['params'] == theirs['params']
        assert (ours['lr'], ours['weight_decay']) == (theirs['lr'], theirs['weight_decay'])
    assert messages == [
        'paramwise_options -- weight_decay=0.0: 3 parameters',
        'paramwise_options -- lr=10.0: 2 parameters',
        'paramwise_options -- weight_decay=0.5: 2 parameters',
        'paramwise_options -- lr_mult=10.0: 2 parameters',
    ]


def test_other_messages_pass_and_later_ones_too(messages):
    logger = MMLogger.get_current_instance()
    NET[0].bias.requires_grad_(False)
    try:
        build('mmspike.OptimWrapperConstructor')
    finally:
        NET[0].bias.requires_grad_(True)
    assert '0.bias is skipped since its requires_grad=False' in messages
    logger.info('paramwise_options -- later')
    assert messages[-1] == 'paramwise_options -- later'
