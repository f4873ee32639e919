"""Classifiers for mmpretrain beyond its own ``ImageClassifier``, and their parts."""

from mmspike.versions import check_version

check_version('mmpretrain')

from mmspike.classifiers.accuracy_over_time import AccuracyOverTime  # noqa: E402
from mmspike.classifiers.distilled_classifier import DistilledClassifier  # noqa: E402
from mmspike.classifiers.event_mix import EventMix  # noqa: E402
from mmspike.classifiers.event_preprocessor import EventDataPreprocessor  # noqa: E402

__all__ = ['AccuracyOverTime', 'DistilledClassifier', 'EventDataPreprocessor', 'EventMix']
