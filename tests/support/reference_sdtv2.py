"""SDT v2 on its reference cases; see :mod:`support.parity`."""

from mmengine.registry import DefaultScope
from torch import Tensor

from mmspike import set_timesteps
from mmspike.backbones import SDTV2
from mmspike.backbones.sdt_v2 import ARCHS
from mmspike.converters import convert_sdtv2
from mmspike.converters.sdtv2 import rename_key
from mmspike.heads.cls import SpikeDistillClsHead, SpikeLinearClsHead
from mmspike.heads.det import SpikeRPNHead
from mmspike.heads.seg import SpikeFPNHead
from mmspike.necks import SpikeFPN
from support.reference_cases import Case
from support.reference_dense import DenseModel, arch_of
from support.reference_model import ReferenceModel, with_heads

LIF = dict(type='mmspike.LIF')


class SDTV2Classifier(ReferenceModel):
    """SDTV2 with the reference's classifiers."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        conversion = convert_sdtv2(case.weights())
        options = case.meta['constructor']
        arch = with_heads(conversion.arch, ARCHS, options['num_heads'])
        self.backbone = SDTV2(arch, in_channels=options['in_channels'])
        head = SpikeDistillClsHead if options['kd'] else SpikeLinearClsHead
        self.head = head(options['num_classes'], options['embed_dim'][-1], neuron_cfg=LIF)
        self.load(conversion, case)
        set_timesteps(self, case.meta['T'])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)[0]
        steps = feats.unflatten(0, (self.backbone.timesteps, -1))
        return dict(
            features_time_mean=steps.mean(0),
            features_step0=steps[0],
            logits=self.head((feats.mean((2, 3)),)),
        )


class SDTV2Detector(DenseModel):
    """Backbone, neck and RPN of SDT v2's Mask R-CNN."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        integers = dict(type='mmspike.SFA', D=4, norm=1)
        self.backbone = SDTV2(
            arch_of(case, rename_key),
            in_channels=options['backbone']['in_channels'],
            out_indices=(1, 2, 3, 4),
        )
        # In evaluation the reference's neck fires 0 or 1: not meant, but published.
        self.neck = SpikeFPN(neuron_cfg=dict(integers, eval_D=1), **options['neck'])
        with DefaultScope.overwrite_default_scope('mmdet'):
            self.rpn_head = SpikeRPNHead(neuron_cfg=integers, **options['rpn_head'])
        self.load_dense(case)
        set_timesteps(self, case.meta['T'])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels, named = self.pyramid(x)
        for i, level in enumerate(levels):
            # The reference takes the mean over time later.
            spikes = self.rpn_head.neuron(self.rpn_head.rpn_conv(level))
            named[f'rpn_cls_{i}'] = self.rpn_head.rpn_cls(spikes)
            named[f'rpn_reg_{i}'] = self.rpn_head.rpn_reg(spikes)
        return named


class SDTV2Segmentor(DenseModel):
    """SDT v2's semantic FPN of LIF neurons: T steps in the backbone, one behind it."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        self.backbone = SDTV2(
            arch_of(case, rename_key),
            in_channels=options['backbone']['in_channels'],
            out_indices=(0, 1, 2, 4),
            readout=True,
        )
        self.neck = SpikeFPN(neuron_cfg=LIF, **options['neck'])
        loss = dict(type='mmseg.CrossEntropyLoss')
        head = dict(options['decode_head'], dropout_ratio=0.0, loss_decode=loss)
        self.decode_head = SpikeFPNHead(neuron_cfg=LIF, **head)
        self.load_dense(case)
        # A neck and head that run one step keep it.
        set_timesteps(self.backbone, case.meta['T'])

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        levels, named = self.pyramid(x)
        return dict(named, logits=self.decode_head(levels))
