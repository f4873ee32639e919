"""Quantised and spiking models of any host, built from a config.

Written so that the rest of the host's config stays what it was, and ``model.backbone`` where
everybody expects it::

    _base_ = 'resnet18_8xb32_in1k.py'
    model = dict(type='mmspike.QuantisedModel', host='ImageClassifier', qcfs=dict(levels=8))
"""

from typing import Any

from mmengine.registry import MODELS as HOST_MODELS
from torch import nn

from mmspike.ann2snn.quantise import insert_qcfs
from mmspike.ann2snn.simulate import simulate
from mmspike.ann2snn.spiking import convert_to_spiking
from mmspike.registry import MODELS


@MODELS.register_module('QuantisedModel')
def build_quantised(host: str, *, qcfs: dict | None = None, **model: Any) -> nn.Module:
    """A model of a host library whose activations are replaced by quantised ones, for training.

    Args:
        host: Type of the model, such as ``'ImageClassifier'`` or ``'mmdet.RetinaNet'``.
        qcfs: Options of :func:`~mmspike.ann2snn.quantise.insert_qcfs`; None for a model that is
            built with QCFS, such as MST.
        **model: The rest of the model's config.

    Raises:
        ValueError, KeyError: See :func:`~mmspike.ann2snn.quantise.insert_qcfs`.
    """
    built = HOST_MODELS.build(dict(model, type=host))
    if qcfs is not None:
        insert_qcfs(built, **qcfs)
        # Backbones freeze their first stages now: distributed training must not learn of it later.
        built.train(built.training)
    return built


@MODELS.register_module('SpikingModel')
def build_spiking(
    host: str, *, simulation: dict, qcfs: dict | None = None, **model: Any
) -> nn.Module:
    """The spiking network of a quantised model. It loads the quantised model's checkpoint.

    Args:
        host: See :func:`build_quantised`.
        simulation: Options of :func:`~mmspike.ann2snn.simulate.simulate`: ``timesteps`` and
            more.
        qcfs: See :func:`build_quantised`.
        **model: The rest of the model's config.

    Raises:
        TypeError, ValueError, KeyError: See the functions above.
    """
    built = build_quantised(host, qcfs=qcfs, **model)
    spiking = convert_to_spiking(built)
    simulate(spiking, **simulation)
    return spiking
