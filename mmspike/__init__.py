"""mmspike: spiking vision transformers as parts of OpenMMLab.

Importing the package registers nothing heavy: neurons, backbones, necks, heads and hooks are
imported when a config first names one of them (see :mod:`mmspike.registry`).
"""

from mmspike.versions import check_version

# Before anything else, so that a missing library is named with the command that installs it.
check_version('torch')
check_version('mmengine')

from typing import Any  # noqa: E402

from mmspike import registry  # noqa: E402
from mmspike.moved import keep_old_paths, old_package  # noqa: E402
from mmspike.temporal import get_timesteps, set_timesteps  # noqa: E402
from mmspike.version import __version__  # noqa: E402
from mmspike.zoo import (  # noqa: E402
    config_path,
    get_config,
    get_model,
    list_models,
    register_in_mmpretrain,
)

keep_old_paths()


def __getattr__(name: str) -> Any:
    """What is imported when it is first asked for, and packages of before."""
    if name == 'optimize_for_inference':
        from mmspike.inference import optimize_for_inference

        return optimize_for_inference
    return old_package(name)


__all__ = [
    '__version__',
    'config_path',
    'get_config',
    'get_model',
    'get_timesteps',
    'list_models',
    'optimize_for_inference',
    'register_in_mmpretrain',
    'registry',
    'set_timesteps',
]
