"""The learned threshold of QCFS and SpikingQCFS."""

import warnings
from typing import Any

import torch
from torch import Tensor, nn

from mmspike.neurons.base import BaseNeuron, check_number

# A threshold below acts as this one, the smallest number that half precision holds.
SMALLEST_THRESHOLD = 2.0**-24


class LearnedThreshold(BaseNeuron):
    """A neuron with one learned threshold per layer, ``threshold`` of shape ``(1,)``.

    The threshold acts as :data:`SMALLEST_THRESHOLD` where an optimiser has moved it below that,
    zero and negative numbers included. Its gradient still passes, so that it can grow again.

    Args:
        init_threshold: Initial value.
        **kwargs: See :class:`~mmspike.neurons.base.BaseNeuron`.

    Raises:
        TypeError, ValueError: ``init_threshold`` is no positive number.
    """

    def __init__(self, *, init_threshold: float = 2.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = nn.Parameter(
            torch.tensor([check_number('init_threshold', init_threshold, above=0)])
        )

    @property
    def positive_threshold(self) -> Tensor:
        """The threshold that the neuron computes with, ``(1,)``."""
        if not torch.is_grad_enabled():
            return self.threshold.clamp(min=SMALLEST_THRESHOLD)
        plain = self.threshold.detach()
        # The difference is zero; with it the gradient passes, below the bound too.
        return plain.clamp(min=SMALLEST_THRESHOLD) + (self.threshold - plain)

    def check_learned(self, name: str, value: float, recorded: bool) -> None:
        """Refuse a threshold that is not positive; warn if a neuron of mmspike was trained to it.

        Args:
            name: Name of the parameter in the model.
            value: The number in the checkpoint.
            recorded: Whether the checkpoint has the record of a neuron of mmspike.

        Raises:
            ValueError: The threshold is not finite, or not positive in a file of another project.
        """
        super().check_learned(name, value, recorded)
        if value > 0:
            return
        if not recorded:
            raise ValueError(
                f'{name} is {value} in the checkpoint; a threshold must be above 0. Is this a '
                'threshold of QCFS neurons?'
            )
        warnings.warn(
            f'{name} is {value} in the checkpoint: training moved the threshold below 0, where it '
            f'acts as {SMALLEST_THRESHOLD:g}. A smaller learning rate, or no weight decay on '
            'thresholds, prevents it',
            stacklevel=2,
        )
