"""SDT v3 on its reference cases; see :mod:`support.parity`."""

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmspike.backbones import MetaSpikformer
from mmspike.backbones.meta_spikformer import ARCHS
from mmspike.converters import convert_sdtv3
from mmspike.converters.sdtv3 import rename_key
from mmspike.heads.det import SpikeFCNMaskHead, SpikeRPNHead, SpikeShared2FCBBoxHead
from mmspike.heads.seg import SpikeFPNHead
from mmspike.layers import SpikeAttention
from mmspike.necks import SpikeFPN
from mmspike.neurons import SFA
from support.reference_cases import Case
from support.reference_dense import DenseModel, arch_of
from support.reference_model import ReferenceModel, with_heads


class Sdtv3Classifier(ReferenceModel):
    """MetaSpikformer with the reference's classifier."""

    FEATURES = ('feat_stage1a', 'feat_stage1b', 'feat_stage2', 'feat_stage3', 'feat_stage4')

    def __init__(self, case: Case) -> None:
        super().__init__()
        conversion = convert_sdtv3(case.weights())
        options = case.meta['constructor']
        self.backbone = MetaSpikformer(
            with_heads(conversion.arch, ARCHS, options['num_heads']),
            in_channels=options['in_channels'],
            out_indices=(0, 1, 2, 3, 4),
        )
        self.head = nn.ModuleDict(dict(neuron=SFA(D=4, norm=1)))
        weight = conversion.state_dict['head.fc.weight']
        self.head['fc'] = nn.Linear(weight.shape[1], weight.shape[0])
        self.load(conversion, case)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)
        spikes = self.head['neuron'](feats[-1].mean((2, 3)))
        named = dict(zip(self.FEATURES, feats, strict=True))
        return dict(named, pooled_spike=spikes, logits=self.head['fc'](spikes))


class Sdtv3Detector(DenseModel):
    """The parts of SDT v3's Mask R-CNN."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        integers = dict(type='mmspike.SFA', D=4, norm=1)
        # In evaluation the reference's neck fires 0 or 1: not meant, but published.
        defect = {} if 'train branch' in case.meta['mode'] else dict(eval_D=1)
        self.backbone = MetaSpikformer(
            arch_of(case, rename_key),
            in_channels=options['backbone']['in_channels'],
            out_indices=(1, 2, 3, 4),
        )
        self.neck = SpikeFPN(neuron_cfg=dict(integers, **defect), **options['neck'])
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.rpn_head = SpikeRPNHead(neuron_cfg=integers, **options['rpn_head'])
            bbox_head = SpikeShared2FCBBoxHead(neuron_cfg=integers, **options['bbox_head'])
            mask_head = SpikeFCNMaskHead(neuron_cfg=integers, **options['mask_head'])
        self.roi_head = nn.ModuleDict(dict(bbox_head=bbox_head, mask_head=mask_head))
        self.load_dense(case)
        _repeat_layout(self)

    def forward(self, x: Tensor, roi_bbox: Tensor, roi_mask: Tensor) -> dict[str, Tensor]:
        levels, named = self.pyramid(x)
        for i, level in enumerate(levels):
            named[f'rpn_cls_{i}'], named[f'rpn_reg_{i}'] = self.rpn_head.forward_single(level)
        bbox_head, mask_head = self.roi_head['bbox_head'], self.roi_head['mask_head']
        named['bbox_cls'], named['bbox_reg'] = bbox_head(roi_bbox.flatten(0, 1))
        named['mask_logits'] = mask_head(roi_mask.flatten(0, 1))
        return named


class Sdtv3Segmentor(DenseModel):
    """The parts of SDT v3's semantic FPN."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        head, neck = dict(options['decode_head']), dict(options['neck'])
        # Its T is the largest integer of the neurons.
        integers = dict(type='mmspike.SFA', D=neck.pop('T'))
        shared = dict(neuron_cfg=integers, norm_cfg=dict(type='BN'))
        self.backbone = MetaSpikformer(
            arch_of(case, rename_key),
            in_channels=options['backbone']['in_channels'],
            out_indices=(0, 1, 2, 4),
            neuron_cfg=integers,
            layer_scale_init_value=1e-6,
        )
        self.neck = SpikeFPN(**shared, **neck)
        head.update(dropout_ratio=0.0, loss_decode=dict(type='mmseg.CrossEntropyLoss'))
        assert head.pop('T') == integers['D']
        self.decode_head = SpikeFPNHead(**shared, **head)
        self.load_dense(case)
        _repeat_layout(self)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels, named = self.pyramid(x)
        return dict(named, logits=self.decode_head(levels))


def _repeat_layout(model: nn.Module) -> None:
    """Give gradients of a batch of one the reference's layout.

    They went through an error of PyTorch's there, see docs/parity.md, which it takes this layout
    to repeat.
    """
    for module in model.modules():
        if isinstance(module, SpikeAttention):
            for projection in (module.q, module.v):
                projection.bn.register_full_backward_pre_hook(_ambiguous_layout)


def _ambiguous_layout(norm: nn.Module, grads: tuple[Tensor]) -> tuple[Tensor]:
    """The gradient ``(1, C, H, W)`` in channels_last order, with a batch stride of C."""
    _, channels, _, width = grads[0].shape
    strides = (channels, 1, width * channels, channels)
    return (torch.empty_strided(grads[0].shape, strides).copy_(grads[0]),)
