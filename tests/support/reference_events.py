"""SDT v3 for event cameras on its reference case; see :mod:`support.reference_cases`."""

from torch import Tensor, nn

from mmspike import set_timesteps
from mmspike.backbones import MetaSpikformer
from mmspike.converters import convert_sdtv3_events
from mmspike.neurons import SFA
from support.reference_cases import Case, Difference, compare_gradients, compare_outputs

EVENT_CASES = ('sdtv3_hardvs',)


class Sdtv3EventClassifier(nn.Module):
    """MetaSpikformer on events with the reference's classifier, loaded through the converter."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        norm = case.meta['constructor']['D_Norm']
        self.conversion = convert_sdtv3_events(case.weights(), norm=norm)
        assert not self.conversion.missing
        assert not self.conversion.unexpected
        self.backbone = MetaSpikformer(
            self.conversion.arch,
            in_channels=2,
            out_indices=(1, 2, 3, 4),
            neuron_cfg=dict(type='mmspike.SFA', D=4, norm=norm),
            layer_scale_init_value=1e-6,
        )
        weight = self.conversion.state_dict['head.fc.weight']
        head = dict(neuron=SFA(D=4, norm=1), fc=nn.Linear(*weight.shape[::-1]))
        self.head = nn.ModuleDict(head)
        self.load_state_dict(self.conversion.state_dict)
        self.eval()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        set_timesteps(self, x.shape[1])
        feats = self.backbone(x)
        spikes = self.head['neuron'](feats[-1].mean((2, 3)))
        logits = self.head['fc'](spikes).unflatten(0, (x.shape[1], -1)).mean(0)
        return dict({f'stage{i}': feat for i, feat in enumerate(feats, start=1)}, logits=logits)


def compare_sdtv3_events(name: str) -> list[Difference]:
    """Outputs, features and gradients of a classifier's case."""
    case = Case.load(name)
    model = Sdtv3EventClassifier(case)
    x = case.input().requires_grad_()
    outputs = model(x)
    return compare_outputs(case, outputs) + compare_gradients(case, model, outputs, x)
