"""Classification heads and losses for mmpretrain's ``ImageClassifier``."""

from mmspike.versions import check_version

check_version('mmpretrain')

from mmspike.heads.cls.spike_distill_head import SpikeDistillClsHead  # noqa: E402
from mmspike.heads.cls.spike_linear_head import SpikeLinearClsHead  # noqa: E402
from mmspike.heads.cls.tet_loss import TETLoss  # noqa: E402

__all__ = ['SpikeDistillClsHead', 'SpikeLinearClsHead', 'TETLoss']
