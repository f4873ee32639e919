"""Recordings of event cameras: reading and checking files, integrating frames, simulation."""

from mmspike.events.frames import integrate_frames
from mmspike.events.readers import read_events
from mmspike.events.recording import Events, MalformedEventsError

__all__ = ['Events', 'MalformedEventsError', 'integrate_frames', 'read_events']
