"""Every backbone, neck and head, small, with an input for it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from mmdet.utils import register_all_modules as register_mmdet
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmspike import set_timesteps
from mmspike.backbones import MST, SDT, SDTV2, MetaSpikformer, SDTV3Large
from mmspike.heads.cls import SpikeDistillClsHead, SpikeLinearClsHead
from mmspike.heads.det import (
    SpikeFCNMaskHead,
    SpikeRetinaHead,
    SpikeRPNHead,
    SpikeShared2FCBBoxHead,
    SpikeShared4Conv1FCBBoxHead,
)
from mmspike.heads.seg import SpikeFCNHead, SpikeFPNHead
from mmspike.necks import SpikeFPN

BN = dict(type='BN')
_META = dict(
    embed_dims=(4, 4, 8, 8, 8), depths=(1, 1, 1, 1, 1), num_heads=2, stem_stride=2
)  # fmt: skip
_MST = dict(embed_dims=8, depths=(1, 2, 1, 1), num_heads=(1, 2, 4, 8), window_size=4)
_LARGE = dict(
    embed_dims=(4, 4, 8, 8), depths=(1, 1, 1, 1), num_heads=2, stem_stride=2, rep_expansion=1.5
)
_ANCHORS = dict(type='AnchorGenerator', scales=[8], ratios=[0.5, 1.0], strides=[4, 8])
_CODER = dict(type='DeltaXYWHBBoxCoder')
_BOXES = dict(in_channels=4, fc_out_channels=16, roi_feat_size=3, num_classes=3, bbox_coder=_CODER)


@dataclass(frozen=True)
class Part:
    """A part of a model.

    Attributes:
        name: Name for tests.
        build: Makes the module; takes ``neuron_cfg``.
        shapes: Shapes of the maps that the module takes, as functions of batch, height and width.
        tuple_input: Whether it takes the maps as one tuple.
        sized: Whether height and width may be chosen.
    """

    name: str
    build: Callable[..., nn.Module]
    shapes: tuple[Callable[[int, int, int], tuple[int, ...]], ...]
    tuple_input: bool = False
    sized: bool = True

    def make(self, timesteps: int = 1, **options) -> nn.Module:
        """The module, with weights and statistics of norms that are drawn."""
        register_mmdet(init_default_scope=False)
        with DefaultScope.overwrite_default_scope('mmdet'):
            module = self.build(**options)
        set_timesteps(module, timesteps)
        for norm in module.modules():
            if isinstance(norm, _BatchNorm):
                norm.weight.data.uniform_(0.5, 2)
                norm.bias.data.normal_()
                norm.running_mean.normal_()
                norm.running_var.uniform_(0.5, 2)
        return module

    def input(self, batch: int, height: int = 32, width: int = 32) -> Tensor | tuple[Tensor, ...]:
        """Maps of ``batch`` rows (or images)."""
        maps = tuple(torch.randn(shape(batch, height, width)) * 2 for shape in self.shapes)
        return maps if self.tuple_input else maps[0]


def outputs(module: nn.Module, x: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    """What a module puts out, as a flat list."""
    return _flat(module(x))


def _flat(out) -> list[Tensor]:
    if isinstance(out, Tensor):
        return [out]
    return [tensor for one in out if one is not None for tensor in _flat(one)]


def _image(b: int, h: int, w: int) -> tuple[int, ...]:
    return b, 3, h, w


def _level(stride: int) -> Callable:
    return lambda b, h, w: (b, 4, -(-h // stride), -(-w // stride))


def _regions(side: int) -> Callable:
    return lambda b, h, w: (b, 4, side, side)


PYRAMID = (_level(4), _level(8), _level(16))
BACKBONES = [
    Part('MetaSpikformer', lambda **o: MetaSpikformer(_META, out_indices=(1, 4), **o), (_image,)),
    Part(
        'SDT',
        lambda **o: SDT(dict(embed_dims=16, depth=1), num_heads=2, out_indices=(2, -1), **o),
        (_image,),
    ),
    Part(
        'SDT for events',
        lambda **o: SDT(
            dict(embed_dims=16, depth=1), num_heads=2, dvs_pool=True, legacy_dvs_pool=True, **o
        ),
        (_image,),
    ),
    Part('SDTV2', lambda **o: SDTV2(_META, out_indices=(1, 4), **o), (_image,)),
    Part('SDTV3Large', lambda **o: SDTV3Large(_LARGE, out_indices=(1, 3), **o), (_image,)),
    Part('MST', lambda **o: MST(_MST, out_indices=(0, 1, 2, 3), **o), (_image,)),
    Part(
        'MST for events',
        lambda **o: MST(_MST, channel_align=True, mlp_norm=False, readout=True, **o),
        (_image,),
    ),
]
NECKS = [
    Part('SpikeFPN', lambda **o: SpikeFPN([4, 4, 4], 8, 4, **o), PYRAMID, tuple_input=True),
    Part(
        'SpikeFPN with norms',
        lambda **o: SpikeFPN(
            [4, 4, 4], 8, 5, norm_cfg=BN, add_extra_convs='on_output', readout=True, **o
        ),
        PYRAMID,
        tuple_input=True,
    ),
]
HEADS = [
    Part(
        'SpikeLinearClsHead',
        lambda **o: SpikeLinearClsHead(3, 4, **o),
        (lambda b, h, w: (b, 4),),
        tuple_input=True,
        sized=False,
    ),
    Part(
        'SpikeDistillClsHead',
        lambda **o: SpikeDistillClsHead(3, 4, analog_fc=True, **o),
        (lambda b, h, w: (b, 4),),
        tuple_input=True,
        sized=False,
    ),
    Part(
        'SpikeRPNHead',
        lambda **o: SpikeRPNHead(
            4, feat_channels=8, num_convs=2, anchor_generator=_ANCHORS, bbox_coder=_CODER, **o
        ),
        PYRAMID[:2],
        tuple_input=True,
    ),
    Part(
        'SpikeRetinaHead',
        lambda **o: SpikeRetinaHead(
            3, 4, feat_channels=8, stacked_convs=2, norm_cfg=BN, anchor_generator=_ANCHORS,
            bbox_coder=_CODER, **o,
        ),
        PYRAMID[:2],
        tuple_input=True,
    ),
    Part(
        'SpikeShared2FCBBoxHead',
        lambda **o: SpikeShared2FCBBoxHead(**_BOXES, **o),
        (_regions(3),),
        sized=False,
    ),
    Part(
        'SpikeShared4Conv1FCBBoxHead',
        lambda **o: SpikeShared4Conv1FCBBoxHead(
            **_BOXES, conv_out_channels=8, norm_cfg=BN, **o
        ),
        (_regions(3),),
        sized=False,
    ),
    Part(
        'SpikeFCNMaskHead',
        lambda **o: SpikeFCNMaskHead(
            num_convs=2, in_channels=4, conv_out_channels=8, num_classes=3, norm_cfg=BN, **o
        ),
        (_regions(7),),
        sized=False,
    ),
    Part(
        'SpikeFCNHead',
        lambda **o: SpikeFCNHead(
            in_channels=4, in_index=0, channels=8, num_convs=2, num_classes=3, norm_cfg=BN, **o
        ),
        PYRAMID[:1],
        tuple_input=True,
    ),
    Part(
        'SpikeFPNHead',
        lambda **o: SpikeFPNHead(
            in_channels=[4, 4, 4], in_index=[0, 1, 2], feature_strides=[4, 8, 16], channels=8,
            num_classes=3, norm_cfg=BN, **o,
        ),
        PYRAMID,
        tuple_input=True,
    ),
]  # fmt: skip
PARTS = [*BACKBONES, *NECKS, *HEADS]
