import numpy as np
import pytest

from mmspike.events import Events, integrate_frames
from support.event_files import some_events, spikingjelly_datasets

SIZE = (20, 30)


@pytest.mark.parametrize('by', ['number', 'time'])
@pytest.mark.parametrize('timesteps', [1, 4, 7])
def test_agrees_with_spikingjelly(by, timesteps):
    events = some_events(SIZE, 1001)
    frames = integrate_frames(events, SIZE, timesteps, by)
    integrate = spikingjelly_datasets('utils').integrate_events_by_fixed_frames_number
    expected = integrate(events._asdict(), by, timesteps, *SIZE)
    assert frames.dtype == np.float32
    assert frames.shape == (timesteps, 2, *SIZE)
    assert np.array_equal(frames, expected)
    assert frames.sum() == 1001


def test_fixed_duration_agrees_with_spikingjelly():
    events = some_events(SIZE, 1001)
    integrate = spikingjelly_datasets('utils').integrate_events_by_fixed_duration
    expected = integrate(events._asdict(), 9_000, *SIZE)
    frames = integrate_frames(events, SIZE, len(expected), 'time', 9_000)
    assert np.array_equal(frames, expected)
    # What comes later is left out, what is missing is empty.
    assert np.array_equal(integrate_frames(events, SIZE, 3, 'time', 9_000), expected[:3])
    longer = integrate_frames(events, SIZE, len(expected) + 2, 'time', 9_000)
    assert np.array_equal(longer[:-2], expected)
    assert not longer[-2:].any()


def test_a_pixel_by_hand():
    t, x, y, p = [0, 10, 20, 99], [3, 3, 3, 0], [2, 2, 2, 1], [1, 1, 0, 1]
    events = Events(*map(np.array, (t, x, y, p)))
    frames = integrate_frames(events, (4, 5), 2, 'time')
    assert frames[0, 1, 2, 3] == 2
    assert frames[0, 0, 2, 3] == 1
    assert frames[1, 1, 1, 0] == 1
    assert frames.sum() == 4
    by_number = integrate_frames(events, (4, 5), 2, 'number')
    assert by_number[0, 1, 2, 3] == 2
    assert by_number[1, 0, 2, 3] == by_number[1, 1, 1, 0] == 1


@pytest.mark.parametrize('by', ['number', 'time'])
def test_fewer_events_than_frames(by):
    events = some_events(SIZE, 3)
    frames = integrate_frames(events, SIZE, 8, by)
    assert frames.sum() == 3


def test_silence_in_the_middle_is_an_empty_frame():
    """Where spikingjelly stops with an IndexError."""
    events = some_events(SIZE, 100)
    t = np.where(events.t < 50_000, 1000, 100_000)
    frames = integrate_frames(events._replace(t=np.sort(t)), SIZE, 4, 'time')
    assert frames.sum(axis=(1, 2, 3)).tolist()[1:3] == [0, 0]
    assert frames.sum() == 100
