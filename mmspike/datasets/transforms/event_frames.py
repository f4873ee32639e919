"""Transforms from event files to frames for mmpretrain.

Between :class:`IntegrateEvents` and :class:`PackEventFrames` the T frames are one image ``img``
``(H, W, T*2)``, whose channels are OFF and ON of the first step, of the second, and so on. So the
transforms of mmpretrain and mmcv that take any number of channels (``Resize``, ``RandomFlip``,
``Cutout``, ``RandomErasing``, crops without padding) do the same to all steps, by one random draw.
"""

import numpy as np
import torch
from mmcv.transforms import BaseTransform
from mmcv.transforms.utils import cache_randomness
from mmpretrain.datasets.transforms import PackInputs

from mmspike.checks import check_integer, check_number
from mmspike.events import integrate_frames, read_events
from mmspike.events.frames import POLARITIES
from mmspike.events.recording import MAX_EVENTS
from mmspike.registry import TRANSFORMS
from mmspike.temporal import check_timesteps


@TRANSFORMS.register_module()
class LoadEvents(BaseTransform):
    """Read and check the event file of a sample.

    Required keys: ``img_path``, ``sensor_size``; ``window`` where a sample is part of a file.
    Added keys: ``events``.

    Args:
        sort: Put events in the order of time instead of refusing another order.
        max_events: The most events that a file may hold; larger ones are refused as malformed,
            because a damaged or hostile one could fill the memory.

    Raises:
        MalformedEventsError: See :func:`~mmspike.events.read_events`.
        TypeError, ValueError: ``max_events`` is not an integer above 0, or the sample lacks a
            required key.
    """

    def __init__(self, sort: bool = False, max_events: int = MAX_EVENTS) -> None:
        self.sort = sort
        self.max_events = check_integer('max_events', max_events, at_least=1)

    def transform(self, results: dict) -> dict:
        """Add the events."""
        missing = [key for key in ('img_path', 'sensor_size') if key not in results]
        if missing:
            raise ValueError(
                f'LoadEvents needs {" and ".join(missing)} in the sample, which has '
                f'{", ".join(results) or "nothing"}; img_path is the event file, sensor_size the '
                '(height, width) of the camera in pixels, as the event datasets give them'
            )
        results['events'] = read_events(
            results['img_path'],
            results['sensor_size'],
            results.get('window'),
            self.sort,
            self.max_events,
        )
        return results


@TRANSFORMS.register_module()
class IntegrateEvents(BaseTransform):
    """Count events per pixel and polarity, frame by frame.

    Required keys: ``events``, ``sensor_size``. Added keys: ``img`` ``(H, W, T*2)``, float32;
    ``timesteps`` (None for an image); ``img_shape`` and ``ori_shape``. Removed: ``events``.

    Args:
        timesteps: Number of frames T. None integrates all events into one image without time, for
            models that see one, such as MST.
        by: ``'number'``, as many events in each frame, or ``'time'``, as long a time.
        duration: With ``by='time'``, length of a frame in microseconds; events after T frames
            are left out. None divides the whole recording by T.

    Raises:
        TypeError, ValueError: An argument makes no sense.
    """

    def __init__(
        self, timesteps: int | None, by: str = 'number', duration: int | None = None
    ) -> None:
        if timesteps is not None:
            check_timesteps(timesteps)
        if by not in ('number', 'time'):
            raise ValueError(f"by must be 'number' or 'time', got {by!r}")
        if duration is not None:
            if by != 'time' or timesteps is None:
                raise ValueError(
                    "duration is the length of a frame in microseconds, with by='time' and "
                    f'timesteps; got duration={duration!r}, by={by!r}, timesteps={timesteps!r}'
                )
            check_integer('duration', duration, at_least=1)
        self.timesteps = timesteps
        self.by = by
        self.duration = duration

    def transform(self, results: dict) -> dict:
        """Replace the events by frames."""
        size = results['sensor_size']
        frames = integrate_frames(
            results.pop('events'), size, self.timesteps or 1, self.by, self.duration
        )
        results['img'] = np.ascontiguousarray(frames.reshape(-1, *size).transpose(1, 2, 0))
        results['timesteps'] = self.timesteps
        results['img_shape'] = results['ori_shape'] = tuple(size)
        return results


@TRANSFORMS.register_module()
class ScaleEventFrames(BaseTransform):
    """Clip counts and divide them.

    Required and changed key: ``img``.

    Args:
        clip: Largest count that is kept, against pixels that fire without end; None for no limit.
        divisor: Divisor of the counts: a number, or ``'max'`` for the sample's largest one.

    Raises:
        TypeError, ValueError: An argument is no finite number above 0.
    """

    def __init__(self, clip: float | None = None, divisor: float | str = 1.0) -> None:
        if clip is not None:
            check_number('clip', clip, above=0)
        if divisor != 'max':
            check_number("divisor, where it is not 'max',", divisor, above=0)
        self.clip = clip
        self.divisor = divisor

    def transform(self, results: dict) -> dict:
        """Scale the frames."""
        img = results['img']
        if self.clip is not None:
            img = np.minimum(img, np.float32(self.clip))
        divisor = float(img.max()) or 1.0 if self.divisor == 'max' else self.divisor
        results['img'] = img / np.float32(divisor)
        return results


@TRANSFORMS.register_module()
class RandomShift(BaseTransform):
    """Move all frames by the same whole number of pixels, at random in both directions.

    Required and changed key: ``img``.

    Args:
        max_shift: Largest move in pixels; every one up to it is as likely.
        wrap: Whether pixels that leave at one side come back at the other, as in the training of
            SDT on CIFAR10-DVS; otherwise they are lost.

    Raises:
        TypeError: ``max_shift`` is not an integer.
        ValueError: It is negative.
    """

    def __init__(self, max_shift: int = 5, wrap: bool = True) -> None:
        self.max_shift = check_integer('max_shift', max_shift, at_least=0)
        self.wrap = wrap

    @cache_randomness
    def _draw(self) -> tuple[int, int]:
        down, right = np.random.randint(-self.max_shift, self.max_shift + 1, 2)
        return int(down), int(right)

    def transform(self, results: dict) -> dict:
        """Move the frames."""
        down, right = self._draw()
        img = np.roll(results['img'], (down, right), axis=(0, 1))
        if not self.wrap:
            height, width = img.shape[:2]
            img[: max(down, 0)] = 0
            img[height + min(down, 0) :] = 0
            img[:, : max(right, 0)] = 0
            img[:, width + min(right, 0) :] = 0
        results['img'] = img
        return results


@TRANSFORMS.register_module()
class PackEventFrames(PackInputs):
    """``mmpretrain.PackInputs`` for frames: ``inputs`` become ``(T, 2, H, W)``.

    Where :class:`IntegrateEvents` made one image, they are ``(2, H, W)``.

    Args:
        **kwargs: See ``mmpretrain.PackInputs``.
    """

    def transform(self, results: dict) -> dict:
        """Pack the frames."""
        frames = torch.from_numpy(np.ascontiguousarray(results['img'].transpose(2, 0, 1)))
        timesteps = results.get('timesteps')
        if timesteps is not None:
            frames = frames.unflatten(0, (timesteps, POLARITIES))
        return super().transform(dict(results, img=frames))
