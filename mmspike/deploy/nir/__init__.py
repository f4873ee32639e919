"""Networks as graphs of the Neuromorphic Intermediate Representation (NIR), out and in.

NIR (Pedersen et al., Nature Communications 2024, neuroir.org) is a file format that simulators and
neuromorphic chips share. Its neurons are differential equations. A simulator takes steps of ``dt``.
"""

from mmspike.deploy.nir.exporting import to_nir
from mmspike.deploy.nir.loading import from_nir

__all__ = ['from_nir', 'to_nir']
