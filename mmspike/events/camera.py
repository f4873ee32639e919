"""A simulated event camera that moves in front of pictures.

A pixel compares the logarithm of its brightness with the level it remembers. Where that changed by
a threshold, it sends an event, is blind for a while, and remembers the level it finds after that.
The camera moves in three saccades, as the recordings of N-MNIST were made (Orchard et al.,
"Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades", Frontiers in
Neuroscience 9:437, 2015); the pixel is that of ESIM (Rebecq et al., CoRL 2018), with a refractory
period.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mmspike.checks import check_integer, check_number
from mmspike.events.recording import Events
from mmspike.moved import moved_names

# Corners of the path, in units of the amplitude; it ends where it began.
_CORNERS = np.array([(-0.5, -0.5), (0.5, 0.0), (-0.5, 0.5), (-0.5, -0.5)])
# Recordings that are simulated at once: as many as the caches of a processor hold.
_CHUNK = 48
# Smallest values that the attributes may have.
_LEAST_INTEGERS = dict(size=1, picture_size=1, saccade=1, step=1, refractory=0, seed=0)
# Below these the logarithm, in float32, would fire without end.
_LEAST_NUMBERS = dict(amplitude=0, dark=1e-3, threshold=1e-3, mismatch=0, noise_rate=0)


@dataclass(frozen=True)
class EventCamera:
    """The parameters of a recording.

    Attributes:
        size: Height and width of the sensor in pixels.
        picture_size: Height and width of the picture on the sensor in pixels; around it, the
            brightness is 0.
        amplitude: How far a saccade moves the picture, in pixels; 0 keeps it still.
        saccade: How long each of the three takes, in microseconds.
        step: Brightness is followed in straight lines between moments so far apart, in
            microseconds.
        dark: Brightness of 0 as a share of that of 1; at least 0.001.
        threshold: Change of the natural logarithm of brightness that makes an event; at least
            0.001.
        mismatch: Standard deviation of the pixels' thresholds, as a share of the threshold.
        refractory: How long a pixel is blind after an event, in microseconds.
        noise_rate: Events per pixel and second that nothing caused, of either polarity.
        seed: Of thresholds and noise.

    Raises:
        TypeError, ValueError: A number makes no sense.
    """

    size: int = 32
    picture_size: int = 24
    amplitude: float = 5.0
    saccade: int = 100_000
    step: int = 2_000
    dark: float = 0.2
    threshold: float = 0.3
    mismatch: float = 0.1
    refractory: int = 1_000
    noise_rate: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in _LEAST_INTEGERS.items():
            check_integer(name, getattr(self, name), at_least=least)
        for name, bound in _LEAST_NUMBERS.items():
            check_number(name, getattr(self, name), at_least=bound)
        if self.saccade % self.step:
            raise ValueError(
                f'saccade must be a multiple of step={self.step} us, got {self.saccade}'
            )
        if self.picture_size > self.size:
            raise ValueError(
                f'a picture of {self.picture_size} pixels does not fit on {self.size}x{self.size}'
            )

    @property
    def duration(self) -> int:
        """Length of a recording in microseconds."""
        return (len(_CORNERS) - 1) * self.saccade

    def position(self, t: float) -> np.ndarray:
        """How far the picture is from the middle ``(right, down)`` in pixels, ``t`` in us.

        A saccade speeds up and slows down again.
        """
        number, rest = divmod(min(t, self.duration), self.saccade)
        number = min(int(number), len(_CORNERS) - 2)
        share = 1.0 if t >= self.duration else rest / self.saccade
        way = (1 - np.cos(np.pi * share)) / 2
        corner, following = _CORNERS[number], _CORNERS[number + 1]
        return self.amplitude * (corner + way * (following - corner))

    def thresholds(self) -> np.ndarray:
        """Of the pixels ``(2, size, size)``, float32: for OFF and for ON."""
        spread = np.random.default_rng([self.seed, 0]).standard_normal((2, self.size, self.size))
        # Not below a tenth: no pixel fires without end.
        return (self.threshold * np.maximum(1 + self.mismatch * spread, 0.1)).astype(np.float32)


def record_pictures(
    pictures: np.ndarray, camera: EventCamera, keys: Sequence[Sequence[int]]
) -> list[Events]:
    """Record pictures with the same camera, one after the other.

    Args:
        pictures: Brightness from 0 to 1, ``(N, h, w)``; enlarged to the picture's size.
        camera: The camera.
        keys: For every picture numbers that, with the seed, decide its noise.

    Returns:
        A recording for each, none of which depends on the others.
    """
    recordings = []
    for first in range(0, len(pictures), _CHUNK):
        chunk = slice(first, first + _CHUNK)
        recordings += _simulate_chunk(_scenes(pictures[chunk], camera), camera, keys[chunk])
    return recordings


def _scenes(pictures: np.ndarray, camera: EventCamera) -> np.ndarray:
    """Pictures on the sensor and, around it, as much as the movement can show."""
    margin = int(np.ceil(camera.amplitude / 2)) + 1
    side = camera.size + 2 * margin
    scenes = np.zeros((len(pictures), side, side), np.float32)
    begin = (side - camera.picture_size) // 2
    place = slice(begin, begin + camera.picture_size)
    for scene, picture in zip(scenes, pictures, strict=True):
        enlarged = cv2.resize(
            picture.astype(np.float32), (camera.picture_size,) * 2, interpolation=cv2.INTER_CUBIC
        )
        scene[place, place] = np.clip(enlarged, 0, 1)
    return scenes


def _look(scenes: np.ndarray, camera: EventCamera, t: int) -> np.ndarray:
    """Logarithm of the brightness of all pixels at a time ``(N * size * size,)``."""
    margin = (scenes.shape[1] - camera.size) // 2
    right, down = margin - camera.position(t)
    column, row = int(right), int(down)
    a, b = np.float32(right - column), np.float32(down - row)

    def part(dy: int, dx: int) -> np.ndarray:
        rows = slice(row + dy, row + dy + camera.size)
        return scenes[:, rows, column + dx : column + dx + camera.size]

    upper = part(0, 0) + a * (part(0, 1) - part(0, 0))
    lower = part(1, 0) + a * (part(1, 1) - part(1, 0))
    brightness = upper + b * (lower - upper)
    dark = np.float32(camera.dark)
    return np.log(dark + (1 - dark) * brightness).ravel()


def _simulate_chunk(
    scenes: np.ndarray, camera: EventCamera, keys: Sequence[Sequence[int]]
) -> list[Events]:
    pixels = camera.size**2
    signal = _signal(scenes, camera)
    noise = [_noise(camera, key) for key in keys]
    t = np.concatenate([signal[0], *(one[0] for one in noise)])
    # A pixel of a recording is one number.
    place = np.concatenate([signal[1], *(i * pixels + one[1] for i, one in enumerate(noise))])
    p = np.concatenate([signal[2], *(one[2] for one in noise)])
    is_noise = np.arange(len(t)) >= len(signal[0])
    kept = _not_blind(t, place, is_noise, camera.refractory)
    t, place, p = t[kept], place[kept], p[kept]
    order = np.lexsort((place % pixels, t, place // pixels))
    t, place, p = t[order], place[order], p[order]
    borders = np.searchsorted(place // pixels, np.arange(len(scenes) + 1))
    pixel = place % pixels
    whole = Events(
        t=t.astype(np.int32),
        x=(pixel % camera.size).astype(np.int16),
        y=(pixel // camera.size).astype(np.int16),
        p=p.astype(np.int8),
    )
    return [whole.part(slice(a, b)) for a, b in itertools.pairwise(borders)]


_Found = tuple[np.ndarray, np.ndarray, np.ndarray]  # times, places, polarities


def _signal(scenes: np.ndarray, camera: EventCamera) -> _Found:
    """Events that the movement causes, of all recordings of a chunk at once."""
    off, on = (np.tile(part.ravel(), len(scenes)) for part in camera.thresholds())
    before = _look(scenes, camera, 0)
    remembered = before.copy()
    ready = np.zeros(len(before), np.int64)  # when the pixel sees again
    blind = np.zeros(len(before), bool)
    waiting: np.ndarray = np.empty(0, np.int64)  # the blind ones
    found: list[_Found] = []
    for t0 in range(0, camera.duration, camera.step):
        t1 = t0 + camera.step
        after = _look(scenes, camera, t1)

        def level(places: np.ndarray, t: np.ndarray, t0=t0, before=before, after=after):
            share = (t - t0) / camera.step
            return before[places] + share.astype(np.float32) * (after[places] - before[places])

        seeing = ready[waiting] < t1
        woken, waiting = waiting[seeing], waiting[~seeing]
        remembered[woken] = level(woken, ready[woken])
        blind[woken] = False
        change = after - remembered
        firing = np.flatnonzero(((change >= on) | (change <= -off)) & ~blind)
        while len(firing):
            brighter = after[firing] > remembered[firing]
            aim = remembered[firing] + np.where(brighter, on[firing], -off[firing])
            share = (aim - before[firing]) / (after[firing] - before[firing])
            # Rounded up to a microsecond, but not before the pixel sees or after this step.
            t = t0 + np.ceil(share.astype(np.float64) * camera.step).astype(np.int64)
            t = np.clip(t, np.maximum(ready[firing], t0), t1)
            found.append((t, firing, brighter))
            ready[firing] = t + camera.refractory
            inside = ready[firing] < t1
            later, firing = firing[~inside], firing[inside]
            blind[later] = True
            waiting = np.concatenate([waiting, later])
            remembered[firing] = level(firing, ready[firing])
            change = after[firing] - remembered[firing]
            firing = firing[(change >= on[firing]) | (change <= -off[firing])]
        before = after
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, bool)
    times, places, polarities = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return times, places, polarities


def _noise(camera: EventCamera, key: Sequence[int]) -> _Found:
    """Noise events of one recording."""
    rng = np.random.default_rng([camera.seed, 1, *key])
    pixels = camera.size**2
    number = rng.poisson(camera.noise_rate * pixels * camera.duration * 1e-6)
    t = rng.integers(1, camera.duration + 1, number)
    return t, rng.integers(0, pixels, number), rng.integers(0, 2, number).astype(bool)


def _not_blind(
    t: np.ndarray, place: np.ndarray, is_noise: np.ndarray, refractory: int
) -> np.ndarray:
    """Indices of the events outside refractory periods."""
    kept = np.lexsort((t, place))
    if refractory == 0:
        return kept
    while True:
        close = (place[kept][1:] == place[kept][:-1]) & (np.diff(t[kept]) < refractory)
        (pairs,) = np.nonzero(close)
        # Of two that are too close the later one goes, unless only the earlier one is noise. The
        # signal keeps the period by itself. Events after a dropped one are checked again.
        drop = np.where(is_noise[kept[pairs + 1]], pairs + 1, pairs)
        drop = np.setdiff1d(drop, drop + 1)
        if not len(drop):
            return kept
        kept = np.delete(kept, drop)


__getattr__ = moved_names(__name__, {'simulate': 'events.camera:record_pictures'})
