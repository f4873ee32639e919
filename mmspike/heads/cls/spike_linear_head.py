"""Linear classifier on spikes."""

from typing import Any

from mmpretrain.models.heads import LinearClsHead
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from mmspike.heads.cls.tet_loss import TETLoss
from mmspike.pretrained import check_pretrained
from mmspike.registry import MODELS
from mmspike.temporal import TemporalModule, init_timesteps, unfold_time


@MODELS.register_module()
class SpikeLinearClsHead(TemporalModule, LinearClsHead):
    """A neuron, a linear layer, and the mean of the logits over time.

    It follows mmpretrain's stock ``GlobalAveragePooling`` neck, which pools every time step of the
    folded map. The default neuron hands integers 0..D to the linear layer, as SDT v3 base does
    (BICLab/Spike-Driven-Transformer-V3, ``Model_Base``).

    Args:
        num_classes: Number of classes.
        in_channels: Channels of the pooled feature.
        timesteps: Number of time steps T, the same as the backbone's.
        neuron_cfg: Config of the neuron; None for none, which leaves the linear layer analog.
        **kwargs: See ``mmpretrain.models.LinearClsHead``: ``loss``, ``topk``, ``cal_acc``,
            ``init_cfg``. With ``loss=dict(type='mmspike.TETLoss')`` the loss sees every step.

    Raises:
        ValueError: ``cal_acc`` is combined with :class:`~mmspike.heads.cls.TETLoss`.
    """

    analog_layers: tuple[str, ...] = ()

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        *,
        timesteps: int | None = 1,
        neuron_cfg: dict | None = dict(type='mmspike.SFA', D=4, norm=1),
        init_cfg: dict | None = dict(type='TruncNormal', layer='Linear', std=0.02),
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, init_cfg=init_cfg, **kwargs)
        if self.cal_acc and isinstance(self.loss_module, TETLoss):
            raise ValueError('cal_acc=True needs one score per image, TETLoss works on T scores')
        self.neuron = nn.Identity() if neuron_cfg is None else MODELS.build(neuron_cfg)
        if neuron_cfg is None:
            self.analog_layers = ('fc',)
        init_timesteps(self, timesteps)

    def init_weights(self) -> None:
        """Initialise from ``init_cfg``.

        Raises:
            NeuronMismatchError: A pretrained checkpoint was made with other neurons.
        """
        check_pretrained(self)
        super().init_weights()

    def _spikes(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Spikes of the last pooled feature: ``(T, B, C)``."""
        return unfold_time(self.neuron(feats[-1]), self.timesteps)

    def pre_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """The classifier's input, averaged over time: ``(B, C)``."""
        return self._spikes(feats).mean(0)

    def step_logits(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits of every time step: ``(T, B, num_classes)``."""
        return self.fc(self._spikes(feats))

    def forward(self, feats: tuple[Tensor, ...]) -> Tensor:
        """Logits ``(B, num_classes)``, the mean over time."""
        return self.step_logits(feats).mean(0)

    def loss(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Loss of a batch.

        Raises:
            ValueError: Features and labels differ in number, as they do when head and backbone
                run different numbers of time steps.
        """
        return self.loss_by_logits(self.step_logits(feats), data_samples, **kwargs)

    def loss_by_logits(
        self, logits: Tensor, data_samples: list[DataSample], **kwargs: Any
    ) -> dict[str, Tensor]:
        """Loss of a batch whose logits are known: ``(T, B, num_classes)``; raises like `loss`."""
        self._check_batch(logits.shape[1], data_samples)
        scores = logits if isinstance(self.loss_module, TETLoss) else logits.mean(0)
        return self._get_loss(scores, data_samples, **kwargs)

    def predict(
        self, feats: tuple[Tensor, ...], data_samples: list[DataSample | None] | None = None
    ) -> list[DataSample]:
        """Predictions of a batch; raises like :meth:`loss`."""
        logits = self(feats)
        if data_samples is not None:
            self._check_batch(len(logits), data_samples)
        return self._get_predictions(logits, data_samples)

    def _check_batch(self, batch: int, data_samples: list) -> None:
        if batch != len(data_samples):
            raise ValueError(
                f'the head received {self.timesteps * batch} feature rows for '
                f'{len(data_samples)} samples, which its timesteps={self.timesteps} does not '
                'explain; give backbone and head the same timesteps, or call '
                'mmspike.set_timesteps(model, T)'
            )
