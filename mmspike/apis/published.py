"""Which models of mmspike take converted weights."""

from torch import nn

from mmspike.apis.config import load_config
from mmspike.converters import Conversion
from mmspike.metafiles import WeightsFile, weights_files, weights_named
from mmspike.zoo import check_whole, model_on_meta


def model_of(config: str) -> nn.Module:
    """The model of a config, without weights: its tensors are on the meta device.

    Args:
        config: A path, or a name with the prefix ``mmspike::``.

    Raises:
        FileNotFoundError, ValueError: There is no such config, or it is no whole one.
    """
    cfg = load_config(config)
    check_whole(cfg, config)
    return model_on_meta(cfg)


def published_as(conversion: Conversion, converter: str, source: str) -> list[WeightsFile]:
    """The files of the metafiles that converted weights can be.

    Args:
        conversion: The converted weights.
        converter: Name of the converter.
        source: The file that they are from. If the metafiles list its name, it comes first.

    Returns:
        The files of that converter whose config takes the weights, tensor by tensor.
    """
    candidates = [one for one in weights_files() if one.converter == converter]
    configs = {one.config for one in candidates if one.config}
    taken = {config for config in configs if _takes(config, conversion)}
    fitting = [one for one in candidates if one.config in taken]
    return sorted(fitting, key=lambda one: one is not weights_named(source))


def _takes(config: str, conversion: Conversion) -> bool:
    try:
        model_of(f'mmspike::{config}').load_state_dict(conversion.state_dict, assign=True)
    except (RuntimeError, ValueError):  # other tensors; other neurons
        return False
    return True
