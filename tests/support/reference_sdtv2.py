"""SDT v2 on its reference cases; see :mod:`support.reference_cases`."""

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from mmspike import set_timesteps
from mmspike.backbones import SDTV2
from mmspike.converters import convert_dense, convert_sdtv2
from mmspike.heads.cls import SpikeDistillClsHead, SpikeLinearClsHead
from mmspike.heads.det import SpikeRPNHead
from mmspike.heads.seg import SpikeFPNHead
from mmspike.necks import SpikeFPN
from support.reference_cases import Case, Difference, compare_gradients, compare_outputs

SDTV2_CASES = (
    'meta_spikeformer_v2', 'meta_spikeformer_v2_det', 'meta_spikeformer_v2_det_t4',
    'meta_spikeformer_v2_seg',
)  # fmt: skip
LIF = dict(type='mmspike.LIF')


def arch_of(case: Case) -> dict:
    """The architecture of a case: of the first stage the reference names no width."""
    options = case.meta['constructor']
    widths = options.get('backbone', options)['embed_dim']
    return dict(
        embed_dims=(widths[0] // 2, *widths), depths=(1, 1, 2, 6, 2), num_heads=8, stem_stride=2
    )


class SDTV2Classifier(nn.Module):
    """SDTV2 with the reference's classifiers, loaded through the converter."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.conversion = convert_sdtv2(case.weights())
        assert not self.conversion.missing
        assert not self.conversion.unexpected
        options = case.meta['constructor']
        self.backbone = SDTV2(self.conversion.arch, in_channels=options['in_channels'])
        head = SpikeDistillClsHead if options['kd'] else SpikeLinearClsHead
        self.head = head(options['num_classes'], options['embed_dim'][-1], neuron_cfg=LIF)
        self.load_state_dict(self.conversion.state_dict)
        set_timesteps(self, case.meta['T'])
        self.train(case.meta['mode'] == 'train')

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)[0]
        steps = feats.unflatten(0, (self.backbone.timesteps, -1))
        return dict(
            features_time_mean=steps.mean(0),
            features_step0=steps[0],
            logits=self.head((feats.mean((2, 3)),)),
        )


class SDTV2Detector(nn.Module):
    """Backbone, neck and RPN of SDT v2's Mask R-CNN, loaded through the converter."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        integers = dict(type='mmspike.SFA', D=4, norm=1)
        self.backbone = SDTV2(arch_of(case), out_indices=(1, 2, 3, 4))
        # In evaluation the reference's neck fires 0 or 1: not meant, but published.
        self.neck = SpikeFPN(neuron_cfg=dict(integers, eval_D=1), **options['neck'])
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.rpn_head = SpikeRPNHead(neuron_cfg=integers, **options['rpn_head'])
        _load(self, case)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)
        levels = self.neck(feats)
        named = {f'backbone_{i}': feat for i, feat in enumerate(feats)}
        named.update({f'neck_{i}': level for i, level in enumerate(levels)})
        for i, level in enumerate(levels):
            # The reference takes the mean over time later.
            spikes = self.rpn_head.neuron(self.rpn_head.rpn_conv(level))
            named[f'rpn_cls_{i}'] = self.rpn_head.rpn_cls(spikes)
            named[f'rpn_reg_{i}'] = self.rpn_head.rpn_reg(spikes)
        return named


class SDTV2Segmentor(nn.Module):
    """SDT v2's semantic FPN of LIF neurons: T steps in the backbone, one behind it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        self.backbone = SDTV2(arch_of(case), out_indices=(0, 1, 2, 4), readout=True)
        self.neck = SpikeFPN(neuron_cfg=LIF, **options['neck'])
        loss = dict(type='mmseg.CrossEntropyLoss')
        head = dict(options['decode_head'], dropout_ratio=0.0, loss_decode=loss)
        self.decode_head = SpikeFPNHead(neuron_cfg=LIF, **head)
        _load(self, case)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)
        levels = self.neck(feats)
        named = {f'backbone_{i}': feat for i, feat in enumerate(feats)}
        named.update({f'neck_{i}': level for i, level in enumerate(levels)})
        return dict(named, logits=self.decode_head(levels))


def _load(model: nn.Module, case: Case) -> None:
    model.conversion = convert_dense(case.weights(), model)
    assert not model.conversion.missing
    assert not model.conversion.unexpected
    model.load_state_dict(model.conversion.state_dict)
    # A neck and head that run one step keep it.
    in_time = model.backbone if isinstance(model, SDTV2Segmentor) else model
    set_timesteps(in_time, case.meta['T'])
    model.eval()


def model_of(case: Case) -> nn.Module:
    """The model of a case."""
    options = case.meta['constructor']
    if 'backbone' not in options:
        return SDTV2Classifier(case)
    return SDTV2Detector(case) if 'rpn_head' in options else SDTV2Segmentor(case)


def compare_sdtv2(name: str) -> list[Difference]:
    """Outputs, features, running statistics and gradients of one case."""
    case = Case.load(name)
    model = model_of(case)
    x = case.input().requires_grad_('backward' in case.meta)
    with torch.set_grad_enabled('backward' in case.meta):
        outputs = model(x)
    rows = compare_outputs(case, outputs)
    if 'backward' in case.meta:
        rows += compare_gradients(case, model, outputs, x)
    return rows
