"""From quantised activations to integrate-and-fire neurons."""

import copy

from torch import nn

from mmspike.ann2snn.quantise import replace_modules
from mmspike.neurons import QCFS, SpikingQCFS


def convert_to_spiking(model: nn.Module) -> nn.Module:
    """Return a copy whose :class:`~mmspike.neurons.QCFS` are integrate-and-fire neurons.

    Weights and thresholds are the same, under the same names. Run over T steps on an input that is
    repeated, and averaged over time, its answers approach those of the quantised network as T
    grows; :func:`~mmspike.ann2snn.simulate.simulate` does both for a whole model.

    Args:
        model: A model with quantised activations; it is not changed.

    Raises:
        ValueError: It has none.
    """
    model = copy.deepcopy(model)
    quantised = [module for module in model.modules() if isinstance(module, QCFS)]
    if not quantised:
        raise ValueError(
            f'{type(model).__name__} has no QCFS activations to convert: build it with '
            "dict(type='mmspike.QCFS'), or put them in with insert_qcfs"
        )
    replace_modules(model, {module: _spiking(module) for module in quantised})
    return model


def _spiking(quantised: QCFS) -> SpikingQCFS:
    neuron = SpikingQCFS(timesteps=quantised.timesteps, on_mismatch=quantised.on_mismatch)
    neuron.threshold = quantised.threshold
    neuron.copy_masking(quantised)
    return neuron
