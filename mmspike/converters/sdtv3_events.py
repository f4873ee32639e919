"""Weights of SDT v3 for event cameras (BICLab/Spike-Driven-Transformer-V3, ``SDT_V3/DVS/Hardvs``).

The network is that of :mod:`mmspike.converters.sdtv3` with two input channels and factors on the
branches of the transformer blocks. Its files hold ``{'model': ..., 'model_ema': ..., 'args':
Namespace, ...}``. Its neurons clamp to 0..4 and round half to even; for HAR-DVS they divide by 1.
"""

from torch import Tensor

from mmspike.converters.families import Family, converter_of
from mmspike.converters.sdtv3 import KEYS, LAYER_SCALE, convert_classifier
from mmspike.converters.weights import Conversion

FAMILY = Family('an SDT v3 classifier for event cameras (HAR-DVS)', (*KEYS, LAYER_SCALE))


@converter_of(FAMILY)
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
