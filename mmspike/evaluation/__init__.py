"""Metrics of what only spiking networks have."""

from mmspike.evaluation.accuracy_over_time import AccuracyOverTime

__all__ = ['AccuracyOverTime']
