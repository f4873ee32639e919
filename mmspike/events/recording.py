"""A recording of an event camera, and its checks."""

import os
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Events(NamedTuple):
    """Events in the order of time, one array ``(N,)`` of integers per property.

    Attributes:
        t: Time in microseconds.
        x: Column, 0 is left.
        y: Row, 0 is top.
        p: Polarity, 1 where it became brighter (ON), 0 where darker (OFF).
    """

    t: np.ndarray
    x: np.ndarray
    y: np.ndarray
    p: np.ndarray

    def part(self, which: slice | np.ndarray) -> 'Events':
        """Some of the events: a slice, a mask or indices."""
        return Events(*(values[which] for values in self))


class MalformedEventsError(ValueError):
    """A malformed recording. The message names the file and the position."""


# The most events of a file, unless LoadEvents or read_events is told another number: 1.6 GB as four
# arrays of int64.
MAX_EVENTS = 50_000_000


def check_number_of_events(where: str | os.PathLike, number: int, max_events: int) -> None:
    """Raise if there are, or by the size of a file may be, too many events to read them.

    Args:
        where: File, or more words on it, for the message.
        number: The most events that there can be.
        max_events: The most that are allowed.

    Raises:
        MalformedEventsError: There are more.
    """
    if number > max_events:
        raise MalformedEventsError(
            f'{where} has room for {number} events, more than max_events={max_events}, which keeps '
            'a damaged file from filling the memory; if the file is right, raise the limit by '
            'LoadEvents(max_events=...)'
        )


# Byte at which the event of an index begins.
Offset = Callable[[int], int]


def check_events(
    events: Events,
    sensor_size: tuple[int, int],
    path: str | os.PathLike,
    offset: Offset | None = None,
) -> None:
    """Raise unless a recording is possible for the sensor.

    Args:
        events: The recording.
        sensor_size: Height and width of the sensor in pixels.
        path: File the events come from, or more words on it, for messages.
        offset: Byte of an event in that file, for messages.

    Raises:
        MalformedEventsError: There is no event, or one lies outside the sensor, has a polarity
            other than 0 and 1, a negative time, or a time before that of the event ahead of it.
    """
    height, width = sensor_size
    if not len(events.t):
        raise MalformedEventsError(f'{path}: the recording holds no events')

    def refuse(wrong: np.ndarray, what: Callable[[Events], str], ahead: int = 0) -> None:
        if wrong.any():
            i = int(wrong.argmax()) + ahead
            place = f'event {i}' + (f' at byte {offset(i)}' if offset else '')
            numbers = (int(values[i]) for values in events)
            event = Events(*numbers)  # type: ignore[arg-type]  # of one event, to be printed
            raise MalformedEventsError(
                f'{path}: {place} {what(event)} ({int(wrong.sum())} such events in all)'
            )

    refuse(
        (events.x < 0) | (events.x >= width) | (events.y < 0) | (events.y >= height),
        lambda e: (
            f'lies at x={e.x}, y={e.y}, outside the sensor of {width}x{height} pixels '
            '(width x height). Is sensor_size that of this camera?'
        ),
    )
    refuse((events.p != 0) & (events.p != 1), lambda e: f'has polarity {e.p}, which is not 0 or 1')
    refuse(events.t < 0, lambda e: f'has the negative time {e.t}')
    refuse(
        events.t[1:] < events.t[:-1],
        lambda e: (
            f'has time {e.t}, earlier than the event ahead of it; if events are only out of '
            'order, LoadEvents(sort=True) sorts them'
        ),
        ahead=1,
    )
