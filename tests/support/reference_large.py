"""SDT v3 large on its reference cases; see :mod:`support.parity`."""

from torch import Tensor

from mmspike.backbones import SDTV3Large
from mmspike.backbones.sdt_v3_large import ARCHS
from mmspike.converters import convert_sdtv3_large
from mmspike.heads.cls import SpikeDistillClsHead
from support.reference_cases import Case
from support.reference_model import ReferenceModel, with_heads

NEURON = dict(type='mmspike.SFA', D=4, rounding='half_up', grad_window='strict')


class Sdtv3LargeClassifier(ReferenceModel):
    """SDTV3Large with the reference's two classifiers."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        conversion = convert_sdtv3_large(case.weights())
        options = case.meta['constructor']
        arch = with_heads(conversion.arch, ARCHS, options['num_heads'])
        self.backbone = SDTV3Large(arch, in_channels=options['in_channels'])
        self.head = SpikeDistillClsHead(
            options['num_classes'],
            options['embed_dim'][-1],
            analog_fc=True,
            neuron_cfg=dict(NEURON, norm=1),
        )
        self.load(conversion, case)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)[0]
        pooled = (feats.mean((2, 3)),)
        labelled, distilled = self.head.separate_logits(pooled)
        return dict(encoder=feats, head=labelled[0], head_kd=distilled[0], logits=self.head(pooled))
