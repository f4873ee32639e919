"""SDT v3 large on its reference cases; see :mod:`support.reference_cases`."""

from torch import Tensor, nn

from mmspike.backbones import SDTV3Large
from mmspike.converters import convert_sdtv3_large
from mmspike.heads.cls import SpikeDistillClsHead
from support.reference_cases import Case, Difference, compare_gradients, compare_outputs

LARGE_CASES = ('sdtv3_spikformer_large', 'sdtv3_spikformer_base_patched')
NEURON = dict(type='mmspike.SFA', D=4, rounding='half_up', grad_window='strict')


class Sdtv3LargeClassifier(nn.Module):
    """SDTV3Large with the reference's two classifiers, loaded through the converter."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.conversion = convert_sdtv3_large(case.weights())
        assert not self.conversion.missing
        assert not self.conversion.unexpected
        options = case.meta['constructor']
        self.backbone = SDTV3Large(self.conversion.arch)
        self.head = SpikeDistillClsHead(
            options['num_classes'],
            options['embed_dim'][-1],
            analog_fc=True,
            neuron_cfg=dict(NEURON, norm=1),
        )
        self.load_state_dict(self.conversion.state_dict)
        self.eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        feats = self.backbone(x)[0]
        pooled = (feats.mean((2, 3)),)
        labelled, distilled = self.head.separate_logits(pooled)
        return dict(encoder=feats, head=labelled[0], head_kd=distilled[0], logits=self.head(pooled))


def compare_large(name: str) -> list[Difference]:
    """Outputs and gradients of a classifier's case."""
    case = Case.load(name)
    model = Sdtv3LargeClassifier(case)
    x = case.input().requires_grad_()
    outputs = model(x)
    return compare_outputs(case, outputs) + compare_gradients(case, model, outputs, x)
