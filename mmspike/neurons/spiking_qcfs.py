"""The integrate-and-fire neuron whose firing rate is a quantised clip-floor-shift activation.

Bu et al., ICLR 2022 (arXiv 2303.04347): a neuron that starts half charged and is reset by
subtraction fires, over T steps of constant input, what :class:`~mmspike.neurons.qcfs.QCFS` with T
levels puts out. Masked Spiking Transformer runs its published weights with it
(bic-L/Masked-Spiking-Transformer).
"""

import torch
from torch import Tensor, nn

from mmspike.neurons import functional
from mmspike.neurons.base import BaseNeuron, check_number
from mmspike.neurons.functional import INITIAL_CHARGE
from mmspike.neurons.surrogate import Surrogate, get_surrogate
from mmspike.registry import MODELS


@MODELS.register_module()
class SpikingQCFS(BaseNeuron):
    """``v += x / threshold``; a spike worth ``threshold`` where ``v >= 1``, and then ``v -= 1``.

    The membrane starts at 0.5 and may become negative. The threshold is the learned number of
    :class:`~mmspike.neurons.qcfs.QCFS` under the same name, so that weights trained with the one
    load into the other; :func:`mmspike.conversion.convert_to_spiking` replaces one by the other.

    Args:
        init_threshold: Initial value of the threshold, one number per layer.
        surrogate: Surrogate gradient, should the spiking network be trained further.
        **kwargs: See :class:`~mmspike.neurons.base.BaseNeuron`.

    Raises:
        TypeError, ValueError: ``init_threshold`` is no positive number, or the surrogate unknown.
    """

    def __init__(
        self,
        *,
        init_threshold: float = 2.0,
        surrogate: str | dict | Surrogate = 'sigmoid',
        **kwargs,
    ) -> None:
        super().__init__(**kwargs)
        self.threshold = nn.Parameter(
            torch.tensor(check_number('init_threshold', init_threshold, above=0))
        )
        self.surrogate = get_surrogate(surrogate)
        self.set_reset_value('v', INITIAL_CHARGE)
        self.reset()

    @property
    def step_value(self) -> float:
        return self.threshold.item()

    def fire(self, x: Tensor, v: Tensor | None) -> tuple[Tensor, Tensor | None]:
        return functional.spiking_clip_floor_shift(
            x, v, threshold=self.threshold, surrogate=self.surrogate, keep_state=self.stateful
        )

    def describe(self) -> dict[str, str]:
        # The threshold is a weight, not a setting: it travels in the state dict itself.
        return dict(type=type(self).__name__)

    def check_description(self, saved: dict | None) -> None:
        """Also accept weights that were trained with QCFS: it is what they are for."""
        if saved is None or saved['type'] != 'QCFS':
            super().check_description(saved)
