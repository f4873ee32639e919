"""Modules and functions that NIR cannot express, and why."""

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.pooling import _AdaptiveMaxPoolNd, _MaxPoolNd

from mmspike.deploy.nir.network import RecurrentNetwork
from mmspike.layers import TemporalMean
from mmspike.neurons import QCFS, IntegerNeuron

MODULES: tuple[tuple[tuple[type, ...], str], ...] = (
    (
        (_BatchNorm,),
        'NIR has no norms. A batch norm directly behind a convolution or linear layer is folded '
        'into it; this one is not: move or remove it',
    ),
    (
        (nn.LayerNorm, nn.GroupNorm, nn.modules.instancenorm._InstanceNorm, nn.RMSNorm),
        'NIR has no norms that depend on the input: train with batch norms',
    ),
    (
        (_MaxPoolNd, _AdaptiveMaxPoolNd),
        'NIR has no max pooling: train with average pools '
        '(insert_qcfs(model, average_pools=True) puts them in)',
    ),
    (
        (IntegerNeuron,),
        'it fires integers up to D, neurons of NIR fire 0 or 1: train with IF or LIF. Unrolled to '
        'D binary steps (mmspike.execution) it runs in mmspike only',
    ),
    ((QCFS,), 'it is an activation without time: apply mmspike.ann2snn.convert_to_spiking first'),
    (
        (TemporalMean,),
        'it takes a mean over time, and NIR has no time axis: export the part before it',
    ),
    ((nn.Softmax, nn.LogSoftmax), 'NIR has no softmax: export the part before it'),
    ((nn.MultiheadAttention,), 'NIR has no products of two signals, which an attention needs'),
    ((RecurrentNetwork,), 'it came from NIR and has loops: use the graph that it came from'),
)
PRODUCTS = {'mul', '__mul__', '__rmul__', 'matmul', '__matmul__', 'bmm', 'einsum', 'baddbmm'}
FUNCTIONS = {
    'cat': 'NIR has no concatenation',
    'softmax': 'NIR has no softmax',
    'scaled_dot_product_attention': 'NIR has no products of two signals, which an attention needs',
    **dict.fromkeys(PRODUCTS, 'NIR has no products of two signals'),
}


def reason_against(module: nn.Module) -> str | None:
    """Why a module cannot be part of a graph; None if nothing is known against it."""
    return next((reason for kinds, reason in MODULES if isinstance(module, kinds)), None)
