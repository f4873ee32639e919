"""Events integrated into frames."""

from bisect import bisect_left

import numpy as np

from mmspike.events.recording import Events

POLARITIES = 2  # OFF, ON


def frame_borders(
    events: Events, timesteps: int, by: str = 'number', duration: int | None = None
) -> np.ndarray:
    """Where frames begin and end.

    Args:
        events: The recording, in the order of time.
        timesteps: Number of frames T.
        by: ``'number'``: every frame gets N // T events, the last one also the rest. ``'time'``:
            every frame lasts as long, whatever happens in it.
        duration: With ``'time'``, how long a frame lasts, in microseconds; events after the last
            frame are left out. None divides the whole recording, events of the remainder of the
            division going into the last frame.

    Returns:
        ``(T + 1,)``: frame ``i`` holds the events from ``borders[i]`` to before
        ``borders[i + 1]``.
    """
    if by == 'number':
        borders: np.ndarray = np.arange(timesteps + 1) * (len(events.t) // timesteps)
        borders[-1] = len(events.t)
        return borders
    first, last = int(events.t[0]), int(events.t[-1])
    each = (last - first) // timesteps if duration is None else duration
    # Python's integers, unlike NumPy's, do not overflow.
    times = (first + each * i for i in range(timesteps + 1))
    borders = np.array([bisect_left(events.t, time) for time in times])
    if duration is None:
        borders[-1] = len(events.t)
    return borders


def integrate_frames(
    events: Events,
    sensor_size: tuple[int, int],
    timesteps: int,
    by: str = 'number',
    duration: int | None = None,
) -> np.ndarray:
    """Count the events of every pixel and polarity, frame by frame.

    Args:
        events: The recording, in the order of time and within the sensor.
        sensor_size: Height and width of the sensor in pixels.
        timesteps, by, duration: See :func:`frame_borders`.

    Returns:
        ``(T, 2, H, W)``, float32; channel 0 counts OFF, channel 1 ON.
    """
    height, width = sensor_size
    borders = frame_borders(events, timesteps, by, duration)
    _, x, y, p = events.part(slice(borders[0], borders[-1]))
    frame = np.repeat(np.arange(timesteps), np.diff(borders))
    place = ((frame * POLARITIES + p) * height + y) * width + x
    counts = np.bincount(place, minlength=timesteps * POLARITIES * height * width)
    return counts.reshape(timesteps, POLARITIES, height, width).astype(np.float32)
