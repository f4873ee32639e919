"""Weights of SDT v3 for event cameras (BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/DVS/Hardvs``).

The network is that of :mod:`mmspike.converters.sdtv3` with two input channels and factors on the
branches of the transformer blocks. Its files hold ``{'model': ..., 'model_ema': ..., 'args':
Namespace, ...}``. Its neurons clamp to 0..4 and round half to even; for HAR-DVS they divide by 1.
"""

import os

from torch import Tensor

from mmspike.converters.families import Family, declare
from mmspike.converters.sdtv3 import KEYS, LAYER_SCALE, convert_classifier
from mmspike.converters.weights import Conversion, read_weights, write_classifier
from mmspike.neurons import SFA

FAMILY = declare(
    Family('an SDT v3 classifier for event cameras (HAR-DVS)', (*KEYS, LAYER_SCALE)),
)


def convert_sdtv3_events(
    weights: dict[str, Tensor], *, D: int = 4, norm: float = 1.0
) -> Conversion:
    """Rename the weights of an SDT v3 classifier for event cameras.

    Args:
        weights: Name to tensor, as in the files; a leading ``module.`` is dropped.
        D: Largest integer of the neurons the weights were trained with.
        norm: Their divisor: 1 for HAR-DVS, 8 in the authors' model for DVS128 Gesture.

    Raises:
        ValueError: The weights belong to another model; the message says what it looks like. Or a
            tensor has a shape that no MetaSpikformer has.
    """
    return convert_classifier(weights, FAMILY, D=D, norm=norm)


def convert_sdtv3_events_file(
    source: str | os.PathLike,
    target: str | os.PathLike,
    *,
    D: int = 4,
    norm: float = 1.0,
    ema: bool = False,
) -> Conversion:
    """Convert a file of the authors' code into a checkpoint of our own.

    Args:
        source: File of the reference. It is loaded with ``weights_only=True``; of all classes only
            ``argparse.Namespace`` is let in beside tensors.
        target: File to write, whole or not at all.
        D, norm: See :func:`convert_sdtv3_events`.
        ema: Take the averaged weights.

    Raises:
        FileNotFoundError, IsADirectoryError: ``source`` is not a file.
        ValueError: It is damaged, unsafe or of another model, or lacks weights.
    """
    weights = read_weights(source, 'model_ema' if ema else None)
    conversion = convert_sdtv3_events(weights, D=D, norm=norm)
    write_classifier(
        conversion,
        source,
        target,
        neuron=SFA(D=D, norm=norm).describe(),
        head_neuron=SFA(D=D, norm=1).describe(),
    )
    return conversion
