"""Random spike masking (RSM) of one layer of neurons.

Masked Spiking Transformer (ICCV 2023, arXiv 2210.01208; bic-L/Masked-Spiking-Transformer) drops a
share of the spikes of chosen layers at random, in training and in inference: spikes that are not
sent cost nothing. :mod:`mmspike.masking` chooses the layers of a model.
"""

import logging
import warnings

import torch
from mmengine.logging import print_log
from torch import Tensor


def check_masking_ratio(ratio: object) -> float:
    """Return ``ratio`` as a float if it is a share of spikes that can be dropped.

    Raises:
        TypeError: It is no number.
        ValueError: It is outside of [0, 1), or NaN.
    """
    if isinstance(ratio, bool) or not isinstance(ratio, int | float):
        raise TypeError(f'a masking ratio must be a number, got {ratio!r} ({type(ratio).__name__})')
    if not 0 <= ratio < 1:
        raise ValueError(
            'a masking ratio is the share of spikes that is dropped and must lie in [0, 1), '
            f'got {ratio!r}'
        )
    return float(ratio)


class SpikeMasking:
    """Mixin of neurons: drops spikes of the output at random.

    A spike is kept where a number drawn uniformly from [0, 1) is above the ratio. Numbers are drawn
    by torch's own generator, anew at every call, for every sample, element and time step; what is
    kept is not scaled up. An integer neuron's integer is kept or dropped as a whole.

    The ratio is part of the neuron's record in every ``state_dict``. A neuron whose ratio was not
    chosen takes that of the checkpoint that is loaded; one whose ratio was chosen keeps it, and a
    warning says so if the checkpoint has another.
    """

    _masking_ratio = 0.0
    # Chosen by the user, not taken over from a checkpoint or a schedule.
    _masking_chosen = False

    @property
    def masking_ratio(self) -> float:
        """Share of spikes to drop, from 0 up to but not including 1. Setting it is a choice."""
        return self._masking_ratio

    @masking_ratio.setter
    def masking_ratio(self, ratio: float) -> None:
        self.adopt_masking_ratio(ratio)
        self._masking_chosen = True

    def adopt_masking_ratio(self, ratio: float) -> None:
        """Set a ratio that the next loaded checkpoint may replace.

        Raises:
            TypeError, ValueError: See :func:`check_masking_ratio`.
        """
        self._masking_ratio = check_masking_ratio(ratio)
        self._masking_chosen = False

    def copy_masking(self, other: 'SpikeMasking') -> None:
        """Take the place of another neuron: its ratio, chosen or not."""
        self._masking_ratio, self._masking_chosen = other._masking_ratio, other._masking_chosen

    def mask_spikes(self, spikes: Tensor) -> Tensor:
        """Drop spikes: any shape to the same shape. Dropped ones pass no gradient."""
        if self._masking_ratio == 0:
            return spikes
        # float32 whatever the spikes are: in half precision a few hundred numbers are all there is.
        # By shape and not like the spikes, whose memory layout would change which of them stay.
        drawn = torch.rand(spikes.shape, dtype=torch.float32, device=spikes.device)
        return spikes * (drawn > self._masking_ratio)

    def load_masking_ratio(self, saved: float) -> None:
        """Take the ratio of a checkpoint, or warn if another ratio was set by hand.

        Args:
            saved: The checkpoint's ratio.
        """
        if saved == self._masking_ratio:
            return
        if self._masking_chosen:
            warnings.warn(
                f'the checkpoint was made with spike masking at ratio {saved:g}, the model was set '
                f'to {self._masking_ratio:g} and keeps it. mmspike.masking.set_masking(model, '
                '{pattern: ratio}) sets ratios; a model whose ratios were never set takes the '
                "checkpoint's",
                stacklevel=2,
            )
            return
        self.adopt_masking_ratio(saved)
        if saved:
            # A warning, which mmengine's loggers show once and not for every neuron.
            print_log(
                'neurons take the spike masking of the checkpoint; mmspike.masking.get_masking '
                'shows it, set_masking chooses another',
                'current',
                logging.WARNING,
            )
