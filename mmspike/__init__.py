"""mmspike: spiking vision transformers as parts of OpenMMLab.

Importing the package registers nothing heavy: neurons, backbones, necks, heads and hooks are
imported when a config first names one of them (see :mod:`mmspike.registry`).
"""

from mmspike import registry
from mmspike.temporal import get_timesteps, set_timesteps
from mmspike.utils.versions import check_version
from mmspike.version import __version__

check_version('mmengine')

__all__ = ['__version__', 'get_timesteps', 'registry', 'set_timesteps']
