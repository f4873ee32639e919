from dataclasses import replace

import numpy as np
import pytest

from mmspike.datasets.digits import digits_of_split
from mmspike.events.camera import EventCamera, record_pictures

QUIET = EventCamera(noise_rate=0.0, mismatch=0.0)
STILL = replace(QUIET, amplitude=0.0)


def bar() -> np.ndarray:
    """A bright upright bar in the middle of darkness."""
    picture = np.zeros((8, 8))
    picture[1:7, 3:5] = 1
    return picture


def digit(i=0):
    return digits_of_split('test')[0][i] / 255


def record(picture, camera, key=(0,)):
    return record_pictures(picture[None], camera, [key])[0]


def gaps_of_pixels(events):
    """Times between events of the same pixel."""
    place = events.y.astype(int) * 100 + events.x
    order = np.lexsort((events.t, place))
    return np.diff(events.t[order])[np.diff(place[order]) == 0]


def test_a_bright_edge_is_on_ahead_and_off_behind():
    # During the first saccade the picture moves to the right (and down by half as much).
    events = record(bar(), QUIET)
    first = events.part(events.t <= QUIET.saccade)
    middle = (first.y > 12) & (first.y < 20)
    on, off = (first.part(middle & (first.p == p)) for p in (1, 0))
    assert len(on.t) > 50
    assert on.x.min() > off.x.max() - QUIET.amplitude
    assert on.x.mean() - off.x.mean() > 4
    # Back at the left the same pixels are darkened: as much as they were brightened.
    second = events.part((events.t > QUIET.saccade) & (events.t <= 2 * QUIET.saccade))
    middle = (second.y > 12) & (second.y < 20)
    assert second.x[middle & (second.p == 0)].mean() > second.x[middle & (second.p == 1)].mean()


def test_inverting_the_picture_swaps_polarities():
    ink = bar()
    field = np.pad(1 - ink, 0)
    camera = replace(QUIET, picture_size=32)
    a = record(ink, camera)
    b = record(field, camera)

    def ahead(events):
        inside = (events.t < 90_000) & (events.y > 12) & (events.y < 20)
        inside &= (events.x > 8) & (events.x < 24)
        return events.x[inside & (events.p == 1)].mean() - events.x[inside & (events.p == 0)].mean()

    assert ahead(a) > 2
    assert ahead(b) < -2


def test_number_of_events_of_a_slow_edge_is_the_contrast_by_the_threshold():
    """Every pixel that the edge passes fires log(contrast) / threshold times, rounded down."""
    picture = np.zeros((8, 8))
    picture[:, :4] = 1
    camera = replace(
        QUIET, refractory=0, step=1000, dark=0.1, threshold=0.31, picture_size=32, amplitude=8
    )
    events = record(picture, camera)
    # Rows and columns that do not see the border of the picture.
    inside = (events.y > 8) & (events.y < 24) & (events.x > 8) & (events.x < 24)
    first = events.part((events.t <= camera.saccade) & inside)
    assert (first.p == 1).all()
    counts = np.bincount(first.x, minlength=32) / 15
    assert counts.max() == int(np.log(10) / 0.31) == 7
    assert (counts == 7).sum() >= 3


def test_half_the_threshold_more_events():
    picture = digit()
    numbers = [len(record(picture, replace(QUIET, threshold=t)).t) for t in (0.4, 0.2, 0.1)]
    assert numbers[1] > 1.6 * numbers[0]
    assert numbers[2] > 1.6 * numbers[1]


@pytest.mark.parametrize('refractory', [2_000, 10_000, 50_000])
@pytest.mark.parametrize('noise_rate', [0.0, 50.0])
def test_refractory_period(refractory, noise_rate):
    camera = EventCamera(refractory=refractory, noise_rate=noise_rate)
    gaps = gaps_of_pixels(record(digit(), camera))
    assert gaps.min() >= refractory
    shorter = gaps_of_pixels(record(digit(), replace(camera, refractory=0)))
    assert shorter.min() < refractory
    assert len(gaps) < len(shorter)


def test_a_still_picture_gives_nothing_but_noise():
    assert len(record(digit(), STILL).t) == 0
    camera = replace(STILL, noise_rate=20.0, refractory=0)
    events = record(digit(), camera)
    expected = 20 * 32 * 32 * 0.3
    assert abs(len(events.t) - expected) < 5 * np.sqrt(expected)
    assert abs(events.p.mean() - 0.5) < 0.05
    counts = np.bincount(events.y.astype(int) * 32 + events.x, minlength=1024)
    assert 0.7 < counts.var() / counts.mean() < 1.3  # as Poisson numbers have it


def test_mismatch_spreads_thresholds_but_not_their_mean():
    thresholds = EventCamera(mismatch=0.2).thresholds()
    assert thresholds.shape == (2, 32, 32)
    assert thresholds.mean() == pytest.approx(0.3, rel=0.02)
    assert thresholds.std() == pytest.approx(0.06, rel=0.1)
    assert (EventCamera(mismatch=5.0).thresholds() > 0.02).all()
    assert (QUIET.thresholds() == np.float32(0.3)).all()


def test_path_of_three_saccades():
    camera = EventCamera()
    corners = [camera.position(i * camera.saccade) for i in range(4)]
    assert np.allclose(corners[0], corners[3])
    assert np.allclose(corners[1] - corners[0], [5, 2.5])
    steps = np.diff([camera.position(t) for t in range(0, camera.duration + 1, 1000)], axis=0)
    lengths = np.linalg.norm(steps, axis=1)
    assert lengths.max() < 0.1
    assert lengths[50] > 10 * lengths[1]


def test_events_are_ordered_and_within_the_sensor_and_the_recording():
    camera = EventCamera(size=28, picture_size=20, noise_rate=5)
    events = record(digit(), camera)
    assert (np.diff(events.t) >= 0).all()
    assert 0 < events.t.min() <= events.t.max() <= camera.duration == 300_000
    for values in (events.x, events.y):
        assert 0 <= values.min() < values.max() < 28
    assert set(events.p) == {0, 1}


@pytest.mark.slow
def test_recordings_do_not_depend_on_each_other():
    pictures = np.stack([digit(i) for i in range(60)])
    keys = [(1, i) for i in range(60)]
    together = record_pictures(pictures, EventCamera(), keys)
    assert len(together) == 60
    for i in (0, 47, 48, 59):
        (alone,) = record_pictures(pictures[i : i + 1], EventCamera(), keys[i : i + 1])
        assert all(np.array_equal(a, b) for a, b in zip(alone, together[i], strict=True))


def test_the_seed_decides():
    def same(a, b):
        return len(a.t) == len(b.t) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))

    camera = EventCamera()
    once = record(digit(), camera)
    assert same(once, record(digit(), camera))
    assert not same(once, record(digit(), replace(camera, seed=1)))
    assert not same(once, record(digit(), camera, key=(1,)))


@pytest.mark.parametrize(
    ('wrong', 'message'),
    [
        (dict(threshold=1e-4), 'threshold must be finite and at least 0.001, got 0.0001'),
        (dict(dark=-0.1), 'dark must be finite and at least 0.001, got -0.1'),
        (dict(amplitude=float('nan')), 'amplitude must be finite and at least 0, got nan'),
        (dict(mismatch=float('inf')), 'mismatch must be finite and at least 0, got inf'),
        (dict(refractory=-1), 'refractory must be at least 0, got -1'),
        (dict(noise_rate=-1), 'noise_rate must be finite and at least 0, got -1'),
        (dict(size=0), 'size must be at least 1, got 0'),
        (dict(step=3000), 'multiple of step=3000 us, got 100000'),
        (dict(picture_size=33), '33 pixels does not fit on 32x32'),
    ],
)
def test_numbers_that_make_no_sense(wrong, message):
    with pytest.raises(ValueError, match=message):
        EventCamera(**wrong)


@pytest.mark.parametrize(
    'wrong', [dict(size=32.5), dict(step=2e3), dict(refractory=float('nan')), dict(seed='0')]
)
def test_counts_that_are_no_integers(wrong):
    with pytest.raises(TypeError, match=f'{next(iter(wrong))} must be an int'):
        EventCamera(**wrong)
