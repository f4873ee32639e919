import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from mmpretrain.registry import TRANSFORMS

from mmspike.datasets.transforms.event_frames import (
    IntegrateEvents,
    LoadEvents,
    PackEventFrames,
    RandomShift,
    ScaleEventFrames,
)
from mmspike.events import MalformedEventsError, integrate_frames
from support.event_files import some_events, write_dat

SIZE = (24, 30)


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope('mmpretrain')


def build(**cfg):
    return TRANSFORMS.build(cfg)


def sample(timesteps=4, by='number', **kwargs):
    events = some_events(SIZE, 500)
    results = dict(events=events, sensor_size=SIZE, gt_label=1, sample_idx=3)
    return events, IntegrateEvents(timesteps, by, **kwargs)(results)


def packed(results):
    return PackEventFrames()(results)['inputs']


def through(*transforms, timesteps=4):
    """Frames before and after transforms, both ``(T, 2, H, W)``."""
    _, results = sample(timesteps)
    before = packed(results)
    for transform in transforms:
        results = transform(results)
    return before, packed(results)


def test_load_events(tmp_path):
    events = some_events(SIZE)
    write_dat(tmp_path / 'a.dat', events)
    results = LoadEvents()(dict(img_path=str(tmp_path / 'a.dat'), sensor_size=SIZE))
    assert np.array_equal(results['events'].t, events.t)
    window = (int(events.t[10]), int(events.t[20]))
    part = dict(img_path=str(tmp_path / 'a.dat'), sensor_size=SIZE, window=window)
    assert 0 < len(LoadEvents()(part)['events'].t) < 20
    write_dat(tmp_path / 'b.dat', events._replace(t=events.t[::-1]))
    b = dict(img_path=str(tmp_path / 'b.dat'), sensor_size=SIZE)
    with pytest.raises(MalformedEventsError, match=r'b\.dat: event 1 '):
        LoadEvents()(dict(b))
    assert (np.diff(LoadEvents(sort=True)(b)['events'].t) >= 0).all()


def test_load_events_says_what_a_sample_lacks():
    with pytest.raises(ValueError, match=r'needs sensor_size in the sample, which has img_path;'):
        LoadEvents()(dict(img_path='a.dat'))


@pytest.mark.parametrize('options', [dict(), dict(by='time'), dict(by='time', duration=5_000)])
def test_frames_are_integrated_and_packed(options):
    events, results = sample(4, **options)
    assert results['img'].shape == (*SIZE, 8)
    assert 'events' not in results
    frames = packed(results)
    assert frames.dtype == torch.float32
    assert frames.is_contiguous()
    assert np.array_equal(frames.numpy(), integrate_frames(events, SIZE, 4, **options))


def test_one_image_without_time():
    events, results = sample(timesteps=None)
    image = packed(results)
    assert image.shape == (2, *SIZE)
    assert np.array_equal(image.numpy(), integrate_frames(events, SIZE, 1)[0])
    assert image.sum() == 500


def test_one_frame_of_one_step():
    assert packed(sample(timesteps=1)[1]).shape == (1, 2, *SIZE)


def test_labels_and_meta_information_are_packed():
    data_sample = PackEventFrames()(sample()[1])['data_samples']
    assert data_sample.gt_label.tolist() == [1]
    assert data_sample.sample_idx == 3
    assert data_sample.img_shape == data_sample.ori_shape == SIZE


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        (dict(timesteps=0), ValueError, 'at least 1, got 0'),
        (dict(timesteps=2.0), TypeError, 'must be an int'),
        (dict(timesteps=4, by='count'), ValueError, "'number' or 'time', got 'count'"),
        (dict(timesteps=4, duration=10), ValueError, "got duration=10, by='number'"),
        (dict(timesteps=4, by='time', duration=0), ValueError, 'duration must be at least 1'),
        (dict(timesteps=4, by='time', duration='a'), TypeError, 'duration must be an int'),
        (dict(timesteps=None, by='time', duration=9), ValueError, 'timesteps=None'),
    ],
)
def test_arguments_of_integration(arguments, error, message):
    with pytest.raises(error, match=message):
        IntegrateEvents(**arguments)


def test_resize_of_the_host_is_that_of_every_frame():
    """To half, the mean of four pixels, as the reference's resizing of CIFAR10-DVS has it."""
    resize = build(type='Resize', scale=(15, 12), interpolation='bilinear')
    before, after = through(resize)
    assert after.shape == (4, 2, 12, 15)
    assert torch.allclose(after, torch.nn.functional.avg_pool2d(before, 2))


def test_flip_of_the_host_is_the_same_for_all_steps():
    before, after = through(build(type='RandomFlip', prob=1.0, direction='horizontal'))
    assert torch.equal(after, before.flip(3))


def test_cutout_of_the_host_is_the_same_for_all_steps():
    before, after = through(build(type='Cutout', shape=8, pad_val=0, prob=1.0), timesteps=2)
    gone = (before != after).any(dim=(0, 1))
    rows, columns = torch.nonzero(gone, as_tuple=True)
    area = after[:, :, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert gone.any()
    assert not area.any()
    assert max(area.shape[2:]) <= 8
    assert torch.equal(before[:, :, ~gone], after[:, :, ~gone])


def test_shift_wraps_around():
    draws = set()
    for _ in range(60):
        before, after = through(RandomShift(2))
        found = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(after, before.roll((down, right), (2, 3)))
        ]
        assert len(found) == 1  # one move for all steps
        draws |= set(found)
    assert len(draws) > 15
    assert {abs(d) for pair in draws for d in pair} == {0, 1, 2}


def test_shift_without_wrapping_loses_what_leaves():
    for _ in range(20):
        before, after = through(RandomShift(5, wrap=False))
        padded = torch.nn.functional.pad(before, (5, 5, 5, 5))
        windows = [
            padded[..., 5 - down : 29 - down, 5 - right : 35 - right]
            for down in range(-5, 6)
            for right in range(-5, 6)
        ]
        assert sum(torch.equal(after, window) for window in windows) == 1


def test_a_shift_is_the_same_with_the_same_seed():
    np.random.seed(3)
    a = through(RandomShift(5))[1]
    np.random.seed(3)
    assert torch.equal(a, through(RandomShift(5))[1])


@pytest.mark.parametrize(('max_shift', 'error'), [(-1, ValueError), (2.5, TypeError)])
def test_arguments_of_shift(max_shift, error):
    with pytest.raises(error, match=f'got {max_shift}'):
        RandomShift(max_shift)


def test_scaling():
    _, results = sample()
    results['img'] *= 3
    before = packed(results)
    assert before.max() > 6
    assert torch.equal(packed(ScaleEventFrames(clip=5)(dict(results))), before.clamp(max=5))
    assert torch.equal(packed(ScaleEventFrames(divisor=2)(dict(results))), before / 2)
    scaled = packed(ScaleEventFrames(clip=5, divisor='max')(dict(results)))
    assert torch.equal(scaled, before.clamp(max=5) / 5)
    nothing = dict(results, img=np.zeros_like(results['img']))
    assert not packed(ScaleEventFrames(divisor='max')(nothing)).any()


@pytest.mark.parametrize(
    ('arguments', 'error'),
    [
        (dict(clip=0), ValueError),
        (dict(clip=float('nan')), ValueError),
        (dict(divisor=0), ValueError),
        (dict(divisor='mean'), TypeError),
        (dict(divisor=None), TypeError),
    ],
)
def test_arguments_of_scaling(arguments, error):
    with pytest.raises(error, match=f'{next(iter(arguments))}.* must be'):
        ScaleEventFrames(**arguments)


@pytest.mark.slow
def test_parts_for_events_are_found_with_nothing_imported(run_python):
    code = """
import sys
from mmengine.registry import DATASETS, MODELS, TRANSFORMS
found = [TRANSFORMS.get('mmspike.LoadEvents'), DATASETS.get('mmspike.NCars'),
         MODELS.get('mmspike.EventDataPreprocessor')]
print(*(one.__name__ for one in found))
# Data sets of other libraries take seconds to import.
assert 'spikingjelly.datasets' not in sys.modules
"""
    out = run_python('-c', code).stdout.split()
    assert out[-3:] == ['LoadEvents', 'NCars', 'EventDataPreprocessor']
