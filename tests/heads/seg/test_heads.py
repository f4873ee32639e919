"""The segmentation heads beside mmseg's."""

import pytest
import torch
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from mmseg.utils import register_all_modules
from torch import nn

from mmspike import get_timesteps
from mmspike.heads.seg import SpikeFCNHead, SpikeFPNHead
from mmspike.neurons import LIF
from mmspike.temporal import unfold_time

LOSS = dict(type='CrossEntropyLoss')


@pytest.fixture(autouse=True)
def _scope():
    register_all_modules(init_default_scope=False)
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def fpn(**options):
    return SpikeFPNHead(
        feature_strides=[2, 4, 8], in_channels=[4, 4, 4], in_index=[0, 1, 2], channels=4,
        num_classes=5, norm_cfg=dict(type='BN'), loss_decode=LOSS, **options,
    )  # fmt: skip


def fcn(**options):
    return SpikeFCNHead(
        in_channels=4, in_index=0, channels=6, num_classes=5, num_convs=2,
        norm_cfg=dict(type='BN'), loss_decode=LOSS, **options,
    )  # fmt: skip


HEADS = [fpn, fcn, lambda **options: fcn(concat_input=False, **options)]


def maps(rows):
    generator = torch.Generator().manual_seed(0)
    return [2 * torch.randn(rows, 4, size, size, generator=generator) for size in (16, 8, 4)]


@pytest.mark.parametrize('make', HEADS)
def test_stateless_neurons_give_the_mean_of_separate_passes(make):
    head = make(timesteps=3).eval()
    inputs = maps(6)
    logits = head(inputs)
    assert logits.shape == (2, 5, 16, 16)
    for module in head.modules():
        if hasattr(module, 'timesteps'):
            module.timesteps = 1
    steps = [head([unfold_time(level, 3)[t] for level in inputs]) for t in range(3)]
    torch.testing.assert_close(logits, torch.stack(steps).mean(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('make', HEADS)
def test_convolutions_see_spikes(make):
    head = make(neuron_cfg=dict(type='mmspike.LIF'), timesteps=2)
    assert get_timesteps(head) == 2
    seen = []
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_pre_hook(lambda conv, inputs: seen.append(inputs[0]))
    head(maps(4))
    assert len(seen) == sum(isinstance(module, nn.Conv2d) for module in head.modules())
    for x in seen:
        assert set(x.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize('make', HEADS)
def test_loss_and_prediction(make):
    head = make(timesteps=2, neuron_cfg=dict(type='mmspike.LIF', surrogate='atan'))
    samples = []
    for _ in range(2):
        sample = SegDataSample(metainfo=dict(img_shape=(32, 32)))
        sample.gt_sem_seg = PixelData(data=torch.randint(0, 5, (1, 32, 32)))
        samples.append(sample)
    inputs = [level.requires_grad_() for level in maps(4)]
    losses = head.loss(inputs, samples, train_cfg=None)
    losses['loss_ce'].backward()
    assert inputs[0].grad.abs().sum() > 0
    with torch.no_grad():
        logits = head.predict(inputs, [sample.metainfo for sample in samples], test_cfg=None)
    assert logits.shape == (2, 5, 32, 32)


def test_no_dropout_unless_asked():
    assert fpn().dropout is None
    assert fpn(dropout_ratio=0.1).dropout.p == 0.1
    assert isinstance(fpn(neuron_cfg=dict(type='mmspike.LIF')).neuron, LIF)


@pytest.mark.parametrize('make', [fpn, fcn])
def test_silent_features_answer_with_the_priors(make):
    priors = [0.6, 0.1, 0.1, 0.1, 0.1]
    head = make(class_priors=priors).eval()
    head.init_weights()
    logits = head.cls_seg(torch.full((1, head.channels, 2, 2), -1.0))
    torch.testing.assert_close(
        logits.softmax(dim=1), torch.tensor(priors).view(1, 5, 1, 1).expand(1, 5, 2, 2)
    )


@pytest.mark.parametrize('priors', [[0.5, 0.5], [1.0, 0.0, 0.0, 0.0, 0.0]])
def test_priors_must_be_one_positive_number_per_class(priors):
    with pytest.raises(ValueError, match='class_priors must be 5 positive numbers, one per class'):
        fpn(class_priors=priors)
