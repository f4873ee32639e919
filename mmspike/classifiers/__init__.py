"""Classifiers for mmpretrain beyond its own ``ImageClassifier``."""

from mmspike.versions import check_version

check_version('mmpretrain')

from mmspike.classifiers.distilled_classifier import DistilledClassifier  # noqa: E402

__all__ = ['DistilledClassifier']
