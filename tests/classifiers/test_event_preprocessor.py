import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import MODELS
from mmpretrain.structures import DataSample


def build(**options):
    init_default_scope('mmpretrain')
    return MODELS.build(dict(type='mmspike.EventDataPreprocessor', num_classes=3, **options))


def batch(size=(8, 10), timesteps=4, number=2):
    inputs = [torch.rand(timesteps, 2, *size) + 1 for _ in range(number)]
    return dict(inputs=inputs, data_samples=[DataSample().set_gt_label(i) for i in range(number)])


def test_stacks_frames():
    data = batch()
    out = build()(data)
    assert torch.equal(out['inputs'], torch.stack(data['inputs']))
    assert [sample.gt_label.item() for sample in out['data_samples']] == [0, 1]


def test_pads_height_and_width_only():
    data = batch()
    out = build(pad_size_divisor=16)(data)['inputs']
    assert out.shape == (2, 4, 2, 16, 16)
    assert torch.equal(out[..., :8, :10], torch.stack(data['inputs']))
    assert not out[..., 8:, :].any()
    assert not out[..., 10:].any()


def test_cutmix_is_the_same_rectangle_in_all_steps_and_polarities():
    augment = dict(augments=dict(type='CutMix', alpha=1.0))
    for _ in range(20):
        data = batch()
        before = torch.stack(data['inputs'])
        out = build(batch_augments=augment)(data, training=True)
        changed = (out['inputs'] != before).flatten(0, 2)
        assert torch.equal(changed.any(dim=0), changed.all(dim=0)) or not changed.any()
        for i, sample in enumerate(out['data_samples']):
            other = (out['inputs'][i] == before[1 - i]).float().mean()
            assert sample.gt_score[1 - i].item() == pytest.approx(other.item(), abs=1e-5)


def test_mixup():
    data = batch()
    before = torch.stack(data['inputs'])
    out = build(batch_augments=dict(augments=dict(type='Mixup', alpha=1.0)))(data, training=True)
    for i, sample in enumerate(out['data_samples']):
        own = sample.gt_score[i]
        assert torch.allclose(out['inputs'][i], own * before[i] + (1 - own) * before[1 - i])


def test_not_in_evaluation():
    data = batch()
    out = build(batch_augments=dict(augments=dict(type='Mixup', alpha=1.0)))(data)
    assert torch.equal(out['inputs'], torch.stack(data['inputs']))


def test_different_numbers_of_frames():
    data = batch()
    data['inputs'][1] = data['inputs'][1][:3]
    with pytest.raises(ValueError, match=r'same T, got \[\(3, 2, 8, 10\), \(4, 2, 8, 10\)\]'):
        build()(data)
    for wrong in (torch.rand(2, 8, 10), torch.rand(4, 3, 8, 10)):
        data['inputs'] = [wrong]
        with pytest.raises(ValueError, match=r'must be \(T, 2, H, W\)'):
            build()(data)
