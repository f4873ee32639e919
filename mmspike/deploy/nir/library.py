"""The ``nir`` package, which the extra ``mmspike[nir]`` installs."""

from typing import Any

from mmspike.deploy.extras import needed

nir: Any = needed('nir', 'nir')

__all__ = ['nir']
