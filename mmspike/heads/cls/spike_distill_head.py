"""Linear classifier on spikes with a second linear layer that learns from a teacher."""

from typing import Any

from torch import Tensor, nn

from mmspike.heads.cls.spike_linear_head import SpikeLinearClsHead
from mmspike.registry import MODELS
from mmspike.temporal import unfold_time


@MODELS.register_module()
class SpikeDistillClsHead(SpikeLinearClsHead):
    """Two linear layers, ``fc`` for the labels and ``fc_distill`` for the answers of a teacher.

    Both read the spikes of one neuron, as in SDT v2 (BICLab/Spike-Driven-Transformer-V2). SDT v3
    large (BICLab/Spike-Driven-Transformer-V3, ``Model_Large``) has ``analog_fc``: its first layer
    reads the membrane in front of the neuron. The logits are the mean of both layers
    (Touvron et al., arXiv 2012.12877).

    :class:`~mmspike.classifiers.DistilledClassifier` trains the layers apart. A classifier without
    a teacher trains their mean.

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the pooled feature.
        analog_fc: ``fc`` reads the pooled feature itself, which is no spike train.
        **kwargs: See :class:`SpikeLinearClsHead`.

    Raises:
        ValueError: ``cal_acc`` is combined with :class:`~mmspike.heads.cls.TETLoss`.
    """

    def __init__(
        self, num_classes: int, in_channels: int, *, analog_fc: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.fc_distill = nn.Linear(in_channels, num_classes)
        self.analog_fc = analog_fc
        if isinstance(self.neuron, nn.Identity):
            self.analog_layers = ('fc', 'fc_distill')
        elif analog_fc:
            self.analog_layers = ('fc',)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The input of ``fc``, averaged over time: ``(B, C)``."""
        return self._feature(feats).mean(0) if self.analog_fc else super().pre_logits(feats)

    def separate_logits(self, feats: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Logits of ``fc`` and of ``fc_distill``, each ``(T, B, num_classes)``."""
        spikes = self._spikes(feats)
        return self.fc(self._feature(feats) if self.analog_fc else spikes), self.fc_distill(spikes)

    def step_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits of every time step, the mean of both layers: ``(T, B, num_classes)``."""
        labelled, distilled = self.separate_logits(feats)
        return (labelled + distilled) / 2

    def _feature(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The last pooled feature: ``(T, B, C)``."""
        return unfold_time(feats[-1], self.timesteps)
