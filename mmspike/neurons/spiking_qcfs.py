"""The integrate-and-fire neuron whose firing rate is a quantised clip-floor-shift activation.

Bu et al., ICLR 2022 (arXiv 2303.04347): a neuron that starts half charged and is reset by
subtraction fires, over T steps of constant input, what :class:`~mmspike.neurons.qcfs.QCFS` with T
levels puts out. Masked Spiking Transformer runs its published weights with it
(bic-L/Masked-Spiking-Transformer).
"""

from typing import Any

from torch import Tensor

from mmspike.neurons import functional
from mmspike.neurons.functional import INITIAL_CHARGE
from mmspike.neurons.learned_threshold import LearnedThreshold
from mmspike.neurons.surrogate import Surrogate, get_surrogate
from mmspike.registry import MODELS


@MODELS.register_module()
class SpikingQCFS(LearnedThreshold):
    """``v += x / threshold``; a spike worth ``threshold`` where ``v >= 1``, and then ``v -= 1``.

    The membrane starts at 0.5 and may become negative. The threshold is the learned number of
    :class:`~mmspike.neurons.qcfs.QCFS` under the same name, so that weights trained with the one
    load into the other; :func:`mmspike.ann2snn.convert_to_spiking` replaces one by the other.

    Args:
        surrogate: Surrogate gradient, should the spiking network be trained further.
        **kwargs: See :class:`~mmspike.neurons.learned_threshold.LearnedThreshold`, whose
            ``init_threshold`` is 2.

    Raises:
        ValueError: The surrogate is unknown.
    """

    def __init__(self, *, surrogate: str | dict | Surrogate = 'sigmoid', **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.surrogate = get_surrogate(surrogate)
        self.set_reset_value('v', INITIAL_CHARGE)
        self.reset()

    @property
    def spike_value(self) -> float:
        return self.positive_threshold.item()

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return functional.spiking_clip_floor_shift(
            x,
            v,
            threshold=self.positive_threshold,
            surrogate=self.surrogate,
            keep_state=self.stateful,
            overwrite=self.overwrites_input,
        )

    def describe(self) -> dict[str, str | float | None]:
        # The threshold is a weight, not a setting: it travels in the state dict itself.
        return dict(type=type(self).__name__)

    def check_description(self, saved: dict) -> None:
        """Also accept weights that were trained with QCFS."""
        if saved['type'] != 'QCFS':
            super().check_description(saved)
