"""Warnings of silent layers, in runs of mmengine's Runner."""

import logging

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import TensorDataset

from mmspike.hooks import SilentLayersHook
from mmspike.neurons import IF


class Toy(BaseModel):
    """Three layers of neurons: one fires, one is never reached by a current, one never runs."""

    def __init__(self, wake_at=None, silent=1):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(3))
        self.firing = IF()
        self.silent = nn.ModuleList(IF() for _ in range(silent))
        self.idle = IF()
        self.wake_at = wake_at
        self.iteration = 0

    def forward(self, x, mode='tensor'):
        current = 0.0 if self.iteration != self.wake_at else 2.0
        self.iteration += 1
        out = self.firing(x + 2 + self.bias)
        for neuron in self.silent:
            out = out + neuron(torch.full_like(x, current))
        return dict(loss=out.mean())


def warnings_of(work_dir, model=None, iterations=10, **options):
    runner = Runner(
        model or Toy(), str(work_dir),
        train_dataloader=dict(
            dataset=TensorDataset(torch.zeros(8, 3)), batch_size=2,
            sampler=dict(type='InfiniteSampler', shuffle=False),
            collate_fn=lambda samples: dict(x=torch.stack([x for (x,) in samples])),
        ),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.0)),
        train_cfg=dict(by_epoch=False, max_iters=iterations),
        custom_hooks=[dict(type='mmspike.SilentLayersHook', **options)],
        default_scope='mmengine', experiment_name=f'{work_dir.name}-{torch.rand(()).item()}',
    )  # fmt: skip
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append((runner.model.iteration - 1, record.getMessage()))
    runner.logger.addHandler(handler)
    runner.train()
    assert not any(m._forward_hooks for m in runner.model.modules())
    return [(i, message) for i, message in messages if 'did not fire' in message]


def test_silent_layers_are_named(tmp_path):
    ((iteration, message),) = warnings_of(tmp_path, begin=3, num_iters=2)
    assert iteration == 4
    assert message.startswith(
        '1 of 2 neuron layers did not fire in the last 2 iterations: silent.0. Layers behind'
    )
    assert 'decay_input=False' in message


def test_one_spike_is_enough(tmp_path):
    assert not warnings_of(tmp_path / 'a', Toy(wake_at=4), begin=3, num_iters=2)
    assert warnings_of(tmp_path / 'b', Toy(wake_at=5), begin=3, num_iters=2)


def test_counting_again(tmp_path):
    found = warnings_of(tmp_path, begin=1, num_iters=2, interval=4)
    assert [iteration for iteration, _ in found] == [2, 6]


def test_a_run_that_ends_while_counting(tmp_path):
    assert not warnings_of(tmp_path, begin=9, num_iters=5)


def test_many_layers(tmp_path):
    ((_, message),) = warnings_of(tmp_path, Toy(silent=12), begin=0, num_iters=1)
    assert '12 of 13 neuron layers' in message
    assert 'silent.9 and 2 others.' in message
    assert 'silent.10' not in message


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (dict(begin=-1), ValueError, 'begin must be at least 0, got -1'),
        (dict(num_iters=0), ValueError, 'num_iters must be at least 1'),
        (dict(interval=2), ValueError, 'interval must be at least 5, got 2'),
        (dict(begin=1.5), TypeError, 'begin must be an int'),
    ],
)
def test_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        SilentLayersHook(**options)
