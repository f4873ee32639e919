"""SDT v3 for event cameras on its reference case; see :mod:`support.parity`."""

from torch import Tensor, nn

from mmspike import set_timesteps
from mmspike.backbones import MetaSpikformer
from mmspike.backbones.meta_spikformer import ARCHS
from mmspike.converters import convert_sdtv3_events
from mmspike.neurons import SFA
from support.reference_cases import Case
from support.reference_model import ReferenceModel, with_heads


class Sdtv3EventClassifier(ReferenceModel):
    """MetaSpikformer on events with the reference's classifier."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        options = case.meta['constructor']
        norm = options['D_Norm']
        conversion = convert_sdtv3_events(case.weights(), norm=norm)
        self.backbone = MetaSpikformer(
            with_heads(conversion.arch, ARCHS, options['num_heads']),
            in_channels=options['in_channels'],
            out_indices=(1, 2, 3, 4),
            neuron_cfg=dict(type='mmspike.SFA', D=4, norm=norm),
            layer_scale_init_value=1e-6,
        )
        weight = conversion.state_dict['head.fc.weight']
        head = dict(neuron=SFA(D=4, norm=1), fc=nn.Linear(*weight.shape[::-1]))
        self.head = nn.ModuleDict(head)
        self.load(conversion, case)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        set_timesteps(self, x.shape[1])
        feats = self.backbone(x)
        spikes = self.head['neuron'](feats[-1].mean((2, 3)))
        logits = self.head['fc'](spikes).unflatten(0, (x.shape[1], -1)).mean(0)
        return dict({f'stage{i}': feat for i, feat in enumerate(feats, start=1)}, logits=logits)
