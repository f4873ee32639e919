"""The neurons as ``torch.library`` operators with autograd.

Each operator has a fake implementation for tracing, and runs on the CPU through ``kernels.cpu``
and on CUDA through ``kernels.cuda``. Backward runs through an operator of its own, which has no
derivative: double backward is refused. What backward keeps: the input in its own dtype (binary
neurons, which compute their membranes a second time, and QCFS), or one bit per element (integer
neurons). :func:`run` calls them.
"""

from mmspike.neurons.kernels.ops.binary import binary
from mmspike.neurons.kernels.ops.common import run
from mmspike.neurons.kernels.ops.ilif import ilif
from mmspike.neurons.kernels.ops.qcfs import qcfs
from mmspike.neurons.kernels.ops.sfa import sfa

__all__ = ['binary', 'ilif', 'qcfs', 'run', 'sfa']
